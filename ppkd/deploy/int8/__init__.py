"""From an exported ONNX file to one that computes its layers with 8-bit numbers."""
