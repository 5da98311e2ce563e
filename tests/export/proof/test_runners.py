"""Every way to run a network counts the same spikes."""

import numpy as np
import pytest
from export_networks import case

from export.parts import sequence
from export.proof.runners import TorchRunner, counts, step_counts, window

pytestmark = pytest.mark.numeric


def test_every_graph_counts_the_same_spikes():
    made = case("other")
    expected = window(TorchRunner(made.step), made.config, made.x).spikes.sum(0)
    assert expected.any()
    np.testing.assert_array_equal(counts(TorchRunner(made.step), made.config, made.x), expected)
    for file in ("step.onnx", "step_b1.onnx"):
        found = step_counts(made.models[file], made.config)(made.x)
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(sequence.counts(made.models["sequence.onnx"])(made.x), expected)
