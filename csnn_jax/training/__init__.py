"""Training: the job that every framework runs, from flags to a run directory."""
