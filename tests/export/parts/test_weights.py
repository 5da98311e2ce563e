"""The trained parameters in csnn_jax: the spikes of step.onnx."""

import numpy as np
import pytest
from export_networks import case

from export.parts import weights

pytestmark = pytest.mark.numeric


@pytest.mark.parametrize("name", ["default", "other"])
def test_csnn_jax_agrees(name):
    made = case(name)
    found = weights.equality(made.step, made.tensors, made.models["step.onnx"], [made.x])
    assert found["ok"] and found["images"] == 3
    assert found["images_that_differ"] == 0


def test_other_weights_in_csnn_jax_are_found():
    made = case("other")
    tensors = made.tensors | {"fc1.bias": made.tensors["fc1.bias"] + np.float32(1)}
    found = weights.equality(made.step, tensors, made.models["step.onnx"], [made.x])
    assert not found["ok"] and found["first_flips"][0]["layer"] == 3
