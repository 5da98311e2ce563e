"""The run directory, its weights, records and pictures; needs no JAX."""
