"""Every change that CML makes to DVC at run time, one module for each concern, each with its contract test."""
