"""The training state on disk, so that an interrupted run can go on exactly where it was (orbax)."""

import logging
from pathlib import Path
from typing import TypeVar

import jax

from csnn_jax.errors import UserError, first_line

State = TypeVar("State")


def save(directory: Path, iteration: int, state: object) -> None:
    """Writes the state after `iteration` iterations; the state written before is removed once this one is whole.

    Where the state of that iteration is there already, it is kept.

    Raises:
        UserError: it can't be written (a full disk); the state written before is kept.
    """
    ocp = _orbax()
    try:
        policy = ocp.training.preservation_policies.LatestN(1)
        with ocp.training.Checkpointer(directory.absolute(), preservation_policy=policy) as checkpointer:
            if checkpointer.latest is None or checkpointer.latest.step != iteration:
                checkpointer.save(iteration, state)
    except (OSError, ValueError) as error:  # tensorstore reports a full disk as a ValueError
        raise UserError(f"{directory}: can't be written: {_reason(error)}") from None


def restore(directory: Path, like: State) -> tuple[int, State]:
    """Reads the latest state: (iterations done, state), with the structure, shapes and types of `like`.

    Raises:
        UserError: there is none, or it can't be read as such a state.
    """
    ocp = _orbax()
    try:
        if not directory.is_dir():
            raise FileNotFoundError("no such directory")
        with ocp.training.Checkpointer(directory.absolute()) as checkpointer:
            latest = checkpointer.latest
            if latest is None:
                raise FileNotFoundError("no checkpoint in it")
            if _arrays(checkpointer.metadata(latest.step).metadata) != _arrays(like):
                raise ValueError("it is damaged, or its arrays have other shapes or types")
            abstract = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=a.sharding), like)
            return latest.step, checkpointer.load(latest.step, abstract)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{directory}: expected a checkpoint of this network: {_reason(error)}") from None


def _arrays(state: object) -> list[tuple[str, str]]:
    """Shape and type of every array, in an order that does not depend on the containers."""
    return sorted((str(a.shape), str(a.dtype)) for a in jax.tree.leaves(state))


def _orbax():
    """Imported on first use: it takes a second."""
    from orbax.checkpoint import v1

    for name in ("absl", "asyncio"):  # they log tracebacks of errors that are raised as well
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return v1


def _reason(error: BaseException) -> str:
    while error.__cause__ is not None:  # orbax wraps what happened in a listing of its handlers
        error = error.__cause__
    return first_line(error)
