"""Reads the file in which somebody saved a network: its named tensors, running none of its code."""

import pickle
import re
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import torch

from csnn_jax.errors import UserError, first_line

_EXPECTED = "expected a state_dict that torch.save wrote"


class Saved(NamedTuple):
    """The named tensors of a file.

    Attributes:
        tensors: by their names, in the order in which the modules were registered.
        notes: what was done to get them, one line each.
    """

    tensors: dict[str, torch.Tensor]
    notes: tuple[str, ...] = ()


def read(path: str) -> Saved:
    """Reads a file that `torch.save(network.state_dict(), path)` made, or one that holds a state_dict among others.

    Raises:
        UserError: no such file, truncated, or it holds something else than named tensors.
    """
    if path.endswith(".safetensors"):
        raise UserError(
            f"{path}: the weights of a run need no conversion, and any other safetensors file has lost the order of "
            f"the modules, {_EXPECTED}"
        )
    found = _unpickled(path)
    if not isinstance(found, dict) or not found:
        what = "an empty dict" if found == {} else f"a {type(found).__name__}"
        raise UserError(f"{path}: holds {what}, {_EXPECTED}")
    inside = [str(name) for name, value in found.items() if _is_state(value)]
    if len(inside) > 1:
        raise UserError(f"{path}: holds {len(inside)} state_dicts, {' and '.join(inside)}, expected one")
    if inside:
        return Saved(dict(found[inside[0]]), (f"the state_dict is the file's {inside[0]}",))
    for name, tensor in found.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            raise UserError(f"{path}: {name} is of type {type(tensor).__name__}, {_EXPECTED}, of tensors only")
    return Saved({name: tensor for name, tensor in found.items() if name != "n_averaged"})  # AveragedModel's counter


def _is_state(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and all(isinstance(one, torch.Tensor) for one in value.values())


def _unpickled(path: str) -> Any:
    try:
        with open(path, "rb") as file:
            if file.read(8) == b"\x89HDF\r\n\x1a\n":
                kind = "a NIR graph" if path.endswith(".nir") else "an HDF5 file, such as a NIR graph"
                raise UserError(f"{path}: is {kind}, which is not read here, {_EXPECTED}")
        with warnings.catch_warnings(action="ignore"):  # of what is refused below
            return torch.load(Path(path), map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file, {_EXPECTED}") from None
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        reason = f" (it names {named[1]})" if named else ""
        raise UserError(
            f"{path}: holds more than tensors, or is damaged{reason}, {_EXPECTED}; if you trust the file, save the "
            "state_dict that torch.load(FILE, weights_only=False) holds on its own"
        ) from None
    except (OSError, RuntimeError) as error:
        reason = first_line(error).partition(". ")[0]
        raise UserError(f"{path}: can't be read, {_EXPECTED}: {reason}") from None
    except (EOFError, ValueError, KeyError, IndexError, TypeError, AttributeError):  # of the unpickler, on other files
        raise UserError(f"{path}: empty, truncated or another kind of file, {_EXPECTED}") from None
