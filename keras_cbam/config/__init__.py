"""The options that a user can choose: names, defaults and help.

Nothing here imports Keras, so the command line answers `--help` and wrong options at once.
"""
