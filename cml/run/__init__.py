"""One run of `cml run`: preflight, steps, save, report, publish."""
