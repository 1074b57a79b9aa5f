"""Teachers that are ONNX graphs: their file, what it expects of an image, and what its tensors are."""
