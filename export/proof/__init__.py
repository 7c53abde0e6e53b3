"""How artifacts are compared with Keras, and what is told of it."""
