"""Spreads batches over devices: rows in order, in equal shares, with the parameters on every device."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import jax
import numpy as np
from jax import Array, lax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from csnn_jax.errors import UserError

AXIS = "batch"


class Devices:
    """Spreads batches over the devices of a job, which form a mesh with one axis.

    Args:
        devices: devices of all processes, in the order of the processes, the same number from each.
    """

    def __init__(self, devices: Sequence[jax.Device]):
        self.mesh = jax.make_mesh((len(devices),), (AXIS,), (jax.sharding.AxisType.Auto,), devices=devices)
        self.count = len(devices)
        self._first = [device.process_index for device in devices].index(jax.process_index())
        self._own = sum(device.process_index == jax.process_index() for device in devices)
        self.processes = self.count // self._own
        self._maximum = jax.jit(lambda values: values.max(), out_shardings=NamedSharding(self.mesh, P()))

    def describe(self) -> str:
        """Number and kind of the devices, for the log."""
        device = self.mesh.devices[0]
        kind = f" ({device.device_kind})" if device.device_kind != device.platform else ""
        number = f"{self.count} x " if self.count > 1 else ""
        processes = f" of {jax.process_count()} processes" if jax.process_count() > 1 else ""
        return f"{number}{device.platform}{kind}{processes}"

    def rows(self, batch: int) -> slice:
        """This process's rows of a batch. There may be fewer than its share; see `put`."""
        each = -(-batch // self.count)
        return slice(min(batch, each * self._first), min(batch, each * (self._first + self._own)))

    def put(self, rows: np.ndarray, batch: int, axis: int = 0) -> Array:
        """A batch on all devices, from each process's rows.

        Args:
            rows: this process's rows, as `rows(batch)` selects them.
            batch: total number of rows; padded with zeros if it isn't divisible by the number of devices.
            axis: axis of the rows.
        """
        missing = -(-batch // self.count) * self._own - rows.shape[axis]
        if missing:
            rows = np.pad(rows, [(0, missing if number == axis else 0) for number in range(rows.ndim)])
        return jax.make_array_from_process_local_data(NamedSharding(self.mesh, _split(axis)), rows)

    def copy(self, tree: Any) -> Any:
        """Copies arrays that all processes have to every device.

        Unlike `jax.device_put`, it doesn't wait for the other processes, one of which may have failed.
        """
        everywhere = NamedSharding(self.mesh, P())

        def copied(array: Array | np.ndarray) -> Array:
            here = np.array(array)
            return jax.make_array_from_callback(here.shape, everywhere, lambda index: here[index])

        return jax.tree.map(copied, tree)

    def maximum(self, value: int) -> int:
        """The maximum of all processes' values, from 0 to 255."""
        values = np.full(self._own, value, np.uint8)
        return int(self._maximum(jax.make_array_from_process_local_data(NamedSharding(self.mesh, P(AXIS)), values)))

    def mean(self, tree: Any) -> Any:
        """Mean of each array over all devices, inside `spread`. Its gradient is correct once it's averaged as well."""
        return lax.pmean(tree, AXIS) if self.count > 1 else tree

    def gather(self, tree: Any) -> Any:
        """Rows of all devices [rows, ...], in order, inside `spread`."""
        return lax.all_gather(tree, AXIS, tiled=True) if self.count > 1 else tree

    def spread(self, function: Callable, together: Callable) -> Callable:
        """Turns a function of one device's rows into a function (parameters, x, ...) of a whole batch.

        Args:
            function: takes the parameters, x [rows, H, W, C] or [time, rows, H, W, C], and other arrays [rows, ...].
            together: combines the devices' results into the whole batch's: `mean` or `gather`.
        """
        if self.count == 1:
            return function  # XLA compiles a mapped function differently, so float32 sums round differently

        def whole(params: Any, x: Array, *others: Array) -> Any:
            specs = (P(), _split(x.ndim - 4), *[P(AXIS)] * len(others))
            # Foreign calls don't declare how they vary, so checks are off and sums are explicit.
            each = jax.shard_map(
                lambda *arguments: together(function(*arguments)),
                mesh=self.mesh,
                in_specs=specs,
                out_specs=P(),
                check_vma=False,
            )
            return each(params, x, *others)

        return whole


def alone(tree: Any) -> Any:
    """This process's first copy of arrays that are on every device.

    Those of a single device remain as they are, because functions would be compiled again for another sharding.
    """
    return jax.tree.map(lambda array: array if array.sharding.num_devices == 1 else array.addressable_data(0), tree)


def chosen(count: int | str) -> Devices:
    """The first devices of every process, the same object for the same devices.

    Args:
        count: number of devices per process, or "all".

    Raises:
        UserError: there are fewer.
    """
    here = jax.local_devices()
    if count != "all" and int(count) > len(here):
        kind = f"{len(here)} {here[0].platform} device" + ("s" if len(here) > 1 else "")
        raise UserError(f"--devices {count}: expected at most {len(here)}, because this machine has {kind}")
    devices: list[jax.Device] = []
    for process in range(jax.process_count()):
        devices_of_process = [device for device in jax.devices() if device.process_index == process]
        devices += devices_of_process if count == "all" else devices_of_process[: int(count)]
    return _of(tuple(devices))


@lru_cache
def _of(devices: tuple[jax.Device, ...]) -> Devices:
    return Devices(devices)


def _split(axis: int) -> P:
    return P(*[None] * axis, AXIS)
