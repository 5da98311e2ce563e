"""The devices of a job, in one process or several: how batches are sharded, and how processes agree."""
