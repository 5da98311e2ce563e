"""Training: the job that every framework runs, and JAX's part of it."""
