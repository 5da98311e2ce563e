"""With the trained parameters csnn_jax has torch's spikes and membranes, and with others it doesn't."""

import numpy as np
import pytest
from export_networks import OTHER, firing

from export.parts import weights
from export.proof.equality import problems, windows

pytestmark = pytest.mark.numeric


def test_csnn_jax_agrees_but_not_with_another_bias():
    made = firing(OTHER)
    for more, ok in ((0, True), (1, False)):
        tensors = made.tensors | {"fc1.bias": made.tensors["fc1.bias"] + np.float32(more)}
        found = weights.equality(made.config, tensors, windows(made.step, [made.x]))
        figures = found.figures()
        assert figures["images"] == 3 and figures["membranes"] >= figures["spikes"] > 0
        assert (problems("csnn_jax", found) == []) == ok
