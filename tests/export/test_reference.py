"""The reference in torch has the bits of snnTorch."""

from dataclasses import replace

import numpy as np
import pytest
import snntorch
import torch
from export_networks import OTHER, case, firing

from csnn_torch import model as companion
from export import reference

pytestmark = pytest.mark.numeric


def snntorch_trace(config, tensors, x):
    """Spikes and membranes of every layer of the companion network, taken from snnTorch's own neurons."""
    net = companion.sequential(config)
    companion.load_tensors(net, tensors)
    neurons = [m for m in net if isinstance(m, snntorch.Leaky)]
    spikes = [[] for _ in neurons]
    membranes = [[] for _ in neurons]

    def keep(number):
        def hook(module, inputs, output):
            spikes[number].append(output[0] if isinstance(output, tuple) else output)
            membranes[number].append(module.mem)

        return hook

    for number, neuron in enumerate(neurons):
        neuron.register_forward_hook(keep(number))
    with torch.no_grad():
        companion.run(net, x, config.time_steps)
    return [torch.stack(s) for s in spikes], [torch.stack(m) for m in membranes]


@pytest.mark.parametrize("learnt", [False, True])
@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
@pytest.mark.parametrize("pool", ["max", "avg"])
def test_the_step_has_the_bits_of_snntorch(reset, pool, learnt):
    made = firing(replace(OTHER, reset=reset, pool=pool, learn_beta=learnt, learn_threshold=learnt))
    found = reference.trace(made.step, made.x, made.config.time_steps)
    spikes, membranes = snntorch_trace(made.config, made.tensors, made.x)
    for mine, theirs in zip(found.spikes + found.membranes, spikes + membranes, strict=True):
        assert torch.equal(mine, theirs)


def test_a_learnt_beta_is_clipped():
    made = case("other")
    tensors = made.tensors | {"lif1.beta": np.float32(1.5), "lif2.beta": np.float32(-0.5)}
    betas = [neurons.beta.item() for neurons in reference.Step(made.config, tensors).neurons]
    assert betas == [1.0, 0.0, tensors["lif3.beta"], tensors["lif4.beta"]]


def test_images_that_are_no_bytes_are_refused():
    """They would be divided by 255."""
    with pytest.raises(ValueError, match="images are float32, expected uint8"):
        reference.inputs(OTHER, np.zeros((1, *OTHER.input_shape), np.float32))
