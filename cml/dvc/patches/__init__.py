"""Every change that CML makes to DVC while it runs, each with its contract test."""
