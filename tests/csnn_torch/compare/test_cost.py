"""Sides are measured in processes of their own; one that fails is told, and the others go on."""

import subprocess
import sys
import time

import pytest
from bundles import make_run

from csnn_jax import machine
from csnn_jax.config import ModelConfig
from csnn_torch.compare import cost
from csnn_torch.compare.timings import Rounds


def test_a_side_that_fails_says_why(tmp_path):
    (found,) = cost.measure(str(tmp_path / "nope"), ("scan",), turns=2, rounds=1)
    assert found.failed is not None and "nope: no such directory" in found.failed
    assert found.failed.startswith(str(tmp_path))  # no name of a class
    assert (found.side, found.step, found.infer) == ("scan", Rounds(), Rounds())


@pytest.mark.slow
def test_sides_take_turns_and_tell_processor_seconds_and_the_load_of_others(tmp_path):
    model = ModelConfig(conv_channels=(2,), hidden=(), time_steps=3)
    run = make_run(tmp_path / "run", model)
    ours, theirs = cost.measure(str(run), ("event", "snntorch first convolution once"), turns=3, rounds=2)
    for side in (ours, theirs):
        assert side.failed is None
        for rounds in (side.step, side.infer):
            assert [len(turn) for turn in rounds.clock] == [len(turn) for turn in rounds.processor] == [2, 2, 2]
            assert min(map(min, rounds.processor)) > 0
        assert len(side.others) == 3 and all(0 <= share <= 1 for share in side.others)
        assert set(side.densities) == {"lif1", "lif2"} and side.peak_memory_mb > 100


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_the_share_of_other_programs_leaves_out_a_sides_own_seconds():
    began, busy = time.perf_counter(), machine.busy_s()
    code = "import time; end = time.process_time() + 1.5\nwhile time.process_time() < end: pass"
    subprocess.run([sys.executable, "-c", code], check=True)
    (told,), (own,) = (cost._others(began, busy, seconds) for seconds in (0.0, 1.5))
    assert told > own and cost._others(began, None, 0.0) == []
    assert cost._others(began, busy, 1e6) == [0.0]
