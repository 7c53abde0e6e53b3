"""What a user may choose: names, defaults, help. Nothing here imports Keras.

So the command line answers `--help` and a wrong option at once.
"""
