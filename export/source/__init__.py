"""Preparation of a Keras model and its data for the converters."""
