"""Causes are combined if a single one isn't enough, and causes that explain nothing aren't named."""

import numpy as np
import torch
from experiments import case, found_for, inputs

from csnn_jax.runs.equality import Comparison
from csnn_torch.first_difference.causes import CAUSES
from csnn_torch.first_difference.explain import Experiment, Finding, comparable
from csnn_torch.first_difference.simulation import Network, simulate

torch.set_num_threads(1)


def test_two_causes_are_found_together():
    by_text = {cause.text: cause for cause in CAUSES}
    both = [by_text[text] for text in by_text if "r ignored" in text or text.startswith("a time step of 1 ms")]
    best = found_for("subtract, max", *both)[0]
    assert (set(best.causes), best.left, best.first) == (set(both), 0, True)


def test_an_unexplained_difference_is_reported_as_such():
    made = case("subtract, max")
    random = np.random.default_rng(5)
    tensors = {name: random.permuted(value) if "fc" in name else value for name, value in made.tensors.items()}
    other = Network(made.config, tensors)
    network = Network(made.config, made.tensors)
    one, two = comparable(simulate(network, inputs(made)), simulate(other, inputs(made)), True)
    comparison = Comparison()
    comparison.add(one, two)
    experiment = Experiment(network, inputs(made), two, comparison.first.place)
    assert all(finding.left for finding in experiment.findings(None))
    named = experiment.findings(other)[0]
    assert named.left == 0
    assert named.causes[0].text.startswith("other weights: fc1.weight (")


def test_a_combination_that_explains_no_more_than_a_part_of_it_adds_nothing():
    one, two = CAUSES[:2]
    both = Finding((one, two), 5, True)
    assert both.adds_nothing_to(Finding((two,), 5, True)) and both.adds_nothing_to(Finding((one,), 4, True))
    assert not both.adds_nothing_to(Finding((one,), 6, True)) and not both.adds_nothing_to(Finding((one,), 5, False))
    assert not Finding((one,), 5, True).adds_nothing_to(both) and not both.adds_nothing_to(both)
