"""What runs in child processes of its own: nothing here imports keras_cbam."""
