"""The benchmark of recordings measures what it says."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_second_start_is_measured():
    command = [sys.executable, ROOT / "benchmarks/recordings.py", "--counts", "130", "--steps", "4"]
    (found,) = json.loads(subprocess.check_output(command, text=True))["measured"]
    assert found["recordings"] == 130 and found["cache_bytes"] > 130 * 1000
    assert found["second"]["start_s"] > 0 and found["first"]["peak_mb"] > 10
