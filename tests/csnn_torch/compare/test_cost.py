"""Sides are measured in processes of their own; one that fails is told, and the others go on."""

import pytest

from csnn_torch.compare import cost


@pytest.mark.slow
def test_a_process_answers_what_it_is_asked(small_run):
    process = cost.Process(str(small_run), "snntorch", OMP_NUM_THREADS="1")
    answer = process.ask("infer")
    assert len(answer["predictions"]) == 128 and answer["seconds"] > 0
    assert set(process.ask("density")["densities"]) == {f"lif{i}" for i in range(1, 5)}
    first, second = process.ask("step"), process.ask("step")
    assert second["now"] - first["now"] >= second["seconds"] > 0
    report = process.ask("report")
    assert "snnTorch" in report["description"] and report["peak_memory_mb"] > 100
    process.close()


def test_a_side_that_fails_says_why(tmp_path):
    (found,) = cost.measure(str(tmp_path / "nope"), ("scan",), turns=2, rounds=1)
    assert found.failed is not None and "nope: no such directory" in found.failed
    assert (found.side, found.step, found.infer) == ("scan", [], [])
