"""What a run costs, measured on real worlds: `make bench`. Nothing here is a test; what is deterministic is held by tests."""
