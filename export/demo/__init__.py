"""A page that runs a bundle's `step.onnx` in the browser, step by step."""
