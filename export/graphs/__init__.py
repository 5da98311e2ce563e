"""Building blocks of the ONNX and NIR graphs."""
