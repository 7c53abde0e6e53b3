"""The runtimes, with one module for each, and the placement of operations in them."""
