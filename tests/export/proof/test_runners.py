"""Every way to run a network gives the same scores."""

import numpy as np
import pytest
from export_networks import INTEGRATOR, OTHER, firing

from csnn_jax.window import output
from export.parts import sequence
from export.proof.runners import TorchRunner, scores, step_scores, window

pytestmark = pytest.mark.numeric


@pytest.mark.parametrize("config", [OTHER, INTEGRATOR], ids=["spikes", "membranes"])
def test_every_graph_gives_the_same_scores(config):
    """Spikes are counted; membranes are added in float32, step by step."""
    made = firing(config)
    outputs = output(made.config, *window(TorchRunner(made.step), made.step, made.x))
    expected = np.zeros_like(outputs[0])
    for one in outputs:
        expected += one
    assert expected.any()
    np.testing.assert_array_equal(scores(TorchRunner(made.step), made.config, made.x), expected)
    for file in ("step.onnx", "step_b1.onnx"):
        found = step_scores(made.models[file], made.config)(made.x)
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(sequence.scores(made.models["sequence.onnx"])(made.x), expected)
