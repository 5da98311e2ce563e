"""`python -m csnn_torch.train`: trains the same network in snnTorch, with csnn_jax.train's flags and files."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from csnn_jax.command import run_command
from csnn_jax.flags import TrainFlags, parse_train
from csnn_jax.options import option
from csnn_jax.options.kinds import text
from csnn_torch import require_torch

DESCRIPTION = """Trains the same network as csnn_jax.train, in snnTorch.

It has the same flags, run directory, batches and initial weights; only --engine isn't supported. Without flags: the
default job on MNIST, which takes about an hour on two CPU cores."""


@dataclass(frozen=True)
class TorchFlags(TrainFlags):
    # fmt: off
    device: str = option("auto", text("cuda, cuda:N, mps, cpu or auto"), """
        Where to train: cuda, cuda:N, mps, cpu, or auto: the first of them that's available.""")
    # fmt: on


def main(arguments: Sequence[str] | None = None) -> int:
    def command() -> int:
        flags = parse_train(TorchFlags, "csnn-torch-train", DESCRIPTION, arguments)
        require_torch()
        os.environ["JAX_PLATFORMS"] = "cpu"  # JAX only draws initial weights; on a GPU it would take most of the memory
        from csnn_jax.training import job, seeds
        from csnn_jax.training.prepare import prepare
        from csnn_torch.trainer import Trainer

        make = partial(Trainer, device=flags.device)
        if flags.seeds is not None:
            return seeds.train(flags, make)
        return job.train(prepare(flags, make))

    return run_command(command, arguments)


if __name__ == "__main__":
    sys.exit(main())
