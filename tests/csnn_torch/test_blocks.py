"""The modules before a block's neurons: torch's, of the layer's geometry."""

import pytest
import torch

from csnn_jax.config import ModelConfig
from csnn_torch.blocks import before_neurons

STACK = ModelConfig(
    (13, 12, 2), (4, 5, 6), (4, 3, 3), (1, 2, 1), ("valid", "same", "same"), (7,), 3, ("max", "none", "avg")
)
NAMES = [["conv1", "pool1"], ["conv2"], ["conv3", "pool3"], ["flatten4", "fc1"], ["fc2"]]


@pytest.mark.parametrize("bias", [False, True])
def test_every_block_has_the_shapes_of_its_layer(bias):
    x = torch.zeros(2, 2, 13, 12)
    for number, (layer, names) in enumerate(zip(STACK.layers, NAMES, strict=True), 1):
        modules = before_neurons(layer, number, bias)
        assert list(modules) == names and (modules[layer.name].bias is not None) is bias
        x = torch.nn.Sequential(*modules.values())(x)
        assert x.shape[1:] == (layer.out_shape[-1], *layer.out_shape[:-1])
    assert isinstance(before_neurons(STACK.layers[0], 1, bias)["pool1"], torch.nn.MaxPool2d)
    assert isinstance(before_neurons(STACK.layers[2], 3, bias)["pool3"], torch.nn.AvgPool2d)
