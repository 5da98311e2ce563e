"""Every cause is found where it's the one that differs."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from export_networks import FEW, Case, firing

from csnn_torch.first_difference.causes import CAUSES, Cause, of_other
from csnn_torch.first_difference.difference import Comparison, comparable, signals
from csnn_torch.first_difference.explain import Experiment, Finding
from csnn_torch.first_difference.simulation import Network, simulate

torch.set_num_threads(1)

NETWORKS = {
    "subtract, max": replace(FEW, beta=0.75, time_steps=6, hidden=(8,)),
    "zero, avg": replace(
        FEW, beta=0.75, time_steps=6, hidden=(8,), reset="zero", pool="avg", weight_bits=2, bias=False
    ),
    "rate, low threshold": replace(FEW, beta=0.95, threshold=0.3, time_steps=20, hidden=(8,), encoding="rate"),
}
ROUNDING = [cause for cause in CAUSES if cause.text.startswith("rounding")]


@cache
def case(name: str) -> Case:
    return firing(NETWORKS[name], batch=4)


def inputs(made: Case) -> torch.Tensor:
    return made.x if made.x.ndim == 5 else made.x.expand(made.config.time_steps, *made.x.shape)


def found_for(name: str, *causes: Cause, other: Network | None = None) -> list[Finding] | None:
    """What explains a network that was computed with these causes; None where they change no spike."""
    network = Network(case(name).config, case(name).tensors)
    x, changed = inputs(case(name)), network
    for cause in causes:
        changed = cause.change(changed)
    one, two = simulate(network, x), simulate(changed if other is None else other, x)
    comparison = Comparison(comparable(one, two, True))
    comparison.add(one, two)
    if comparison.place is None:
        return None
    experiment = Experiment(network, x, comparison.what, comparison.signals[1], comparison.place)
    assert experiment.reproduces(comparison.signals[0])
    assert not replace(experiment, network=changed).reproduces(comparison.signals[0]) or other is not None
    return experiment.findings(other)


@pytest.mark.parametrize("cause", [one for one in CAUSES if one not in ROUNDING], ids=lambda one: one.text)
def test_a_cause_explains_all_that_it_changes(cause):
    found = [one for one in (found_for(name, cause) for name in NETWORKS) if one is not None]
    assert found, "it changes no spike of any network"
    for findings in found:
        assert findings[0].left == 0
        assert any(one.causes == (cause,) and one.left == 0 and one.first for one in findings)


@pytest.mark.parametrize("cause", ROUNDING, ids=lambda one: one.text)
def test_rounding_changes_membranes_a_little(cause):
    config = replace(NETWORKS["subtract, max"], beta=0.7)  # whose product with a membrane rounds
    made = firing(config, batch=4)
    network = Network(config, made.tensors)
    own, other = (simulate(one, inputs(made)).membranes[0] for one in (network, cause.change(network)))
    assert 0 < abs(own.astype(np.float64) - other).max() < 1e-5


def test_two_causes_are_found_together():
    by_text = {cause.text: cause for cause in CAUSES}
    both = [by_text[text] for text in by_text if "r ignored" in text or text.startswith("a time step of 1 ms")]
    best = found_for("subtract, max", *both)[0]
    assert (set(best.causes), best.left, best.first) == (set(both), 0, True)


def test_what_nothing_explains_is_said_to_be_so():
    made = case("subtract, max")
    random = np.random.default_rng(5)
    tensors = {name: random.permuted(value) if "fc" in name else value for name, value in made.tensors.items()}
    other = Network(made.config, tensors)
    network = Network(made.config, made.tensors)
    one, two = simulate(network, inputs(made)), simulate(other, inputs(made))
    comparison = Comparison(comparable(one, two, True))
    comparison.add(one, two)
    experiment = Experiment(network, inputs(made), comparison.what, signals(comparison.what, two), comparison.place)
    assert all(finding.left for finding in experiment.findings(None))
    named = experiment.findings(other)[0]
    assert named.left == 0
    assert named.causes[0].text.startswith("other weights: fc1.weight (")


def test_the_other_networks_fields_are_causes():
    made = case("subtract, max")
    network = Network(made.config, made.tensors)
    assert of_other(network, network) == ()
    causes = of_other(network, replace(network, model=replace(made.config, beta=0.5, reset="none")))
    assert [cause.text for cause in causes] == ["beta 0.5 in place of 0.75", "reset none in place of subtract"]
    found = found_for("subtract, max", other=replace(network, model=replace(made.config, beta=0.5)))
    assert [cause.text for cause in found[0].causes] == ["beta 0.5 in place of 0.75"]
