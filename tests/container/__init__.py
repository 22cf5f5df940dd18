"""The image and the action in containers: `make test-image`."""
