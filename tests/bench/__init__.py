"""Benchmarks: what a run costs, measured on real projects (`make bench`). What does not vary is tested in test_cost.py."""
