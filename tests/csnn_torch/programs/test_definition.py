"""NIR's definition turns the exported parameters back into the neurons' own."""

import nir
import numpy as np
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from refusals import refusing
from snntorch.import_nir import _nir_to_snntorch_module

from csnn_torch.programs import definition
from csnn_torch.programs.program import Inexact, Layer
from export.graphs import nir_graph

DECAYS = st.floats(2.0**-20, 1, width=32)


@given(DECAYS)
@example(0.0)
@example(1.0)
@example(1 - 2.0**-24)
def test_every_beta_comes_back_exactly(beta: float) -> None:
    values = {"beta": np.float32(beta), "threshold": np.float32(1)}
    node = nir_graph.as_node(definition.neurons(Layer("lif1", values)), (3,))
    assert isinstance(node, nir.LIF) and node.tau.shape == (3,)
    neurons = _nir_to_snntorch_module(node, hack_w_scale=False)
    assert isinstance(neurons, torch.nn.Module)
    assert (neurons.float().beta == torch.tensor(beta)).all()
    assert (neurons.threshold == 1).all()


@given(DECAYS, DECAYS)
@example(0.0, 1.0)
@example(1.0, 0.0)
@example(0.4, 0.5)
def test_every_alpha_comes_back_exactly(alpha: float, beta: float) -> None:
    values = {"alpha": np.float32(alpha), "beta": np.float32(beta), "threshold": np.float32(0.7)}
    node = nir_graph.as_node(definition.neurons(Layer("lif1", values)), (2, 3, 3))
    assert isinstance(node, nir.CubaLIF)
    neurons = _nir_to_snntorch_module(node, hack_w_scale=False)
    assert isinstance(neurons, torch.nn.Module)
    found = {name: np.float32(getattr(neurons.float(), name)) for name in values}
    assert found == values


def test_an_alpha_that_is_lost_in_1_minus_alpha_is_refused() -> None:
    values = {"alpha": np.float32(1e-12), "beta": np.float32(0.5), "threshold": np.float32(1)}
    with refusing(Inexact, "1 - alpha", "lif3", 1e-12):
        definition.neurons(Layer("lif3", values))


def test_the_lowest_membrane_that_spikes_is_just_above_the_threshold() -> None:
    for threshold in (0.0, 0.7, 1.0, 3e38):
        one = Layer("lif1", {"threshold": np.float32(threshold)})
        assert one.included > np.float32(threshold)
        assert np.nextafter(one.included, np.float32(-np.inf)) == np.float32(threshold)
