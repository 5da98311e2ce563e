"""The figures of runs, and the style of all figures of this project."""
