"""Short trainings by the command line, and what they leave."""

import json

BRIEF = ("--conv-channels", 4, "--hidden", 16, "--time-steps", 5, "--batch-size", 32)
"""A stack and a batch for the fixture `dataset`, of which 10 iterations are an epoch."""


def records(path, kind):
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]
