"""The weights that a job starts from. Computed in NumPy, from random numbers drawn by JAX."""
