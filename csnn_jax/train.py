"""`python -m csnn_jax.train`: trains the network; with no flags, the default job on MNIST."""

import sys
from collections.abc import Sequence

from csnn_jax.flags import TrainFlags, parse_train, run_command

DESCRIPTION = """Trains a convolutional spiking neural network with surrogate gradients in JAX.

Without flags: MNIST, conv32-pool-LIF, conv64-pool-LIF, fc512-LIF, fc10-LIF, 100 time steps, one epoch. Leaves a run
directory with weights, metrics and plots, for csnn_jax.evaluate, csnn_jax.predict and export."""


def main(arguments: Sequence[str] | None = None) -> int:
    def command() -> int:
        flags = parse_train(TrainFlags, "csnn-train", DESCRIPTION, arguments)
        # After the flags: a wrong one is refused without waiting for JAX.
        from csnn_jax.training import job, learner, seeds, tracer

        train = job.train if flags.seeds is None else seeds.train
        return train(flags, learner.Learner, tracer.Tracer())

    return run_command(command, arguments)


if __name__ == "__main__":
    sys.exit(main())
