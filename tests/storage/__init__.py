"""Every storage kind, against servers that the tests start: `make test-storage`."""
