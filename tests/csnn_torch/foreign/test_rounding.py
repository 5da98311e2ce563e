"""The spikes changed by rounding are counted one by one, for any neurons, as the exports' reference computes them."""

from dataclasses import replace

import numpy as np
import pytest
from bundles import INTEGRATOR, SMALL, SPIKES, drawn

from csnn_jax.config import Config
from csnn_jax.runs import layouts
from csnn_jax.window import output
from csnn_torch.foreign import rounding
from export import reference

pytestmark = pytest.mark.numeric

MODELS = {
    "leaky": SMALL,
    "an integrator, after recurrent spikes": replace(SMALL, output="integrator", recurrent=("fc1",)),
    "an integrator behind synapses": INTEGRATOR,
    "sums after neurons that clear": replace(SMALL, neuron="synaptic", reset="clear", pool="sum", pool_after=True),
    "rate": replace(SPIKES, weight_bits=5),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("labelled", [True, False])
def test_it_counts_spikes_that_differ_from_the_reference(name, labelled):
    model = MODELS[name]
    draw = np.random.default_rng(1)
    given = {  # on a finer grid, so all programs compute the same sums
        name: np.round(value * (1 + 0.02 * draw.random(value.shape)) * 2**13).astype(np.float32) / 2**13
        for name, value in drawn(model).items()
    }
    images = rounding.drawn(model, 70)
    labels = draw.integers(0, model.num_classes, 70)
    effect = rounding.effect(Config(model), given, images, labels if labelled else None)

    traces = []
    for tensors in (given, layouts.on_grid(model, given)):
        parts = [images[:50], images[50:]]
        steps = reference.Step(model, tensors)
        runs = [reference.trace(steps, reference.inputs(model, part), model.time_steps) for part in parts]
        traces.append(runs)
    before, after = traces
    changed = sum(
        int((x.spikes[node] != y.spikes[node]).sum()) for x, y in zip(before, after, strict=True) for node in x.spikes
    )
    classes = [np.concatenate([output(model, *run).sum(0).argmax(1).numpy() for run in runs]) for runs in traces]
    assert effect.images == 70 and effect.changed == changed > 0
    assert effect.spikes == 70 * model.time_steps * sum(node.size for node in model.graph.neurons)
    assert effect.predictions == (classes[0] != classes[1]).sum()
    expected = tuple(int((one == labels).sum()) for one in classes)
    assert effect.correct == (expected if labelled else None)
    assert str(effect).endswith(
        f"accuracy {expected[0] / 70:.2%} before, {expected[1] / 70:.2%} after" if labelled else "predictions"
    )


def test_weights_on_their_grids_change_nothing():
    effect = rounding.effect(Config(SMALL), drawn(SMALL), rounding.drawn(SMALL, 3))
    assert (effect.changed, effect.predictions) == (0, 0)


@pytest.mark.parametrize(("bits", "most"), [(None, 255), (4, 16), (0, 1)])
def test_random_images_are_mostly_dark_and_within_the_input_range(bits, most):
    images = rounding.drawn(replace(SMALL, input_bits=bits), 9)
    assert images.shape == (9, 28, 28, 1) and images.dtype == np.uint8 and images.max() == most
    assert 0.15 < (images > 0).mean() < 0.25


def test_layers_that_never_spike_are_named():
    quiet = {name: -abs(value) if name.startswith("fc") else value for name, value in drawn(SMALL).items()}
    effect = rounding.effect(Config(SMALL), quiet, rounding.drawn(SMALL, 3))
    assert effect.silent == tuple(node.name for node in SMALL.graph.weighted if not node.is_convolution)
    assert str(effect).endswith(f"predictions; no neuron of {', '.join(effect.silent)} spikes")
