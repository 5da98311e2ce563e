"""The C program: its sources, and what is written and built for one network."""
