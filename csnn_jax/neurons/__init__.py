"""The equations of neurons, one file each, over operations that JAX, NumPy and torch have. Imports no framework."""
