"""If one side fails, its error is recorded and the rest continue; the load of other programs is measured separately."""

import subprocess
import sys
import time

import pytest

from csnn_jax import machine
from csnn_torch.compare import cost
from csnn_torch.compare.cost import Rounds


def test_a_side_that_fails_says_why(tmp_path):
    (found,) = cost.measure(str(tmp_path / "nope"), ("scan",), turns=2, rounds=1)
    assert found.failed is not None and "nope: no such directory" in found.failed
    assert found.failed.startswith(str(tmp_path))  # without the exception's class name
    assert (found.side, found.step, found.infer) == ("scan", Rounds(), Rounds())


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_the_share_of_other_programs_excludes_the_sides_own_time():
    began, busy = time.perf_counter(), machine.busy_s()
    code = "import time; end = time.process_time() + 0.5\nwhile time.process_time() < end: pass"
    subprocess.run([sys.executable, "-c", code], check=True)
    (told,), (own,) = (cost.others(began, busy, seconds) for seconds in (0.0, 0.5))
    assert told > own and cost.others(began, None, 0.0) == []
    assert cost.others(began, busy, 1e6) == [0.0]
