"""Layers, pools and scales in any order give the spikes of NIR's definition, or an error that names the node."""

import nir_definition
import numpy as np
import pytest
import torch
from nir_files import affine, chained, conv, cuba, flatten, lif, pool, sixteenths, write

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
    for layer, expected in zip(ours, theirs, strict=True):
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
    ("nodes", "message"),
    [
        (
            (CONV, ("Delay", {"delay": 1.0})),
            "node 2, `1`: Delay isn't supported, expected Conv2d, Linear, Affine, Avg",
        ),
        ((CONV, lif(), pool(3)), "node 3, `2`: kernel_size is 3, expected a power of two"),
        ((CONV, lif(), pool(1)), "node 3, `2`: kernel_size is 1, expected a power of two"),
        ((CONV, lif(), pool(2, stride=1)), "node 3, `2`: stride is 1 and padding 0, expected stride 2 and padding 0"),
        ((CONV, lif(), pool(2, padding=np.ones(2, int))), "node 3, `2`: stride is 2 and padding 1, expected"),
        ((CONV, lif(), pool(np.array([2, 4]))), "node 3, `2`: kernel_size is 2 4, expected a whole number, the same"),
        ((CONV, lif(), pool(2), pool(2)), "node 4, `3`: SumPool2d is the second pool after `0`, expected one"),
        ((CONV, lif(), pool(16)), "node 3, `2`: its input has 8x8 pixels, fewer than a window of 16x16"),
        ((pool(2), CONV), "node 1, `0`: SumPool2d follows no convolution"),
        (
            (CONV, lif(), pool(2), SECOND, pool(2), lif(), flatten(), affine(sixteenths(4, 2, 12))),
            "node 5, `4`: pools before its neurons, but `2` pools after them, exp",
        ),
        ((lif(), CONV), "node 1, `0`: LIF follows no layer, expected a Conv2d, Linear or Affine before it"),
        ((CONV, lif(), lif()), "node 3, `2`: LIF follows no layer"),
        ((CONV, SECOND), "node 2, `1`: Conv2d follows `0`, expected neurons between them"),
        ((CONV, lif()), "node 1, `0`: is the last layer, expected a Linear or Affine after the convolutions"),
        ((CONV, lif(), DENSE), "node 3, `2`: gets 4x8x8, expected a Flatten before it"),
        ((CONV, lif(), flatten(), DENSE), r"node 4, `3`: weight has shape \[20, 48\], but its input has 256 values"),
        ((CONV, lif(), flatten(0, 1), DENSE), "node 3, `2`: start_dim is 0 and end_dim 1, expected all axes of 4x8x8"),
        ((SECOND,), r"node 1, `0`: weight has shape \[3, 4, 3, 3\], but its input is 2x8x8"),
        ((conv(sixteenths(0, 4, 2, 3, 3), groups=2),), "node 1, `0`: groups is 2, expected 1"),
        ((conv(sixteenths(0, 4, 2, 3, 3), dilation=np.array([2, 2])),), "node 1, `0`: dilation is 2, expected 1"),
        ((conv(sixteenths(0, 4, 2, 3, 3), stride=0),), "node 1, `0`: stride is 0, expected at least 1"),
        ((conv(sixteenths(0, 4, 2, 5, 5), padding=1),), "node 1, `0`: padding is 1, expected 2, half a kernel, or 0"),
        ((conv(sixteenths(0, 4, 2, 2, 2)),), "node 1, `0`: padding is 1, expected 0, because the kernel is even"),
        ((conv(sixteenths(0, 4, 2, 2, 2), padding="same"),), "node 1, `0`: padding is same, expected valid, or same"),
        ((conv(sixteenths(0, 4, 2, 3, 2)),), r"node 1, `0`: weight has shape \[4, 2, 3, 2\], expected a square kernel"),
        (
            (conv(sixteenths(0, 4, 2, 9, 9), padding=0),),
            "node 1, `0`: its input is 2x8x8, which leaves no output; expected la",
        ),
        ((conv(sixteenths(0, 4, 2, 3)),), r"node 1, `0`: weight has shape \[4, 2, 3\], expected 4 axes"),
        ((conv(sixteenths(0, 4, 2, 3, 3), bias=np.ones(5)),), r"node 1, `0`: bias has shape \[5\], expected \[4\]"),
        ((CONV, lif(), scale(4, 8, 8), pool(2)), r"node 4, `3`: the Scale before it goes from .* within channel 0"),
        ((CONV, scale(4, 8, 8)), "node 2, `1`: scale goes from -2 to 2 within channel 0, expected one value"),
        ((CONV, scale(3)), r"node 2, `1`: scale has shape \[3\], expected one value, or \[4, 8, 8\]"),
        ((CONV, lif(), THIRD, *LAST, scale()), "node 8, `7`: Scale is the last node, expected the neurons of the last"),
        ((CONV, ("LI", {"tau": 4.0, "r": 4.0, "v_leak": 0.0}), THIRD, *LAST), "node 2, `1`: LI doesn't spike, exp"),
        ((flatten(),), "has no Conv2d, Linear or Affine, expected a network"),
    ],
)
def test_unsupported_nodes_are_refused_by_name(tmp_path, nodes, message):
    path = write(tmp_path / "net.nir", chained((2, 8, 8), *nodes))
    with pytest.raises(UserError, match=f"^{path}: {message}") as caught:
        nir_network.read(path, dt=1.0)
    assert "\n" not in str(caught.value)
