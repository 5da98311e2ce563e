"""Finds the first spike in which two programs differ, and the known difference between them that explains it."""
