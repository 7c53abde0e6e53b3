"""Any Keras model and data, made ready to be converted."""
