"""How a batch is spread over devices: its rows in order, an equal share each, the parameters on every one."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax import Array, lax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from csnn_jax.errors import UserError

AXIS = "batch"


class Devices:
    """Spreads batches over the devices of a job, which form a mesh of one axis.

    Args:
        devices: those of all processes, in the order of the processes, equally many of each.
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
        """The rows of a batch that this process has. They may end before its share does; see `put`."""
        each = -(-batch // self.count)
        return slice(min(batch, each * self._first), min(batch, each * (self._first + self._own)))

    def put(self, rows: np.ndarray, batch: int, axis: int = 0) -> Array:
        """A batch on all devices, of the rows that each process has.

        Args:
            rows: this process's, those of `rows(batch)`.
            batch: the rows of all; where devices don't divide it, zeros fill it up.
            axis: of the rows.
        """
        missing = -(-batch // self.count) * self._own - rows.shape[axis]
        if missing:
            rows = np.pad(rows, [(0, missing if number == axis else 0) for number in range(rows.ndim)])
        return jax.make_array_from_process_local_data(NamedSharding(self.mesh, _split(axis)), rows)

    def copy(self, tree: Any) -> Any:
        """Arrays that all processes have, on every device.

        Unlike `jax.device_put`, it does not wait for the other processes, of which one may have been refused.
        """
        everywhere = NamedSharding(self.mesh, P())

        def copied(array: Array | np.ndarray) -> Array:
            here = np.array(array)
            return jax.make_array_from_callback(here.shape, everywhere, lambda index: here[index])

        return jax.tree.map(copied, tree)

    def maximum(self, value: int) -> int:
        """The maximum of the values that the processes give, from 0 to 255."""
        values = np.full(self._own, value, np.uint8)
        return int(self._maximum(jax.make_array_from_process_local_data(NamedSharding(self.mesh, P(AXIS)), values)))

    def mean(self, tree: Any) -> Any:
        """Mean over all devices of each array, inside `spread`. Its gradient is right where it is averaged in turn."""
        return lax.pmean(tree, AXIS) if self.count > 1 else tree

    def gather(self, tree: Any) -> Any:
        """Rows of all devices [rows, ...], in order, inside `spread`."""
        return lax.all_gather(tree, AXIS, tiled=True) if self.count > 1 else tree

    def spread(self, function: Callable, together: Callable) -> Callable:
        """A function (parameters, x, ...) of a whole batch, from one of the rows of a device.

        Args:
            function: takes the parameters, x [rows, H, W, C] or [time, rows, H, W, C], and other arrays [rows, ...].
            together: makes of a device's results those of the whole batch: `mean` or `gather`.
        """
        if self.count == 1:
            return function  # mapped over one device, XLA compiles it otherwise, and float32 sums round otherwise

        def whole(params: Any, x: Array, *others: Array) -> Any:
            specs = (P(), _split(x.ndim - 4), *[P(AXIS)] * len(others))
            # Foreign calls declare nothing of how they vary, so nothing is checked, and sums are taken by hand.
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
    """Arrays that are on every device, on the first one of this process only."""
    return jax.tree.map(lambda array: array.addressable_data(0), tree)


def chosen(count: int | str) -> Devices:
    """The first devices of every process.

    Args:
        count: how many of each process, or "all".

    Raises:
        UserError: there are not so many.
    """
    here = jax.local_devices()
    if count != "all" and int(count) > len(here):
        kind = f"{len(here)} {here[0].platform} device" + ("s" if len(here) > 1 else "")
        raise UserError(f"--devices {count}: expected at most {len(here)}, because this machine has {kind}")
    devices: list[jax.Device] = []
    for process in range(jax.process_count()):
        theirs = [device for device in jax.devices() if device.process_index == process]
        devices += theirs if count == "all" else theirs[: int(count)]
    return Devices(devices)


def _split(axis: int) -> P:
    return P(*[None] * axis, AXIS)
