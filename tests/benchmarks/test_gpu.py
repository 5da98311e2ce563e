"""Without a GPU the benchmark of GPUs says so, and is no failure."""

import subprocess
import sys
from pathlib import Path

from commands import ENVIRONMENT

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"


def test_without_a_gpu_it_says_so_and_exits_with_0():
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, env=ENVIRONMENT, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "no GPU to measure: JAX runs on cpu; `pip install -e '.[cuda]'` where there is a card\n"
