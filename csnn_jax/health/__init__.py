"""Whether a network in training is healthy, and what to try where it is not; NumPy only."""
