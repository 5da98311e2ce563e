"""The run directory and its weights, records and checkpoints. Doesn't need JAX."""
