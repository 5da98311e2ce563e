"""`python -m csnn_jax.train`: trains the network; with no flags, the default job on MNIST."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from csnn_jax.command import run_command
from csnn_jax.config import Config
from csnn_jax.devices.flags import JaxFlags
from csnn_jax.flags import begun, parse_train

if TYPE_CHECKING:
    from csnn_jax.training.processes import Processes

DESCRIPTION = """Trains a convolutional spiking neural network with surrogate gradients in JAX.

Without flags: MNIST, conv32-pool-LIF, conv64-pool-LIF, fc512-LIF, fc10-LIF, 100 time steps, one epoch. Writes a run
directory with weights, metrics and plots, for csnn_jax.evaluate, csnn_jax.predict and export."""


def main(arguments: Sequence[str] | None = None) -> int:
    def command() -> int:
        flags = parse_train(JaxFlags, "csnn-train", DESCRIPTION, arguments, _begun)
        # After parsing: an invalid flag is an error before JAX is imported.
        from csnn_jax.training import job, seeds
        from csnn_jax.training.prepare import prepare
        from csnn_jax.update.trainer import Trainer

        make = partial(Trainer, devices=flags.devices)
        if flags.seeds is not None:
            return seeds.train(flags, make)
        with connected(flags) as processes:
            prepared = processes.each(lambda: prepare(flags, make))
            return job.train(prepared, processes)

    return run_command(command, arguments)


@contextmanager
def connected(flags: JaxFlags) -> "Iterator[Processes]":
    """Connects this process to the job's others. If it fails, it ends without waiting for them.

    Raises:
        UserError: the only process fails.
    """
    if not flags.several:
        from csnn_jax.training.processes import SingleProcess

        yield SingleProcess()
        return
    from csnn_jax.devices import cluster, mesh
    from csnn_jax.engine import process

    with cluster.leaving():
        cluster.connect(flags)
        process.set_up("float32")
        yield cluster.Cluster(mesh.chosen(1))


def _begun(flags: JaxFlags) -> Config:
    """The job to resume, which process 0 reads."""
    if not flags.several:
        return begun(flags)
    from csnn_jax.config.job import job_from_json, job_to_json

    with connected(flags) as processes:
        return processes.broadcast(
            lambda: begun(flags),
            lambda config: job_to_json(config).encode(),
            lambda read: job_from_json(read.decode(), "--resume"),
        )


if __name__ == "__main__":
    sys.exit(main())
