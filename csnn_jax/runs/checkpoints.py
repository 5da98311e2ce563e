"""The checkpoints of a run, `checkpoints/<iterations done>/`, from which a killed run resumes exactly.

They work for any framework: the state is NumPy arrays by name. A checkpoint is complete or doesn't exist, and has a
SHA-256 of each file, so even a flipped byte is detected. The weights can be read without the state.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from csnn_jax import reading
from csnn_jax.errors import UserError
from csnn_jax.files import remove_folder, write_folder
from csnn_jax.runs.layouts import digest

WEIGHTS, STATE = "weights.safetensors", "state.safetensors"
"""A checkpoint's files: the parameters, and the training state for `--resume`."""

State = dict[str, np.ndarray]


def numbers(directory: Path) -> list[int]:
    """The iterations after which a checkpoint was written, in order."""
    paths = directory.iterdir() if directory.is_dir() else ()
    return sorted(int(path.name) for path in paths if path.name.isdecimal() and path.is_dir())


def best(among: Iterable[int], scores: Mapping[int, float]) -> int | None:
    """The checkpoint with the highest score, the earliest in case of a tie; None if none has a score."""
    scored = [number for number in among if number in scores]
    return max(scored, key=lambda number: (scores[number], -number), default=None)


def choose(directory: Path, name: str | int, scores: Mapping[int, float] | None) -> int:
    """The checkpoint that `--checkpoint NAME` selects.

    Args:
        directory: `checkpoints/` of a run.
        name: best, last, or a number of iterations.
        scores: accuracy on the held-out images by checkpoint; None: the run has no held-out images.

    Raises:
        UserError: there is no such checkpoint; the message lists the existing ones.
    """
    available = [number for number in numbers(directory) if (directory / str(number) / WEIGHTS).is_file()]
    listed = ", ".join(map(str, available)) or "none"
    refusal = f"--checkpoint {name}: expected best, last or one of the checkpoints in {directory}: {listed}"
    if name == "best" and scores is None:
        raise UserError(
            f"--checkpoint best: {directory.parent} was trained without --validation, and test images must not "
            f"select a checkpoint; expected last or one of those in {directory}: {listed}"
        )
    if name == "best":
        number = best(available, scores or {})
    else:
        number = available[-1] if name == "last" and available else int(name) if str(name).isdecimal() else None
    if number not in available or number is None:
        raise UserError(refusal)
    return number


def about(path: Path) -> dict[str, Any]:
    """The metadata of a checkpoint's `state.safetensors`, without the state itself.

    Raises:
        UserError: the file doesn't exist or is damaged; the message names it.
    """
    reading.check(path, "the training state of a checkpoint")
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            facts = json.loads((file.metadata() or {})["checkpoint"])
            return {name: facts[name] for name in ("iteration", "weights", "state")}
    except (OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
        raise UserError(f"{path}: expected the training state of a checkpoint, but it's damaged: {error}") from None


def check_weights(folder: Path) -> None:
    """Raises UserError, naming the file, if a checkpoint's weights have changed since they were written."""
    path, expected = folder / WEIGHTS, about(folder / STATE)["weights"]
    with reading.opened(path, "the weights of a checkpoint") as file:
        digest_of_file = hashlib.file_digest(file, "sha256").hexdigest()
    if digest_of_file != expected:
        raise UserError(f"{path}: expected the weights of a checkpoint, but it's damaged: its SHA-256 doesn't match")


def check_chosen(directory: Path, number: int) -> None:
    """`check_weights` for one of several checkpoints; its UserError lists the intact ones."""
    try:
        check_weights(directory / str(number))
    except UserError as error:
        listed = ", ".join(str(other) for other in numbers(directory) if _is_sound(directory / str(other)))
        raise UserError(f"{error}; intact ones in {directory}: {listed or 'none'}") from None


def _is_sound(folder: Path) -> bool:
    try:
        check_weights(folder)
    except UserError:
        return False
    return True


def write(directory: Path, iteration: int, state: State, weights: bytes) -> None:
    """Writes a checkpoint.

    Args:
        directory: `checkpoints/` of a run; created if needed.
        iteration: number of iterations done.
        state: the training state.
        weights: the contents of `weights.safetensors`.

    Raises:
        UserError: it can't be written (a full disk); earlier checkpoints are unchanged.
    """
    hashes = {"weights": hashlib.sha256(weights).hexdigest(), "state": digest(state)}
    # A single entry, because several would be written in any order.
    data = safetensors.numpy.save(state, {"checkpoint": json.dumps({"iteration": iteration} | hashes)})
    write_folder(directory / str(iteration), {WEIGHTS: weights, STATE: data})


def keep(directory: Path, newest: int, best: int | None) -> None:
    """Removes all checkpoints except the newest and the best.

    Args:
        directory: `checkpoints/` of a run.
        newest: how many of the newest to keep.
        best: the best checkpoint, also kept; None: there is none.
    """
    existing = numbers(directory)
    for number in existing[:-newest]:
        if number != best:
            remove_folder(directory / str(number))


def drop_after(directory: Path, iteration: int) -> None:
    """Removes the checkpoints after an iteration, which a run resumed from there writes again."""
    for number in numbers(directory):
        if number > iteration:
            remove_folder(directory / str(number))


def restore(directory: Path, like: State) -> tuple[int, State]:
    """Reads the newest intact checkpoint: (iterations done, state). Prints a line for each damaged one.

    Args:
        directory: `checkpoints/` of a run.
        like: a state with the expected names, shapes and types.

    Raises:
        UserError: there is none; the message says what is wrong with the newest.
    """
    problems: list[UserError] = []
    for number in reversed(numbers(directory)):
        try:
            state = _read(directory / str(number) / STATE, like)
        except UserError as error:
            problems.append(error)
            continue
        for problem in problems:
            print(f"Checkpoint: {problem}; using the one after {number} iterations", flush=True)
        return number, state
    if not problems:
        raise UserError(f"{directory}: expected a checkpoint to continue from")
    older = len(problems) - 1
    raise UserError(f"{problems[0]}; so is each of the {older} older ones") if older else problems[0]


def _read(path: Path, like: State) -> State:
    """Reads a state; raises UserError if it or the checkpoint's weights are damaged, or if it's another network's."""
    facts, damaged = about(path), f"{path}: expected the training state of a checkpoint, but it's damaged"
    try:
        state = safetensors.numpy.load_file(path)
    except (OSError, ValueError, TypeError, safetensors.SafetensorError) as error:
        raise UserError(f"{damaged}: {error}") from None
    if facts["state"] != digest(state) or str(facts["iteration"]) != path.parent.name:
        raise UserError(f"{damaged}: its SHA-256 doesn't match")
    check_weights(path.parent)
    problem = next(_differences(state, like), None)
    if problem is not None:
        raise UserError(f"{path}: expected the training state of this network: {problem}")
    return state


def _differences(state: State, like: State) -> Iterator[str]:
    if not state.keys() & like.keys():
        yield "it's from another framework; resume with the command that started it, csnn_jax.train or csnn_torch.train"
    for name in like:
        if name not in state:
            yield f"{name} is missing"
        elif (form := _form(state[name])) != (expected := _form(like[name])):
            yield f"{name} is {form}, expected {expected}"
    yield from (f"{name} is unexpected" for name in state if name not in like)


def _form(array: np.ndarray) -> str:
    return f"{array.dtype} {list(array.shape)}"
