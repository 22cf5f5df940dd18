"""Variables and settings of a run, gates, number formats. No I/O."""
