"""TFLite files: the converter writes them, and passes over their graphs change them."""
