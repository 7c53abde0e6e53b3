"""Code for child processes. Nothing here imports keras_cbam."""
