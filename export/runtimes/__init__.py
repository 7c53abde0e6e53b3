"""Where artifacts run, one file a runtime; and where their operations run."""
