"""What is said of trainings: of one seed as before, of several in a row each and a sentence."""

from dataclasses import replace

from csnn_torch.compare import trained
from csnn_torch.compare.results import Trajectory

LOSSES = {"csnn_jax": [2.0, 1.75], "snntorch": [2.0, 1.5]}
ONE = Trajectory("the seed's", "float32", "scan", 8, 1e-3, LOSSES, {"fc1.bias": 0.5}, 1, {"lif1": 0.1}, 0, 25)
OTHER = replace(ONE, losses={"csnn_jax": [2.0, 1.5], "snntorch": [2.0, 1.5]}, first_flip=None, seed=7)
EXACT = replace(ONE, dtype="float64", first_flip=None)


def test_several_seeds_are_told_by_mean_and_deviation():
    (line,) = trained.summary([ONE])
    assert line.endswith("the first spike flips at iteration 1; losses within 0.0e+00 until then.")
    said, exact = trained.summary([ONE, OTHER, EXACT])
    assert (
        "over 2 seeds of 2 iterations the mean loss of the last 20 differs by +0.062 +- 0.088 (csnn_jax's less" in said
    )
    assert exact.startswith("- Same training, float64: over 2 iterations no spike flips")
    rows = "\n".join(trained.section([ONE, OTHER, EXACT])).splitlines()
    assert "| 0 | 1.875 | 1.750 | +0.125 | 1 |" in rows and "| 7 | 1.750 | 1.750 | +0.000 | none flips |" in rows
