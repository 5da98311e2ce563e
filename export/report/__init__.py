"""The pages of a bundle that a person reads."""
