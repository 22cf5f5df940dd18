"""Every storage of the table, against servers that the tests start themselves: `make test-storage`."""
