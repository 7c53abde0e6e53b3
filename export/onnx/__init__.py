"""ONNX files: tf2onnx writes them, and passes over their graphs change them."""
