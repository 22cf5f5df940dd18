"""One pipeline over several jobs, as each system runs it: `make test-pipelines`."""
