"""Which checkpoints a run has, by name: `checkpoints/<iterations done>/`. Whoever reads their weights needs no more."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import safetensors

from csnn_jax.errors import UserError

WEIGHTS, STATE = "weights.safetensors", "state.safetensors"
"""What a checkpoint's folder holds: the parameters for everybody, the training state for `--resume`."""


def numbers(directory: Path) -> list[int]:
    """The iterations after which a checkpoint was written, in order."""
    found = directory.iterdir() if directory.is_dir() else ()
    return sorted(int(path.name) for path in found if path.name.isdecimal() and path.is_dir())


def best(among: Iterable[int], scores: Mapping[int, float]) -> int | None:
    """The checkpoint with the highest score, the first of them on ties; None: none has one."""
    scored = [number for number in among if number in scores]
    return max(scored, key=lambda number: (scores[number], -number), default=None)


def choose(directory: Path, name: str | int, scores: Mapping[int, float] | None) -> int:
    """The checkpoint that `--checkpoint NAME` means: best, last, or the iterations done.

    Args:
        directory: `checkpoints/` of a run.
        name: as given.
        scores: accuracy on the held-out images by checkpoint; None: the run holds none out.

    Raises:
        UserError: there is no such checkpoint; lists those that there are.
    """
    there = [number for number in numbers(directory) if (directory / str(number) / WEIGHTS).is_file()]
    listed = ", ".join(map(str, there)) or "none"
    refusal = f"--checkpoint {name}: expected best, last or one of those in {directory}: {listed}"
    if name == "best" and scores is None:
        raise UserError(
            f"--checkpoint best: {directory.parent} was trained without --validation, and test images must not "
            f"choose; expected last or one of those in {directory}: {listed}"
        )
    if name == "best":
        found = best(there, scores or {})
    else:
        found = there[-1] if name == "last" and there else int(name) if str(name).isdecimal() else None
    if found not in there or found is None:
        raise UserError(refusal)
    return found


def about(path: Path) -> dict[str, Any]:
    """The metadata of a checkpoint's `state.safetensors`, without the state itself.

    Raises:
        UserError: no such file, or it is damaged; names it.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            found = json.loads((file.metadata() or {})["checkpoint"])
            return {name: found[name] for name in ("iteration", "weights", "state")}
    except FileNotFoundError:
        raise UserError(f"{path}: no such file, expected the training state of a checkpoint") from None
    except (OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
        raise UserError(f"{path}: expected the training state of a checkpoint, it is damaged: {error}") from None


def check_weights(folder: Path) -> None:
    """Raises UserError, naming the file, unless a checkpoint's weights are those that it was written with."""
    path, expected = folder / WEIGHTS, about(folder / STATE)["weights"]
    try:
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: expected the weights of a checkpoint: {error.strerror}") from None
    if found != expected:
        raise UserError(f"{path}: expected the weights of a checkpoint, it is damaged: its SHA-256 is another")


def check_chosen(directory: Path, number: int) -> None:
    """`check_weights` of one of several checkpoints; its UserError lists those that are sound."""
    try:
        check_weights(directory / str(number))
    except UserError as error:
        listed = ", ".join(str(other) for other in numbers(directory) if _is_sound(directory / str(other)))
        raise UserError(f"{error}; sound ones in {directory}: {listed or 'none'}") from None


def _is_sound(folder: Path) -> bool:
    try:
        check_weights(folder)
    except UserError:
        return False
    return True
