"""GitHub: the event, the check run, the comment, the job summary."""
