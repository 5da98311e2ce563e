"""The trained parameters in csnn_jax: the spikes of step.onnx, and with other parameters not."""

import numpy as np
import pytest
from export_networks import case

from export.parts import weights

pytestmark = pytest.mark.numeric


@pytest.mark.parametrize("name", ["default", "other"])
def test_csnn_jax_agrees_and_with_another_bias_does_not(name):
    made = case(name)
    for more, ok in ((0, True), (1, False)):
        tensors = made.tensors | {"fc1.bias": made.tensors["fc1.bias"] + np.float32(more)}
        found = weights.equality(made.step, tensors, made.models["step.onnx"], [made.x])
        assert found["ok"] == ok and found["images"] == 3 and (found["images_that_differ"] == 0) == ok
        assert ok or found["first_flips"][0]["layer"] == 3
