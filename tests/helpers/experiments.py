"""Networks in which every known difference between programs changes some spikes, and how such changes are explained."""

from dataclasses import replace
from functools import cache

import torch
from export_networks import FEW, Case, firing

from csnn_jax.runs.equality import Comparison
from csnn_torch.first_difference.explain import Experiment, Finding, comparable
from csnn_torch.first_difference.simulation import Network, simulate
from csnn_torch.programs.cause import Cause

NETWORKS = {
    "subtract, max": replace(FEW, beta=0.75, time_steps=6, hidden=(8,)),
    "zero, avg": replace(
        FEW, beta=0.75, time_steps=6, hidden=(8,), reset="zero", pool="avg", weight_bits=2, bias=False
    ),
    "rate, low threshold": replace(FEW, beta=0.95, threshold=0.3, time_steps=20, hidden=(8,), encoding="rate"),
}


@cache
def case(name: str) -> Case:
    return firing(NETWORKS[name], batch=4)


def inputs(made: Case) -> torch.Tensor:
    return made.x if made.x.ndim == 5 else made.x.expand(made.config.time_steps, *made.x.shape)


def found_for(name: str, *causes: Cause, other: Network | None = None) -> list[Finding] | None:
    """What explains a network computed with these causes; None if they change no spike."""
    network = Network(case(name).config, case(name).tensors)
    x, changed = inputs(case(name)), network
    for cause in causes:
        changed = cause.change(changed)
    one, two = comparable(simulate(network, x), simulate(changed if other is None else other, x), True)
    comparison = Comparison()
    comparison.add(one, two)
    if comparison.first is None:
        return None
    experiment = Experiment(network, x, two, comparison.first.place)
    assert experiment.reproduces(one)
    assert not replace(experiment, network=changed).reproduces(one) or other is not None
    return experiment.findings(other)
