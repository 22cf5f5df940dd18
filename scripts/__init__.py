"""Scripts that write files of this repository. `make generate` runs all of them."""
