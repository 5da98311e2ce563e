"""The devices that a job runs on, of one process or of several: how a batch is spread, and how processes agree."""
