"""Changes of the network used for experiments; tests/test_matrix.py compares it unchanged."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from export_networks import FEW, SYNAPTIC, Case, firing

from csnn_jax.window import Trace
from csnn_torch.first_difference.causes import resetting
from csnn_torch.first_difference.simulation import Network, simulate
from csnn_torch.programs.cause import Moment

torch.set_num_threads(1)


def recorded(case: Case, **changes) -> Trace:
    x = case.x if case.x.ndim == 5 else case.x.expand(case.config.time_steps, *case.x.shape)
    return simulate(Network(case.config, case.tensors, **changes), x)


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
    case = firing(config)
    own, found = recorded(case), recorded(case, step=partial(resetting, reset, now, Moment.step))
    assert all(np.array_equal(own.membranes[node], found.membranes[node]) for node in own.membranes)


def test_a_delay_moves_spikes():
    case = firing(replace(FEW, bias=False))
    own, late, between = (recorded(case, delays=delays) for delays in ((0, 0), (1, 0), (0, 1)))
    assert own.spikes.keys() == late.spikes.keys() == between.spikes.keys()
    for node, a in own.spikes.items():
        assert np.array_equal(a[:-1], late.spikes[node][1:]) and not late.spikes[node][0].any()
    for number, (a, b) in enumerate(zip(own.spikes.values(), between.spikes.values(), strict=True)):
        assert np.array_equal(a[: len(a) - number], b[number:]) and not b[:number].any()
