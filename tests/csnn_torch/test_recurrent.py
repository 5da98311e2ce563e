"""snnTorch's own reset of networks that aren't chains; tests/test_reference_graph.py compares their gradients."""

import copy

import pytest
import snntorch.utils
import torch
from backends import torch_input
from networks import network

from csnn_torch import model


@pytest.mark.parametrize("name", ["recurrent", "delays"])
def test_snntorchs_reset_clears_earlier_steps(name):
    made = model.sequential(network(name).config)
    model.load_tensors(made, network(name).masters)
    x = torch_input(name)
    with torch.no_grad():
        expected = [made(x)[0] for _ in range(4)]
        assert torch.stack(expected).mean() > 0.05
        snntorch.utils.reset(made)
        again, other = copy.deepcopy(made), x[:2]
        for step in expected:
            assert torch.equal(made(x)[0], step)
        for step in expected:  # another batch size
            assert torch.equal(again(other)[0], step[:2])
