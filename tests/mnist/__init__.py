"""The walkthrough of examples/mnist, followed word for word: `make test-mnist`."""
