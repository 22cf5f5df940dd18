"""Follows the walkthrough of examples/mnist, command by command: `make test-mnist`."""
