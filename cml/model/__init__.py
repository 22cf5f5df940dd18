"""Data that several packages share. Nothing here reads a file or starts a process."""
