"""A page on which a bundle's own `step.onnx` runs in the browser, step by step."""
