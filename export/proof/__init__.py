"""Comparison of artifacts with Keras, and the files and reports about it."""
