"""A state_dict with unsupported modules is refused, and the message names them."""

import pytest
import snntorch as snn
from foreign_networks import LAYERS, ONE, TWO, built
from refusals import refusing
from torch import nn

from csnn_jax.errors import UserError
from csnn_torch.state_dict import convert


@pytest.mark.parametrize(
    ("state", "facts"),
    [
        (
            built(LAYERS[1], ("lif1", snn.RLeaky(beta=0.5, linear_features=10))),
            ("lif1.recurrent.weight", "snntorch.RLeaky"),
        ),
        (built(LAYERS[1], ("lif1", snn.Lapicque(beta=0.5))), ("lif1.C", "snntorch.Leaky")),
        (built(LAYERS[0], ONE, ("bn1", nn.BatchNorm2d(3)), LAYERS[1], TWO), ("bn1", "lif1", "BatchNorm", "bn1=conv1")),
        (built(*LAYERS, ("gn", nn.GroupNorm(1, 3)), ONE, TWO), ("gn", "GroupNorm")),
    ],
)
def test_networks_with_unsupported_modules_are_refused_by_name(state, facts):
    with refusing(UserError, *facts, "net.pt"):
        convert(state, "net.pt")
