"""What is said of trainings: of one seed as before, of several in a row each and a sentence."""

from dataclasses import replace

from csnn_torch.compare import trained
from csnn_torch.compare.results import Trajectory

LOSSES = {"csnn_jax": [2.0, 1.75], "snntorch": [2.0, 1.5]}
ONE = Trajectory("the seed's", "float32", "scan", 8, 1e-3, LOSSES, {"fc1.bias": 0.5}, 1, {"lif1": 0.1}, 0, 25)
OTHER = replace(ONE, losses={"csnn_jax": [2.0, 1.5], "snntorch": [2.0, 1.5]}, first_flip=None, seed=7)
EXACT = replace(ONE, dtype="float64", first_flip=None)


def test_one_seed_is_told_with_its_first_flip():
    (said,) = trained.summary([ONE])
    assert said == (
        "- Same training, float32: over 2 iterations the first spike flips at iteration 1; losses within 0.0e+00 until "
        "then."
    )
    assert "| seed |" not in "\n".join(trained.section([ONE]))


def test_several_seeds_are_told_by_mean_and_deviation():
    said, exact = trained.summary([ONE, OTHER, EXACT])
    assert (
        "over 2 seeds of 2 iterations the mean loss of the last 20 differs by +0.062 +- 0.088 (csnn_jax's less" in said
    )
    assert exact.startswith("- Same training, float64: over 2 iterations no spike flips")


def test_each_seed_has_a_row_and_each_kind_of_training_a_column():
    lines = "\n".join(trained.section([ONE, OTHER, EXACT])).splitlines()
    assert "|  | float32, seed 0 | float64 |" in lines
    assert "| 0 | 1.875 | 1.750 | +0.125 | 1 |" in lines
    assert "| 7 | 1.750 | 1.750 | +0.000 | none flips |" in lines
    assert any(
        line.startswith("| iterations | 2 on batches of 8, learning rate 0.001, 25 time steps |") for line in lines
    )
