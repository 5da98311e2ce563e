"""ONNX and NIR files of a trained network. Nothing here yet: see the README, "What is not there yet"."""
