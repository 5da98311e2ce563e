"""The training state on disk, so that a killed run goes on exactly where it was. Any framework's: NumPy arrays by name.

A checkpoint is a folder `checkpoints/<iterations done>/` that is whole or not there. Of each of its files a SHA-256 is
kept, so that a flipped byte is noticed too.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from csnn_jax.errors import UserError
from csnn_jax.files import remove_folder, write_folder
from csnn_jax.runs import checkpoints
from csnn_jax.runs.checkpoints import STATE, WEIGHTS
from csnn_jax.runs.weights import digest

State = dict[str, np.ndarray]


def write(directory: Path, iteration: int, state: State, weights: bytes) -> None:
    """Writes a checkpoint.

    Args:
        directory: `checkpoints/` of a run; made if it is not there.
        iteration: how many were done.
        state: the training state.
        weights: the content of `weights.safetensors`.

    Raises:
        UserError: it can't be written (a full disk); the checkpoints before are as they were.
    """
    hashes = {"weights": hashlib.sha256(weights).hexdigest(), "state": digest(state)}
    # One entry: several would be written in any order.
    data = safetensors.numpy.save(state, {"checkpoint": json.dumps({"iteration": iteration} | hashes)})
    write_folder(directory / str(iteration), {WEIGHTS: weights, STATE: data})


def keep(directory: Path, newest: int, best: int | None) -> None:
    """Removes all checkpoints but the newest ones and the best.

    Args:
        directory: of the checkpoints.
        newest: how many of the newest.
        best: the one that is kept beside them; None: there is none.
    """
    there = checkpoints.numbers(directory)
    for number in there[:-newest]:
        if number != best:
            remove_folder(directory / str(number))


def drop_after(directory: Path, iteration: int) -> None:
    """Removes the checkpoints after an iteration, which a run that goes on from there will write again."""
    for number in checkpoints.numbers(directory):
        if number > iteration:
            remove_folder(directory / str(number))


def restore(directory: Path, like: State) -> tuple[int, State]:
    """Reads the newest checkpoint that is sound: (iterations done, state). Prints a line for each that is not.

    Args:
        directory: of the checkpoints.
        like: a state of the network, whose names, shapes and types are expected.

    Raises:
        UserError: there is none; names what is wrong with the newest.
    """
    problems: list[UserError] = []
    for number in reversed(checkpoints.numbers(directory)):
        try:
            state = _read(directory / str(number) / STATE, like)
        except UserError as error:
            problems.append(error)
            continue
        for problem in problems:
            print(f"Checkpoint: {problem}; the one of {number} iterations is taken", flush=True)
        return number, state
    raise problems[0] if problems else UserError(f"{directory}: expected a checkpoint in it, to go on from")


def exists(directory: Path) -> bool:
    """Whether there is a checkpoint, sound or not."""
    return bool(checkpoints.numbers(directory))


def _read(path: Path, like: State) -> State:
    """A state; raises UserError if it or the weights beside it are damaged, or if it is of another network."""
    about, damaged = checkpoints.about(path), f"{path}: expected the training state of a checkpoint, it is damaged"
    try:
        state = safetensors.numpy.load_file(path)
    except (OSError, ValueError, TypeError, safetensors.SafetensorError) as error:
        raise UserError(f"{damaged}: {error}") from None
    if about["state"] != digest(state) or str(about["iteration"]) != path.parent.name:
        raise UserError(f"{damaged}: its SHA-256 is another")
    checkpoints.check_weights(path.parent)
    problem = next(_differences(state, like), None)
    if problem is not None:
        raise UserError(f"{path}: expected the training state of this network: {problem}")
    return state


def _differences(state: State, like: State) -> Iterator[str]:
    if not state.keys() & like.keys():
        yield "it is of another framework; the command that began the run, csnn_jax.train or csnn_torch.train, goes on"
    for name in like:
        if name not in state:
            yield f"{name} is missing"
        elif (found := _form(state[name])) != (expected := _form(like[name])):
            yield f"{name} is {found}, expected {expected}"
    yield from (f"{name} is left over" for name in state if name not in like)


def _form(array: np.ndarray) -> str:
    return f"{array.dtype} {list(array.shape)}"
