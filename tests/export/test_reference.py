"""The reference in torch is bit-identical to snnTorch."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from export_networks import KINDS, OTHER, Case, case, firing
from refusals import refusing

from csnn_torch import model as companion
from export import reference

pytestmark = pytest.mark.numeric


@pytest.mark.parametrize("learnt", [False, True])
@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
@pytest.mark.parametrize("pool", ["max", "avg"])
def test_the_step_is_bit_identical_to_snntorch(reset, pool, learnt):
    check(firing(replace(OTHER, reset=reset, pool=pool, learn_beta=learnt, learn_threshold=learnt)))


@pytest.mark.parametrize("name", [name for name, config in KINDS.items() if "clear" not in config.resets])
def test_other_neurons_and_pools_are_bit_identical_to_snntorch(name):
    check(case(name))


def check(made: Case) -> None:
    """Checks that all states and spikes match those of snnTorch's own neurons."""
    network = companion.sequential(made.config)
    companion.load_tensors(network, made.tensors)
    found = reference.trace(made.step, made.x, made.config.time_steps)
    theirs = companion.trace(network, made.x, made.config.time_steps)
    states = tuple(state[name] for state in theirs.states for name in made.config.kind.states)
    for ours, other in zip(found.spikes + found.states, theirs.spikes + states, strict=True):
        assert torch.equal(ours.moveaxis(2, -1) if ours.ndim == 5 else ours, other)
    assert torch.equal(found.output, theirs.membranes[-1] if made.config.readout == "membrane" else theirs.spikes[-1])


def test_a_learned_beta_is_clipped():
    made = case("other")
    tensors = made.tensors | {"lif1.beta": np.float32(1.5), "lif2.beta": np.float32(-0.5)}
    betas = [neurons.beta.item() for neurons in reference.Step(made.config, tensors).neurons]
    assert betas == [1.0, 0.0, tensors["lif3.beta"], tensors["lif4.beta"]]


def test_images_other_than_bytes_are_refused():
    """Bundles store bytes."""
    with refusing(ValueError, "images", "float32", "uint8"):
        reference.inputs(OTHER, np.zeros((1, *OTHER.input_shape), np.float32))
