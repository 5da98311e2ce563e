"""Where two programs first compute another spike, and which known difference between them explains it."""
