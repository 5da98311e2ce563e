"""Each reader's arithmetic, which was measured; tests/test_matrix.py compares its spikes for every network.

benchmarks/targets runs the files with the readers themselves.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from backends import expected, last, torch_input
from bundles import SMALL, drawn
from networks import network

from csnn_jax import data
from csnn_jax.config import ModelConfig
from export import reference
from export.graphs import nir_graph
from export.graphs.nir_dialect import Dialect
from export.parts import nir_norse, nir_reader, nir_sinabs, nir_spikingjelly

pytestmark = pytest.mark.numeric

BEFORE = replace(SMALL, conv_channels=(4, 6), time_steps=12)
RULES = {
    "Norse": (nir_norse.DIALECT, nir_norse.rule),
    "Norse, rounded as ours": (nir_norse.DIALECT, nir_norse.same_as_ours),
    "Sinabs": (nir_sinabs.DIALECT, nir_sinabs.rule),
    "SpikingJelly": (nir_spikingjelly.DIALECT, nir_spikingjelly.rule),
}


@pytest.mark.parametrize("name", ["powers of two", "synaptic, sums after"])
def test_norses_own_rounding_gives_the_same_spikes(name: str) -> None:
    """Not in general, but where no membrane is that close to its threshold."""
    graph = nir_graph.graph(network(name).config, network(name).tensors, nir_norse.DIALECT)
    layers = nir_reader.run(graph, nir_norse.rule, torch_input(name), network(name).config.time_steps)
    for layer, spikes in zip(network(name).config.graph.weighted, map(last, layers), strict=True):
        np.testing.assert_array_equal(spikes, expected(name)[f"{layer.name}.spikes"])


@pytest.mark.parametrize("reader", RULES)
def test_a_wrong_number_in_a_file_changes_spikes(reader: str, tmp_path: Path) -> None:
    dialect, rule = RULES[reader]
    tensors = drawn(BEFORE)

    def spikes(config: ModelConfig, dialect: Dialect) -> list[torch.Tensor]:
        nir_graph.write(tmp_path / "file.nir", config, tensors, dialect)
        x = reference.inputs(config, data.load("mnist", (28, 28, 1)).test.images[:4])
        return nir_reader.run(nir_graph.read(tmp_path / "file.nir", dialect), rule, x, config.time_steps)

    right = spikes(BEFORE, dialect)
    for config in (replace(BEFORE, beta=0.75), replace(BEFORE, threshold=0.9)):
        assert any(not torch.equal(one, other) for one, other in zip(right, spikes(config, dialect), strict=True))


@pytest.mark.parametrize("reader", ["Sinabs", "SpikingJelly"])
def test_a_membrane_at_the_threshold_does_not_spike_even_in_readers_that_use_at_least(reader: str) -> None:
    dialect, rule = RULES[reader]
    config = ModelConfig(
        input_shape=(1, 1, 2), conv_channels=(), hidden=(), num_classes=2, reset="zero", time_steps=1, threshold=0.5
    )
    above = np.nextafter(np.float32(0.5), np.float32(1))
    tensors = {"fc1.weight": np.eye(2, dtype=np.float32), "fc1.bias": np.zeros(2, np.float32)}
    graph = nir_graph.graph(config, tensors, dialect)
    (spikes,) = nir_reader.run(graph, rule, torch.tensor([0.5, above]).reshape(1, 2, 1, 1), 1)
    assert spikes.flatten().tolist() == [0.0, 1.0]
