"""Every way to run a network gives the same scores."""

import numpy as np
import pytest
from export_networks import INTEGRATOR, OTHER, firing

from export.parts import sequence
from export.proof.runners import TorchRunner, scores, step_scores, window

pytestmark = pytest.mark.numeric


@pytest.mark.parametrize("config", [OTHER, INTEGRATOR], ids=["spikes", "membranes"])
def test_every_graph_gives_the_same_scores(config):
    """Spikes are counted; membranes are added in float32, step by step."""
    made = firing(config)
    outputs = window(TorchRunner(made.step), made.config, made.x).output
    expected = np.zeros_like(outputs[0])
    for output in outputs:
        expected += output
    assert expected.any()
    np.testing.assert_array_equal(scores(TorchRunner(made.step), made.config, made.x), expected)
    for file in ("step.onnx", "step_b1.onnx"):
        found = step_scores(made.models[file], made.config)(made.x)
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(sequence.scores(made.models["sequence.onnx"])(made.x), expected)
