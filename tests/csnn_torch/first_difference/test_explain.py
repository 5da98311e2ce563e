"""Every cause is found when it's the actual difference, several together if needed, and none that explains nothing."""

from dataclasses import replace
from functools import cache, partial

import numpy as np
import pytest
import torch
from export_networks import FEW, SYNAPTIC, Case, firing

from csnn_jax.config import ModelConfig
from csnn_jax.config.nodes import NodeConfig
from csnn_jax.errors import UserError
from csnn_jax.neurons import NEURONS
from csnn_jax.runs.equality import Comparison
from csnn_jax.window import Trace
from csnn_torch.first_difference.causes import CAUSES, of_other, resetting
from csnn_torch.first_difference.explain import Experiment, Finding, comparable, compare
from csnn_torch.first_difference.images import Inputs
from csnn_torch.first_difference.sides import Side
from csnn_torch.first_difference.simulation import Network, simulate
from csnn_torch.library import Torch
from csnn_torch.programs.cause import Cause, Moment

torch.set_num_threads(1)

_NEURONS = {"beta": 0.75, "threshold": 0.8}
RECURRENT = [
    *(NodeConfig("flat", "flatten", "image"), NodeConfig("fc1", "linear", "flat", channels=8)),
    NodeConfig("rec", "linear", "lif1@1", channels=8),
    *(NodeConfig("lif1", "leaky", ("fc1", "rec"), **_NEURONS), NodeConfig("fc2", "linear", "lif1", channels=3)),
    NodeConfig("lif2", "leaky", "fc2", **_NEURONS),
]
DELAYED = [
    NodeConfig("conv1", "convolution", "image", channels=3, kernel=3, padding=1),
    NodeConfig("pool1", "max_pool", "conv1"),
    *(NodeConfig("lif1", "leaky", "pool1", **_NEURONS), NodeConfig("flat", "flatten", ["lif1", "lif1@2"])),
    *(NodeConfig("fc1", "linear", "flat", channels=8), NodeConfig("fc2", "linear", "flat@3", channels=8)),
    *(NodeConfig("lif2", "leaky", ["fc1", "fc2"], **_NEURONS), NodeConfig("fc3", "linear", "lif2", channels=3)),
    NodeConfig("lif3", "leaky", "fc3", **_NEURONS),
]
SMALL = replace(FEW, beta=0.75, time_steps=6, hidden=(8,))
MODELS = {
    "subtract, max": SMALL,
    "zero, avg": replace(SMALL, reset="zero", pool="avg", weight_bits=2, bias=False),
    "recurrent, with biases": ModelConfig(input_shape=(6, 6, 1), network=RECURRENT, time_steps=8),
    "residual, with a delay": ModelConfig(input_shape=(6, 6, 1), network=DELAYED, time_steps=8),
    "rate, low threshold": replace(SMALL, beta=0.95, threshold=0.3, time_steps=20, encoding="rate"),
}
"""Networks in which every known difference between programs changes some spikes."""
ROUNDING = [cause for cause in CAUSES if cause.text.startswith("rounding")]
BY_TEXT = {cause.text: cause for cause in CAUSES}


@cache
def case(name: str) -> tuple[Network, torch.Tensor]:
    return made(firing(MODELS[name], batch=4))


def made(example: Case, **changes) -> tuple[Network, torch.Tensor]:
    """A network, and its inputs at every step."""
    x = example.x if example.x.ndim == 5 else example.x.expand(example.config.time_steps, *example.x.shape)
    return Network(example.config, example.tensors, **changes), x


def experiment(network: Network, x: torch.Tensor, other: Network) -> Experiment | None:
    """What is to be explained: the spikes of another network; None if they're the same."""
    one, two = comparable(simulate(network, x), simulate(other, x), True)
    comparison = Comparison()
    comparison.add(one, two)
    if comparison.first is None:
        return None
    trial = Experiment(network, x, two, comparison.first.place)
    assert trial.reproduces(one)
    return trial


def explained(name: str, *causes: Cause) -> list[Finding] | None:
    """What explains a network computed with these causes; None if they change no spike."""
    network, x = case(name)
    changed = network
    for cause in causes:
        try:
            changed = cause.change(changed)
        except UserError:  # it doesn't apply
            return None
    trial = experiment(network, x, changed)
    if trial is None:
        return None
    shown, _ = comparable(simulate(network, x), simulate(changed, x), True)
    assert not replace(trial, network=changed).reproduces(shown)
    return trial.findings(None)


@pytest.mark.parametrize("cause", [one for one in CAUSES if one not in ROUNDING], ids=lambda one: one.text)
def test_a_cause_explains_all_that_it_changes(cause):
    each = [findings for findings in (explained(name, cause) for name in MODELS) if findings is not None]
    assert each, "it doesn't change any spike of any network"
    for findings in each:
        assert findings[0].left == 0
        assert any(one.causes == (cause,) and one.left == 0 and one.first for one in findings)


@pytest.mark.parametrize("cause", ROUNDING, ids=lambda one: one.text)
def test_rounding_changes_membranes_a_little(cause):
    network, x = made(firing(replace(SMALL, beta=0.7), batch=4))  # so products with a membrane are rounded
    before, after = (simulate(one, x).membranes["lif1"] for one in (network, cause.change(network)))
    assert 0 < abs(before.astype(np.float64) - after).max() < 1e-5


def of_text(start: str) -> Cause:
    (cause,) = (one for one in CAUSES if one.text.startswith(start))
    return cause


STEPS = {
    "reset: subtracts the threshold in the step": (0.625, -2.75),
    "reset: subtracts the threshold one step later": (0.5, -2.75),
    "reset: to zero in the step": (0.25, -2.75),
    "reset: to zero one step later": (0.0, -2.75),
    "reset: none": (1.0, -2.75),
    "leak after the input": (0.5625, -2.8125),
    "input multiplied by 1 - beta": (0.3125, -2.9375),
    "input of neurons not multiplied": (2500.25, 2497.0),
    "rounding: beta U + I in one": (0.5, -2.75),
    "rounding: Euler's form": (0.5, -2.75),
    "membranes no lower": (0.5, -0.5),
}
"""Membranes calculated by hand for a beta of 0.75, an input of 0.25 and a threshold of 0.5, after 1 and -4."""
FIELDS = {
    "input divided by 255": ("gain", 256 / 255),
    "input divided by 256": ("gain", 255 / 256),
    "input not divided by its scale": ("gain", 256),
    "one step of delay from each layer": ("delays", (0, 1, 0)),
    "one step of delay before each layer": ("delays", (1, 1, 0)),
}
DECAYS = {
    "a time step of 1 ms": (0.5, -8),
    "decay exponential": (np.exp(-0.05), np.exp(-0.9)),
    "decay by Euler's method": (1 + np.log(0.95), 0),
    "membrane decays to 0": (0, 0),
}
"""What decays of 0.95 and 0.1 become."""


def test_causes_compute_what_their_texts_say():
    network, _ = case("subtract, max")
    values = {"beta": torch.tensor(0.75), "threshold": torch.tensor(0.5)}
    membrane = torch.tensor([1.0, -4.0])
    at = Moment(NEURONS["leaky"], Torch(), values, {"mem": membrane}, (torch.tensor(0.25),), "subtract")
    for text, expected in STEPS.items():
        assert of_text(text).change(network).step(at)["mem"].tolist() == pytest.approx(expected), text
    for text, (name, value) in FIELDS.items():
        assert getattr(of_text(text).change(network), name) == pytest.approx(value), text
    for text, expected in DECAYS.items():
        decays = of_text(text).change(network).decays
        assert [decays(0.95), decays(0.1)] == pytest.approx(expected), text
    fires = [of_text(text).change(network).fires for text in ("several spikes", "spikes at the threshold")]
    membranes, threshold = torch.tensor([1.3, 0.5, -1.3]), torch.tensor(0.5)
    assert [each(membranes, threshold).tolist() for each in fires] == [[2, 1, 0], [1, 1, 0]]


def test_another_order_of_flattened_features_is_that_of_its_text():
    network, _ = case("subtract, max")
    shape = network.model.graph.unflattened(network.model.graph["fc1"])
    height, width, channels = shape
    x, weight = np.random.default_rng(0).random((channels, height, width)), network.tensors["fc1.weight"]
    changed = of_text("flattened in the order H, W, C").change(network).tensors["fc1.weight"]
    np.testing.assert_allclose(changed @ x.ravel(), weight @ x.transpose(1, 2, 0).ravel(), rtol=1e-6)
    other = replace(network, tensors=network.tensors | {"fc1.weight": changed})
    back = of_text("flattened in the order C, H, W").change(other).tensors["fc1.weight"]
    np.testing.assert_array_equal(back, weight)


def test_a_difference_among_later_images_is_located():
    """The images are run 16 at a time."""
    network, x = case("subtract, max")
    x = x[:, [0] * 20]
    y = x.clone()
    y[2:, 17] = 0
    result = compare((Side("a", "", network), Side("b", "", network)), Inputs("", (x, y)))
    place = result.comparison.first.place
    assert place.image == 17 and place.step == 2
    for one, membranes in zip((x, y), result.membranes, strict=True):
        values = simulate(network, one).membranes[place.node][:, 17, *place.neuron]
        assert membranes == (values[1], values[2])


def test_the_other_networks_fields_are_causes():
    network, x = case("subtract, max")
    assert of_other(network, network) == ()
    causes = of_other(network, replace(network, model=replace(network.model, beta=0.5, reset="none")))
    assert [cause.text for cause in causes] == ["beta 0.5 instead of 0.75", "reset none instead of subtract"]
    other = replace(network, model=replace(network.model, beta=0.5))
    (cause,) = experiment(network, x, other).findings(other)[0].causes
    assert cause.text == "beta 0.5 instead of 0.75"


def test_two_causes_are_found_together():
    both = [BY_TEXT[text] for text in BY_TEXT if "r ignored" in text or text.startswith("a time step of 1 ms")]
    best = explained("subtract, max", *both)[0]
    assert (set(best.causes), best.left, best.first) == (set(both), 0, True)


def test_an_unexplained_difference_is_reported_as_such():
    network, x = case("subtract, max")
    random = np.random.default_rng(5)
    tensors = {name: random.permuted(value) if "fc" in name else value for name, value in network.tensors.items()}
    other = replace(network, tensors=tensors)
    trial = experiment(network, x, other)
    assert all(finding.left for finding in trial.findings(None))
    (unchanged,) = trial._tried([()], [trial.place.image])
    assert not unchanged.first
    best = trial.findings(other)[0]
    assert best.left == 0 and best.causes[0].text.startswith("other weights: fc1.weight (")


def test_a_combination_that_explains_no_more_than_a_part_of_it_adds_nothing():
    one, two = CAUSES[:2]
    both = Finding((one, two), 5, True)
    assert both.adds_nothing_to(Finding((two,), 5, True)) and both.adds_nothing_to(Finding((one,), 4, True))
    assert not both.adds_nothing_to(Finding((one,), 6, True)) and not both.adds_nothing_to(Finding((one,), 5, False))
    assert not Finding((one,), 5, True).adds_nothing_to(both) and not both.adds_nothing_to(both)


def traced(case: Case, **changes) -> Trace:
    return simulate(*made(case, **changes))


@pytest.mark.parametrize(
    ("config", "reset", "now"),
    [
        (FEW, "subtract", False),
        (replace(FEW, reset="zero"), "zero", True),
        (replace(SYNAPTIC, reset="zero"), "zero", False),
        (replace(SYNAPTIC, reset="clear"), "zero", True),
        (replace(FEW, reset="none"), "none", True),
    ],
    ids=str,
)
def test_the_networks_own_reset_changes_nothing(config, reset, now):
    """tests/test_matrix.py compares an unchanged network."""
    fires = firing(config)
    before, after = traced(fires), traced(fires, step=partial(resetting, reset, now, Moment.step))
    assert all(np.array_equal(before.membranes[node], after.membranes[node]) for node in before.membranes)


def test_a_delay_moves_spikes():
    fires = firing(replace(FEW, bias=False))
    now, late, between = (traced(fires, delays=delays).spikes for delays in ((0, 0, 0), (1, 0, 0), (0, 1, 0)))
    assert now.keys() == late.keys() == between.keys()
    for number, (node, spikes) in enumerate(now.items()):
        assert np.array_equal(spikes[:-1], late[node][1:]) and not late[node][0].any()
        assert np.array_equal(spikes[: len(spikes) - number], between[node][number:])
        assert not between[node][:number].any()
