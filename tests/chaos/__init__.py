"""Every promise of SECURITY.md's table, kept under the worst that we can think of. `make chaos` prints the figures."""
