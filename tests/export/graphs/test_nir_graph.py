"""What a NIR graph holds gives the network's own numbers back, or the network is refused."""

from dataclasses import replace

import nir
import numpy as np
import pytest
import torch
from bundles import SMALL, drawn
from hypothesis import example, given
from hypothesis import strategies as st
from snntorch.import_nir import _nir_to_snntorch_module

from csnn_jax.config import ModelConfig
from csnn_jax.runs import layouts
from csnn_jax.runs.layouts import Tensors
from export.graphs import nir_graph


@given(st.floats(2.0**-20, 1, width=32))
@example(0.0)
@example(1.0)
@example(1 - 2.0**-24)
def test_every_beta_comes_back_exactly(beta: float) -> None:
    config = ModelConfig(input_shape=(2, 2, 1), conv_channels=(), hidden=(), num_classes=2, reset="zero", beta=beta)
    tensors = {n: np.zeros(s, np.float32) for n, s in layouts.expected_shapes(config).items()}
    assert nir_graph.reason_against(config, tensors) is None
    node = nir_graph.graph(config, tensors).nodes["layer1_spikes"]
    assert isinstance(node, nir.LIF)
    neurons = _nir_to_snntorch_module(node, hack_w_scale=False)
    assert isinstance(neurons, torch.nn.Module)
    assert (neurons.float().beta == torch.tensor(beta)).all()
    assert (neurons.threshold == 1).all()


@pytest.mark.parametrize(
    ("change", "tensors", "reason"),
    [
        ({"pool": "max"}, {}, "NIR has no max-pooling; train with --pool avg for a network.nir"),
        ({"reset": "subtract"}, {}, "train with --reset zero for"),
        ({"reset": "none"}, {}, "not as --reset none; train with --reset zero for"),
        ({"pool": "max", "reset": "subtract"}, {}, "train with --pool avg --reset zero for"),
        ({"reset": ("zero", "none", "zero")}, {}, "not as --reset none; train with --reset zero for"),
        ({"per_channel": ("beta",)}, {}, "one value for all neurons of a layer; train without --per-channel for"),
        (
            {"neuron": "synaptic", "reset": ("zero", "clear", "subtract")},
            {},
            "NIR resets a neuron to a value, and keeps the synaptic current, not as --reset subtract or zero; train "
            "with --reset clear for a network.nir",
        ),
        ({"pool": "max", "pool_after": True}, {}, "NIR has no max-pooling; train with --pool avg for a network.nir"),
        ({"readout": "membrane"}, {}, "that are read from spikes; train with --readout spikes for"),
        (
            {"neuron": "synaptic", "pool": "max", "output": "integrator"},
            {},
            "NIR has no max-pooling, resets a neuron to a value, and keeps the synaptic current, not as --reset zero, "
            "and is written here for networks that are read from spikes; train with --pool avg --reset clear "
            "--output spiking for a network.nir",
        ),
        ({"learn_threshold": True}, {"lif2.threshold": np.float32(-0.25)}, "lif2's learnt threshold of -0.25"),
        ({"learn_beta": True}, {"lif3.beta": np.float32(1e-12)}, "lif3's beta of 1e-12"),
    ],
)
def test_what_can_not_be_told_is_refused(change: dict, tensors: Tensors, reason: str) -> None:
    config = replace(SMALL, **change)
    found = nir_graph.reason_against(config, drawn(config) | tensors)
    assert found is not None and reason in found and "\n" not in found
