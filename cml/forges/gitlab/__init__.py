"""GitLab: the pipeline, the note, the release, the commit status."""
