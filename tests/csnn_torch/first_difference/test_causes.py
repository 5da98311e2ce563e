"""Every cause is identified when it is the actual difference."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from experiments import NETWORKS, case, found_for, inputs
from export_networks import firing

from csnn_torch.first_difference.causes import CAUSES, of_other
from csnn_torch.first_difference.simulation import Network, simulate

torch.set_num_threads(1)

ROUNDING = [cause for cause in CAUSES if cause.text.startswith("rounding")]


@pytest.mark.parametrize("cause", [one for one in CAUSES if one not in ROUNDING], ids=lambda one: one.text)
def test_a_cause_explains_all_that_it_changes(cause):
    found = [one for one in (found_for(name, cause) for name in NETWORKS) if one is not None]
    assert found, "it doesn't change any spike of any network"
    for findings in found:
        assert findings[0].left == 0
        assert any(one.causes == (cause,) and one.left == 0 and one.first for one in findings)


@pytest.mark.parametrize("cause", ROUNDING, ids=lambda one: one.text)
def test_rounding_changes_membranes_a_little(cause):
    config = replace(NETWORKS["subtract, max"], beta=0.7)  # so products with a membrane are rounded
    made = firing(config, batch=4)
    network = Network(config, made.tensors)
    own, other = (simulate(one, inputs(made)).membranes["lif1"] for one in (network, cause.change(network)))
    assert 0 < abs(own.astype(np.float64) - other).max() < 1e-5


def test_the_other_networks_fields_are_causes():
    made = case("subtract, max")
    network = Network(made.config, made.tensors)
    assert of_other(network, network) == ()
    causes = of_other(network, replace(network, model=replace(made.config, beta=0.5, reset="none")))
    assert [cause.text for cause in causes] == ["beta 0.5 instead of 0.75", "reset none instead of subtract"]
    found = found_for("subtract, max", other=replace(network, model=replace(made.config, beta=0.5)))
    assert [cause.text for cause in found[0].causes] == ["beta 0.5 instead of 0.75"]
