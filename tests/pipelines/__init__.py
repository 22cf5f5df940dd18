"""One pipeline over many jobs, done as each engine does it: `make test-pipelines`."""
