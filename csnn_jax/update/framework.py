"""JAX as the framework of a job: its trainer on the devices that were asked for, and its processes."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager

from csnn_jax.config import Config
from csnn_jax.data import Split
from csnn_jax.devices import cluster, mesh
from csnn_jax.devices.flags import JaxFlags
from csnn_jax.devices.mesh import Devices
from csnn_jax.engine import process
from csnn_jax.errors import UserError
from csnn_jax.training.job import Framework
from csnn_jax.training.processes import Alone, Processes
from csnn_jax.update.trainer import Trainer


@contextmanager
def company(flags: JaxFlags) -> Iterator[Processes]:
    """The processes of a job, which this one meets. Where it fails, it ends without waiting for the others.

    Raises:
        UserError: the only process fails.
    """
    if not flags.several:
        yield Alone()
        return
    with cluster.leaving():
        address = cluster.Address(flags.coordinator, flags.num_processes, flags.process_id)
        cluster.connect(address, flags.connect_timeout)
        process.set_up("float32")
        yield cluster.Cluster(mesh.chosen(1))


def of(flags: JaxFlags, processes: Processes) -> Framework:
    """JAX as the framework of a job."""
    return Framework(functools.partial(_trainer, flags), processes)


def _trainer(flags: JaxFlags, config: Config, train: Split) -> Trainer:
    process.set_up(config.train.dtype)
    devices = mesh.chosen(flags.devices)
    _check_shares(devices, config.train.batch_size)
    return Trainer(config, train, devices=devices)


def _check_shares(devices: Devices, batch: int) -> None:
    if batch % devices.count:
        expected = f"expected a multiple of {devices.count}, the devices that share it"
        raise UserError(f"--batch-size {batch}: {expected}")
