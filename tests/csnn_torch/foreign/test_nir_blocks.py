"""Layers, pools and scales in any order give the spikes of NIR's definition, or an error that names the node."""

import nir_definition
import numpy as np
import pytest
import torch
from nir_files import affine, chained, conv, cuba, flatten, lif, pool, sixteenths, write
from refusals import refusing

from csnn_jax.errors import UserError
from csnn_jax.runs import layouts
from csnn_torch.foreign import nir_network
from export import reference

pytestmark = pytest.mark.numeric

STEPS = 6
CONV, SECOND = conv(sixteenths(0, 4, 2, 3, 3), bias=sixteenths(1, 4)), conv(sixteenths(2, 3, 4, 3, 3))
THIRD = conv(sixteenths(3, 3, 4, 2, 2), padding=0, stride=np.array([2, 2]))
LAST = lif(), flatten(), affine(sixteenths(4, 20, 48), sixteenths(5, 20)), lif()


def scale(*shape: int) -> tuple[str, dict]:
    """Powers of two of both signs."""
    draw = np.random.default_rng(8)
    return "Scale", {"scale": (2.0 ** draw.integers(-2, 2, shape) * draw.choice([-1, 1], shape)).astype(np.float32)}


def wide(*channels: float) -> np.ndarray:
    return np.broadcast_to(np.array(channels)[:, None, None], (len(channels), 8, 8)).copy()


NETWORKS = {
    "pools after": (CONV, lif(), pool(2), SECOND, lif(), flatten(), affine(sixteenths(4, 20, 48)), lif()),
    "pools before": (CONV, pool(2, "AvgPool2d"), lif(), SECOND, lif(), flatten(), affine(sixteenths(4, 20, 48)), lif()),
    "sums before": (CONV, pool(2), lif(v_threshold=4.0), SECOND, *LAST),
    "windows of 4 and 2": (
        *(CONV, lif(), pool(4), conv(sixteenths(2, 3, 4, 3, 3)), lif(), pool(2, "AvgPool2d")),
        *(flatten(), affine(sixteenths(4, 20, 3)), lif()),
    ),
    "strides, no padding": (CONV, lif(), THIRD, *LAST),
    "padding in words": (
        *(conv(sixteenths(0, 4, 2, 3, 3), padding="same"), lif()),
        *(conv(sixteenths(3, 3, 4, 2, 2), padding="valid", stride=2), *LAST),
    ),
    "a kernel of 1": (CONV, lif(), conv(sixteenths(3, 3, 4, 1, 1), stride=2), *LAST),
    "flattened before the neurons": (
        *(CONV, lif(), THIRD, flatten(-3), lif(v_threshold=np.ones(48)), affine(sixteenths(4, 20, 48)), lif()),
    ),
    "flattened with a batch": (CONV, lif(), THIRD, lif(), flatten(1, 3), affine(sixteenths(4, 20, 48)), lif()),
    "Linear": (CONV, lif(), THIRD, lif(), flatten(), ("Linear", {"weight": sixteenths(4, 20, 48)}), lif()),
    "scaled everywhere": (
        *(
            scale(2, 1, 1),
            CONV,
            scale(4, 1, 1),
            pool(2),
            scale(),
            lif(v_threshold=2.0**-6),
            scale(4, 1, 1),
            SECOND,
            scale(1),
            lif(),
        ),
        *(scale(3, 4, 4), flatten(), scale(48), affine(sixteenths(4, 20, 48)), scale(20), lif()),
    ),
    "scaled around a pool": (
        *(CONV, lif(), ("Scale", {"scale": wide(0.5, -2, 1, 4)}), pool(2), scale(4, 1, 1), SECOND, lif(), flatten()),
        *(affine(sixteenths(4, 20, 48)), lif()),
    ),
    "synaptic": (CONV, cuba(), pool(2), SECOND, lif(), flatten(), affine(sixteenths(4, 20, 48)), cuba()),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_spikes_match_the_definition(tmp_path, name):
    path = write(tmp_path / "net.nir", chained((2, 8, 8), *NETWORKS[name]))
    found = nir_network.read(path, dt=1.0, scale=1.0, time_steps=STEPS)
    tensors = layouts.on_grid(found.config, found.tensors)
    for key, tensor in tensors.items():
        np.testing.assert_array_equal(tensor, found.tensors[key])  # nothing was rounded
    x = torch.randint(0, 3, (5, 2, 8, 8), generator=torch.Generator().manual_seed(0)).float()
    ours = reference.trace(reference.Step(found.config, tensors), x, STEPS).spikes
    theirs = nir_definition.run(NETWORKS[name], x, STEPS, 1.0)
    for layer, expected in zip(ours.values(), theirs, strict=True):
        assert 0.02 < expected.mean() < 0.98
        np.testing.assert_array_equal(layer.numpy().reshape(expected.shape), expected)


def test_the_geometry_is_read(tmp_path):
    def read(name):
        return nir_network.read(write(tmp_path / "net.nir", chained((2, 8, 8), *NETWORKS[name])), dt=1.0).config

    after, before, windows, strides = map(
        read, ("pools after", "sums before", "windows of 4 and 2", "strides, no padding")
    )
    assert after.pool_after and after.pool == ("sum", "none") and after.input_shape == (8, 8, 2)
    assert not before.pool_after and before.pool == ("sum", "none")
    assert windows.pool == ("sum", "avg") and windows.pool_size == (4, 2)
    assert strides.padding == ("same", "valid") and strides.stride == (1, 2) and strides.kernel_size == (3, 2)
    assert (strides.conv_channels, strides.hidden, strides.num_classes, strides.pool) == ((4, 3), (), 20, "none")


DENSE = affine(sixteenths(4, 20, 48))


@pytest.mark.parametrize(
    ("nodes", "facts"),
    [
        ((CONV, ("Delay", {"delay": 1.0})), (2, "`1`", "Conv2d")),
        ((CONV, lif(), pool(3)), (3, "`2`", "kernel_size")),
        ((CONV, lif(), pool(1)), (3, "`2`", "kernel_size", 1)),
        ((CONV, lif(), pool(2, stride=1)), (3, "`2`", 1, 0, 2)),
        ((CONV, lif(), pool(2, padding=np.ones(2, int))), (3, "`2`", 2, 1)),
        ((CONV, lif(), pool(np.array([2, 4]))), (3, "`2`", "kernel_size", 2, 4)),
        ((CONV, lif(), pool(2), pool(2)), (4, "`3`", "SumPool2d", "`0`")),
        ((CONV, lif(), pool(16)), (3, "`2`", "8x8", "16x16")),
        ((pool(2), CONV), (1, "`0`", "SumPool2d")),
        ((CONV, lif(), pool(2), SECOND, pool(2), lif(), flatten(), affine(sixteenths(4, 2, 12))), (5, "`4`", "`2`")),
        ((lif(), CONV), (1, "`0`", "LIF", "Conv2d")),
        ((CONV, lif(), lif()), (3, "`2`", "LIF")),
        ((CONV, SECOND), (2, "`1`", "Conv2d", "`0`")),
        ((CONV, lif()), (1, "`0`", "last layer")),
        ((CONV, lif(), DENSE), (3, "`2`", "4x8x8")),
        ((CONV, lif(), flatten(), DENSE), (4, "`3`", "[20, 48]", 256)),
        ((CONV, lif(), flatten(0, 1), DENSE), (3, "`2`", "start_dim", 0, "end_dim", 1, "4x8x8")),
        ((SECOND,), (1, "`0`", "[3, 4, 3, 3]", "2x8x8")),
        ((conv(sixteenths(0, 4, 2, 3, 3), groups=2),), (1, "`0`", 2)),
        ((conv(sixteenths(0, 4, 2, 3, 3), dilation=np.array([2, 2])),), (1, "`0`", 2)),
        ((conv(sixteenths(0, 4, 2, 3, 3), stride=0),), (1, "`0`", 0)),
        ((conv(sixteenths(0, 4, 2, 5, 5), padding=1),), (1, "`0`", 2, 0)),
        ((conv(sixteenths(0, 4, 2, 2, 2)),), (1, "`0`", 0, "even")),
        ((conv(sixteenths(0, 4, 2, 2, 2), padding="same"),), (1, "`0`", "same")),
        ((conv(sixteenths(0, 4, 2, 3, 2)),), (1, "`0`", "[4, 2, 3, 2]")),
        ((conv(sixteenths(0, 4, 2, 9, 9), padding=0),), (1, "`0`", "2x8x8")),
        ((conv(sixteenths(0, 4, 2, 3)),), (1, "`0`", "[4, 2, 3]", 4)),
        ((conv(sixteenths(0, 4, 2, 3, 3), bias=np.ones(5)),), (1, "`0`", "[5]", "[4]")),
        ((CONV, lif(), scale(4, 8, 8), pool(2)), (4, "`3`", 0)),
        ((CONV, scale(4, 8, 8)), (2, "`1`", -2, 0)),
        ((CONV, scale(3)), (2, "`1`", "[3]", "[4, 8, 8]")),
        ((CONV, lif(), THIRD, *LAST, scale()), (8, "`7`")),
        ((CONV, ("LI", {"tau": 4.0, "r": 4.0, "v_leak": 0.0}), THIRD, *LAST), (2, "`1`", "LI")),
        ((flatten(),), ("Conv2d",)),
    ],
)
def test_unsupported_nodes_are_refused_by_name(tmp_path, nodes, facts):
    path = write(tmp_path / "net.nir", chained((2, 8, 8), *nodes))
    with refusing(UserError, path, *facts):
        nir_network.read(path, dt=1.0)
