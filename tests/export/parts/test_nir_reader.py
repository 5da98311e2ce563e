"""Each reader's file gives the network's spikes with the reader's arithmetic, which was measured.

benchmarks/targets runs the files with the readers themselves.
"""

import functools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from bundles import SMALL, drawn

from csnn_jax import data
from csnn_jax.config import ModelConfig
from csnn_jax.runs import layouts
from csnn_torch.foreign import nir_network
from export import reference
from export.graphs import nir_graph
from export.graphs.nir_dialect import DEFINITION, Dialect
from export.parts import nir_norse, nir_reader, nir_sinabs, nir_spikingjelly

pytestmark = pytest.mark.numeric

BEFORE = replace(SMALL, conv_channels=(4, 6), time_steps=12)
SYNAPTIC = replace(BEFORE, pool="sum", pool_after=True, neuron="synaptic", reset="clear", alpha=0.75)
STACKS = {
    "averages before": BEFORE,
    "averages after": replace(BEFORE, pool_after=True, pool_size=(4, 2)),
    "sums before": replace(BEFORE, pool="sum"),
    "sums after": replace(BEFORE, pool="sum", pool_after=True),
    "synaptic": SYNAPTIC,
    "leaks that are powers of two": replace(BEFORE, beta=(0.5, 1.0, 0.75, 0.875), threshold=(1.0, 0.7, 0.5, 0.5)),
    "no padding, a stride, one pool, no bias": replace(
        BEFORE, kernel_size=(5, 4), padding="valid", stride=(1, 2), pool=("avg", "none"), bias=False
    ),
    "rate encoding": replace(BEFORE, encoding="rate"),
}
AWKWARD = {
    "betas": replace(BEFORE, beta=(0.0, 0.6, 1.0, 0.9)),
    "learnt": replace(BEFORE, learn_beta=True, learn_threshold=True, beta=0.9),
    "synaptic, awkward": replace(SYNAPTIC, alpha=(0.0, 0.4, 0.9, 1.0), beta=(0.9, 0.4, 0.0, 0.7)),
}
RULES = {
    "Norse": (nir_norse.DIALECT, nir_norse.rule),
    "Norse, rounded as ours": (nir_norse.DIALECT, nir_norse.same_as_ours),
    "Sinabs": (nir_sinabs.DIALECT, nir_sinabs.rule),
    "SpikingJelly": (nir_spikingjelly.DIALECT, nir_spikingjelly.rule),
}
REFUSED = {
    *(("Sinabs", name) for name in ("synaptic", "synaptic, awkward")),
    *(("Norse", name) for name in AWKWARD),
}


@functools.cache
def digits() -> np.ndarray:
    return data.load("mnist", (28, 28, 1)).test.images[:4]


@pytest.mark.parametrize("name", [*STACKS, *AWKWARD])
@pytest.mark.parametrize("reader", RULES)
def test_a_readers_arithmetic_gives_the_networks_spikes(reader: str, name: str, tmp_path: Path) -> None:
    dialect, rule = RULES[reader]
    config = (STACKS | AWKWARD)[name]
    tensors = drawn(config)
    reason = nir_graph.reason_against(config, tensors, dialect)
    assert (reason is not None) == ((dialect.reader, name) in REFUSED), reason
    if reason:
        with pytest.raises(ValueError, match=r"^(Norse multiplies|Sinabs drops) .*"):
            nir_graph.write(tmp_path / dialect.file, config, tensors, dialect)
        return
    nir_graph.write(tmp_path / dialect.file, config, tensors, dialect)
    x = reference.inputs(config, digits())
    found = nir_reader.run(nir_graph.read(tmp_path / dialect.file, dialect), rule, x, config.time_steps)
    expected = reference.trace(reference.Step(config, tensors), x, config.time_steps).spikes
    for ours, theirs in zip(expected, found, strict=True):
        assert 0.005 < ours.mean() < 0.9
        assert torch.equal(ours, theirs)


BACK = {
    "NIR": (DEFINITION, {}),
    "Norse": (nir_norse.DIALECT, {}),
    "Sinabs": (nir_sinabs.DIALECT, {"written_by": "sinabs", "reset": "zero", "norm_input": False}),
    "SpikingJelly": (nir_spikingjelly.DIALECT, {"written_by": "spikingjelly"}),
}
"""How each file converts back, as docs/coming-from-nir.md says."""


@pytest.mark.parametrize("name", [*STACKS, *AWKWARD])
@pytest.mark.parametrize("reader", BACK)
def test_every_file_converts_back(reader: str, name: str, tmp_path: Path) -> None:
    """To the same spikes and membranes as the network's own."""
    dialect, rules = BACK[reader]
    config = (STACKS | AWKWARD)[name]
    tensors = drawn(config)
    if nir_graph.reason_against(config, tensors, dialect):
        return
    nir_graph.write(tmp_path / dialect.file, config, tensors, dialect)
    found = nir_network.read(str(tmp_path / dialect.file), **rules)
    assert not any("of its input" in note for note in found.notes)
    images = digits()
    ours, back = (
        reference.trace(reference.Step(*network), reference.inputs(network[0], images), config.time_steps)
        for network in ((config, tensors), (found.config, layouts.on_grid(found.config, found.tensors)))
    )
    membranes = reference.membranes(config, ours.states), reference.membranes(found.config, back.states)
    for one, other in zip((*ours.spikes, *membranes[0]), (*back.spikes, *membranes[1]), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("reader", RULES)
def test_a_wrong_number_in_a_file_changes_spikes(reader: str, tmp_path: Path) -> None:
    dialect, rule = RULES[reader]
    tensors = drawn(BEFORE)

    def spikes(config: ModelConfig, dialect: Dialect) -> list[torch.Tensor]:
        nir_graph.write(tmp_path / "file.nir", config, tensors, dialect)
        x = reference.inputs(config, digits())
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
