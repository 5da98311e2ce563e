"""The C program: its sources, and the code that writes and builds it for a network."""
