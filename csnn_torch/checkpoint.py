"""The training state on disk, so that an interrupted run can go on exactly where it was (safetensors)."""

from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

from csnn_jax.errors import UserError
from csnn_jax.files import write_atomic

State = dict[str, Tensor]
_NAME = "state.safetensors"


def save(directory: Path, iteration: int, state: State) -> None:
    """Writes the state after `iteration` iterations in place of the one written before.

    Raises:
        UserError: it can't be written; the state written before is kept.
    """
    try:
        directory.mkdir(exist_ok=True)
    except OSError as error:
        raise UserError(f"{directory}: can't be made: {error.strerror}") from None
    data = safetensors.torch.save({k: v.contiguous() for k, v in state.items()}, {"iteration": str(iteration)})
    write_atomic(directory / _NAME, data)


def restore(directory: Path, like: State) -> tuple[int, State]:
    """Reads the latest state: (iterations done, state on the CPU), with the names, shapes and types of `like`.

    Raises:
        UserError: there is none (a run of csnn_jax keeps its state in another form), or it is damaged or another
            network's.
    """
    path = directory / _NAME
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            iteration = int((file.metadata() or {})["iteration"])
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file, expected the state of a run that csnn_torch.train made") from None
    except (OSError, KeyError, ValueError, safetensors.SafetensorError) as error:
        raise UserError(f"{path}: expected a checkpoint of this network: {error}") from None
    if _forms(state) != _forms(like):
        raise UserError(f"{path}: expected a checkpoint of this network: its tensors have other shapes or types")
    return iteration, state


def _forms(state: State) -> dict[str, tuple]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in state.items()}
