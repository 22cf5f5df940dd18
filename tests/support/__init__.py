"""Helpers that several test modules share. `tests/README.md` lists them. Nothing here is a test."""
