"""Gradients of sums, delays and pools of spikes, and of sums of currents, on the event engine."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference_graph as reference
from flax import nnx
from reference_settings import settings_of
from refusals import assert_line, refusing

from csnn_jax import NodeConfig
from csnn_jax.config import ModelConfig, surrogate_of
from csnn_jax.config.operations import Linear
from csnn_jax.data import batches
from csnn_jax.engine import event, scan, stages
from csnn_jax.engine.library import Unsupported
from csnn_jax.network.model import CSNN, tensors

pytestmark = pytest.mark.numeric

SHAPE, STEPS, BATCH = (7, 6, 2), 6, 3


def conv(name: str, inputs: Any, channels: int = 5, kernel: int = 3, **settings: Any) -> NodeConfig:
    fields = {"channels": channels, "kernel": kernel, "padding": kernel // 2} | settings
    return NodeConfig(name, "convolution", inputs, **fields)


def lif(name: str, inputs: Any, **settings: Any) -> NodeConfig:
    return NodeConfig(name, "leaky", inputs, **{"beta": 0.75} | settings)


def linear(name: str, inputs: Any, channels: int = 3, **settings: Any) -> NodeConfig:
    return NodeConfig(name, "linear", inputs, channels=channels, **settings)


def node(name: str, operation: str, inputs: Any, **settings: Any) -> NodeConfig:
    return NodeConfig(name, operation, inputs, **settings)


def ending(inputs: Any) -> list[NodeConfig]:
    return [
        node("flat", "flatten", inputs),
        linear("fc", "flat"),
        lif("out", "fc", threshold=0.25, learn=["beta", "threshold"]),
    ]


START = [conv("c1", "image"), lif("l1", "c1", learn=["threshold"]), conv("c2", "l1"), lif("l2", "c2")]
NETWORKS = {
    "sums and delays": [
        *(conv("c1", "image"), lif("l1", "c1", learn=["threshold"])),
        *(conv("c2", ["l1", "l1@1", "l1@3", "l1@6"]), lif("l2", "c2"), conv("c3", ["l2@2", "l1"]), lif("l3", "c3")),
        *ending(["l3", "l2"]),
    ],
    "maxima of sums": [
        *START,
        node("p", "max_pool", ["l2", "l1", "l1@1"], size=3, stride=1),
        node("q", "max_pool", ["p", "p@2"]),
        *ending("q"),
    ],
    "averages and sums": [
        *START,
        node("p", "avg_pool", ["l2", "l1@2"]),
        *(conv("c3", "p"), lif("l3", "c3"), conv("c4", ["p", "l3"]), lif("l4", "c4"), node("q", "sum_pool", "l4")),
        *ending("q"),
    ],
    "currents": [
        *START,
        *(
            conv("c3", "l2", kernel=5),
            conv("r3", ["l1", "l2@1"], kernel=1),
            conv("s3", "l1@2"),
            lif("l3", ["c3", "r3", "s3"]),
        ),
        # A kernel of the same size whose input is smaller.
        *(conv("c4", "l3", padding=0), lif("l4", "c4"), conv("c5", "l4"), conv("r5", "l3", padding=0)),
        lif("l5", ["r5", "c5"]),
        *ending("l5"),
    ],
    "pooled currents": [
        *(conv("c0", "image"), conv("k0", "image", kernel=5), lif("l1", ["c0", "k0"])),
        *(conv("c2", "l1", 6), node("pc", "max_pool", "c2"), node("ps", "max_pool", "l1"), conv("r", "ps", 6, 1)),
        *(lif("l2", ["pc", "r"]), conv("c3", "l2"), node("pa", "avg_pool", "c3"), node("pb", "avg_pool", "l2")),
        *(conv("r3", "pb", kernel=1), lif("l3", ["pa", "r3"])),
        *ending("l3"),
    ],
    "linear layers": [
        *(conv("c1", "image"), lif("l1", "c1"), node("flat", "flatten", "l1")),
        *(linear("fa", ["flat", "flat@2"], 9), lif("la", "fa"), node("one", "one_to_one", "la@1", channels=9)),
        *(linear("fb", "la", 9), lif("lb", ["fb", "one"]), linear("fc", ["lb", "la"]), linear("fd", "flat")),
        *(linear("rec", "out@1", bias=False), lif("out", ["fc", "fd", "rec"], threshold=0.25)),
    ],
}


def made(nodes: Sequence[NodeConfig], **fields: Any) -> CSNN:
    """A network whose layers spike, with weights of a seed."""
    settings = {"time_steps": STEPS, "surrogate": "atan", "slope": 1.0, "num_classes": 3} | fields
    model = CSNN(ModelConfig(input_shape=SHAPE, network=nodes, **settings), 1)
    for own in model.weights.values():
        own.kernel = nnx.Param(3 * own.kernel[...] + 0.03)
    return model


def compare(model: CSNN, x: np.ndarray, drops: bool = False) -> None:
    """Checks output and numbers of spikes for equality, and gradients of output and densities within a bound."""
    graph, params = nnx.split(model)
    config, masks = model.config, batches.dropout_masks(model.config, 0.5, 0, 0, BATCH) if drops else ()
    dropout = scan.Dropout(tuple(map(jnp.asarray, masks)), 2.0) if drops else None
    of_output = np.random.default_rng(0).normal(size=(STEPS, BATCH, config.num_classes)).astype(np.float32)

    @jax.jit
    @functools.partial(jax.grad, argnums=(0, 1), has_aux=True)
    def run(params: Any, x: Any) -> Any:
        output, densities = event.forward_with_densities(nnx.merge(graph, params), x, dropout=dropout)
        return (of_output * output).sum() + (densities**2).sum(), (output, densities)

    (gradient, of_x), (output, shares) = jax.device_get(run(params, x))
    given = config.network.described(), settings_of(config) | {"surrogate": surrogate_of(config)}, tensors(model), x
    dropped = zip(config.graph.feeding(Linear), masks, strict=True) if drops else ()
    factors = {node.name: 2.0 * np.asarray(mask).reshape(BATCH, *node.shape) for node, mask in dropped}
    forward = reference.trace(*given, masks=factors)
    spikes = {node.name: forward[node.name]["spikes"] for node in config.graph.neurons}
    *_, last = spikes
    np.testing.assert_array_equal(output, spikes[last])
    np.testing.assert_array_equal(
        np.rint(shares * [one.size for one in spikes.values()]), [*map(np.sum, spikes.values())]
    )
    assert (shares > 0).all()
    cotangents = {name: {"spikes": np.full(one.shape, 2 * one.mean() / one.size)} for name, one in spikes.items()}
    cotangents[last]["spikes"] += of_output
    expected = reference.gradients(*given, cotangents, forward, factors)
    for name, grad in (tensors(nnx.merge(graph, gradient)) | {"x": of_x}).items():
        other = expected[name]
        assert np.abs(other).max() > 0 and np.abs(grad - other).max() <= 2e-5 * np.abs(other).max(), name


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_equal_the_references(name):
    """tests/test_matrix.py compares the states; two of these networks read counts and drop spikes."""
    rng = np.random.default_rng(0)
    if name in ("sums and delays", "linear layers"):
        counts = rng.integers(0, 16, (STEPS, BATCH, *SHAPE)) * (rng.random((STEPS, BATCH, *SHAPE)) < 0.4)
        compare(made(NETWORKS[name], scale=1.0, input_bits=4), counts.astype(np.float32), drops=True)
    else:
        image = rng.integers(0, 256, (BATCH, *SHAPE)) / np.float32(256)
        compare(made(NETWORKS[name]), image.astype(np.float32))


def test_a_negative_threshold_spikes_before_the_first_step():
    model = made([*START[:2], conv("c2", "l1@1"), lif("l2", "c2", threshold=2.0), *ending("l2")])
    model.neurons["l1"].values["threshold"] = nnx.Param(jnp.float32(-0.25))
    compare(model, np.zeros((BATCH, *SHAPE), np.float32) + np.float32(0.5))


REFUSED = {
    "feedback": ([*START[:2], conv("c2", ["l1", "l2@1"]), lif("l2", "c2"), *ending("l2")], ("c2", "l2@1")),
    "a delayed current": ([*START[:3], lif("l2", ["c2", "c2@1"]), *ending("l2")], ("l2", "c2@1")),
    "two pools": (
        [*START[:3], node("p", "max_pool", "c2"), node("q", "avg_pool", "c2"), lif("l2", ["p", "q"]), *ending("l2")],
        ("p", "q"),
    ),
    "windows that overlap": (
        [*START, node("p", "avg_pool", "l2", size=2, stride=1), *ending("p")],
        ("p", "2x2 avg every 1 pixels"),
    ),
    "maxima of averages and spikes": (
        [
            *START,
            node("p", "avg_pool", "l2"),
            conv("c3", "p"),
            lif("l3", "c3"),
            node("q", "max_pool", ["l3", "p"]),
            *ending("q"),
        ],
        ("q", "averages"),
    ),
    "the image and spikes": ([*START[:2], conv("c2", "l1", 2), lif("l2", "c2"), *ending(["l2", "image"])], ("l2",)),
}
LATER = {
    "the image's current": ([START[2], conv("ci", "image"), lif("l2", ["c2", "ci"])], ("c2", "l1", "image")),
    "one by one": ([START[2], conv("d2", "l1"), lif("l2", ["c2", "d2"], separate=True)], ("l2", "c2 and d2")),
    "a pool of a pool": (
        [START[2], node("p", "max_pool", "c2"), node("q", "max_pool", "p"), lif("l2", "q")],
        ("q", "p"),
    ),
    "overlapping": ([START[2], node("p", "max_pool", "c2", stride=1), lif("l2", "p")], ("p", "2x2 max every 1 pixels")),
    "one pooled current": (
        [START[2], node("p", "max_pool", "c2"), node("s", "max_pool", "l1"), conv("d2", "s"), lif("l2", ["p", "d2"])],
        ("d2 and c2",),
    ),
    "a larger input": (
        [
            lif("a", "c"),
            conv("b", "a", kernel=5),
            *(conv(name, "l1", padding=0) for name in "cd"),
            lif("l2", ["b", "d"]),
        ],
        ("d and b",),
    ),
    "half a kernel of padding": ([conv("c2", "l1", kernel=2), lif("l2", "c2")], ("c2", "padding 1")),
}
REFUSED |= {name: ([*START[:2], *nodes, *ending("l2")], facts) for name, (nodes, facts) in LATER.items()}


@pytest.mark.parametrize("name", REFUSED)
def test_other_connections_are_refused_by_name(name):
    nodes, facts = REFUSED[name]
    with refusing(Unsupported, *facts):
        event.forward(made(nodes), np.zeros((BATCH, *SHAPE), np.float32))


def test_counts_are_not_added_to_spikes():
    nodes = [conv("c1", "image", 2), lif("l1", "c1"), conv("c2", ["image", "l1"]), lif("l2", "c2"), *ending("l2")]
    assert_line(stages.lacking(made(nodes, scale=1.0, input_bits=4), frames=True), "c2", "counts")


@pytest.mark.parametrize("steps", [16, 17])
def test_a_maximum_takes_64_spikes(steps):
    late = [f"s@{delay}" for delay in range(1, steps)]
    nodes = [*START, node("s", "sum_pool", "l2"), node("q", "max_pool", ["s", *late]), *ending("q")]
    reason = stages.lacking(made(nodes, time_steps=steps), frames=False)
    assert reason is None if steps == 16 else assert_line(reason, "q", 64, 68)
