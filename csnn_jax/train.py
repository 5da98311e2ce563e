"""`python -m csnn_jax.train`: trains the network; with no flags, the default job on MNIST."""

import sys
from collections.abc import Sequence

from csnn_jax.config import Config
from csnn_jax.devices.flags import JaxFlags
from csnn_jax.flags import begun, parse_train, run_command

DESCRIPTION = """Trains a convolutional spiking neural network with surrogate gradients in JAX.

Without flags: MNIST, conv32-pool-LIF, conv64-pool-LIF, fc512-LIF, fc10-LIF, 100 time steps, one epoch. Leaves a run
directory with weights, metrics and plots, for csnn_jax.evaluate, csnn_jax.predict and export."""


def main(arguments: Sequence[str] | None = None) -> int:
    def command() -> int:
        flags = parse_train(JaxFlags, "csnn-train", DESCRIPTION, arguments, _begun)
        # After the flags: a wrong one is refused without waiting for JAX.
        from csnn_jax.training import job, seeds
        from csnn_jax.update import framework

        with framework.company(flags) as processes:
            train = job.train if flags.seeds is None else seeds.train
            return train(flags, framework.of(flags, processes))

    return run_command(command, arguments)


def _begun(flags: JaxFlags) -> Config:
    """The job to go on with, which process 0 reads."""
    if not flags.several:
        return begun(flags)
    from csnn_jax.runs.config_json import job_from_json, job_to_json
    from csnn_jax.update import framework

    with framework.company(flags) as processes:
        return processes.of_first(
            lambda: begun(flags),
            lambda config: job_to_json(config).encode(),
            lambda read: job_from_json(read.decode(), "--resume"),
        )


if __name__ == "__main__":
    sys.exit(main())
