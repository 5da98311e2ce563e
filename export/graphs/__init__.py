"""What all ONNX graphs share."""
