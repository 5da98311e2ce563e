import jax
import numpy as np
import pytest
from refusals import refusing

from csnn_jax.devices import mesh
from csnn_jax.devices.mesh import Devices
from csnn_jax.errors import UserError


@pytest.mark.parametrize("count", [1, 3, 4])
@pytest.mark.parametrize("axis", [0, 1])
def test_rows_are_spread_over_the_devices_in_order(count, axis):
    devices = Devices(jax.devices()[:count])
    rows = np.arange(24, dtype=np.int32).reshape(4, 6).swapaxes(0, 1 - axis)
    batch = rows.shape[axis]
    array = devices.put(rows, batch, axis)
    whole = np.asarray(array)
    np.testing.assert_array_equal(whole.take(range(batch), axis), rows)
    assert whole.shape[axis] == -(-batch // count) * count
    assert not whole.take(range(batch, whole.shape[axis]), axis).any()
    shares = sorted(array.addressable_shards, key=lambda shard: shard.index[axis].start or 0)
    assert [shard.device for shard in shares] == jax.devices()[:count]
    assert devices.rows(batch) == slice(0, batch)


def test_results_of_all_rows_are_gathered_and_averaged():
    devices = Devices(jax.devices()[:4])
    x = np.arange(8, dtype=np.float32).reshape(8, 1, 1, 1)
    double = devices.spread(lambda factor, x: factor * x[:, 0, 0, 0], devices.gather)
    np.testing.assert_array_equal(jax.jit(double)(np.float32(2), devices.put(x, 8)), 2 * np.arange(8))
    average = devices.spread(lambda factor, x: (factor * x).mean(), devices.mean)
    assert float(jax.jit(average)(np.float32(2), devices.put(x, 8))) == 7


def test_the_requested_number_of_devices():
    assert mesh.chosen(1).count == 1 and mesh.chosen("all").count == len(jax.devices()) == 4
    assert mesh.chosen(3).describe() == "3 x cpu" and mesh.chosen(1).describe() == "cpu"
    with refusing(UserError, "devices 5", 4):
        mesh.chosen(5)


def test_copies_are_on_every_device_and_one_is_on_the_first():
    devices = Devices(jax.devices()[:4])
    copied = devices.copy({"a": np.arange(3)})["a"]
    assert len(copied.addressable_shards) == 4 and copied.is_fully_replicated
    single = mesh.alone({"a": copied})["a"]
    assert single.devices() == {jax.devices()[0]}
    np.testing.assert_array_equal(single, np.arange(3))
