"""The weights that a job starts from; NumPy, but for the draw, which is JAX's."""
