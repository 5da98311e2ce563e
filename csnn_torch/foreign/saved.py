"""Reads the named tensors of a saved network without running any code from the file."""

import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from typing import Any, NamedTuple

import safetensors
import torch

from csnn_jax import reading
from csnn_jax.data.npz import Pieces
from csnn_jax.errors import UserError, first_line, one_line
from csnn_jax.runs import weights

_EXPECTED = "expected a state_dict written by torch.save"
_FOLDER = 0x10
"""The attribute of a folder in a zip archive."""
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_WHOLE = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


class Saved(NamedTuple):
    """The named tensors of a file.

    Attributes:
        tensors: tensors by name, in the order in which the modules were registered if the file has it.
        notes: how they were found, one line each.
        ordered: whether the file has that order.
    """

    tensors: dict[str, torch.Tensor]
    notes: tuple[str, ...] = ()
    ordered: bool = True


class _Ignored:
    """Anything in a checkpoint besides weights. Only its class name is read; its constructor is never called."""

    def __init__(self, *_: object):
        pass

    def __setstate__(self, state: object) -> None:
        pass


_HARMLESS: list[Any] = [
    (_Ignored, f"{module}.{name}")
    for module, names in {
        "argparse": ("Namespace",),
        "numpy": ("dtype", "ndarray"),
        "numpy._core.multiarray": ("scalar", "_reconstruct"),
        "numpy.core.multiarray": ("scalar", "_reconstruct"),  # NumPy 1
    }.items()
    for name in names
]


def read(path: str) -> Saved:
    """Reads a file written by `torch.save(network.state_dict(), path)`, or a checkpoint that contains a state_dict.

    Raises:
        UserError: the file is missing, truncated, or contains anything but named tensors.
    """
    if path.endswith(".safetensors"):
        return _of_safetensors(path)
    content = _unpickled(path)
    if not isinstance(content, dict) or not content:
        what = "an empty dict" if content == {} else f"a {_type(content)}"
        raise UserError(f"{path}: contains {what}, {_EXPECTED}")
    inside = [name for name, value in content.items() if _is_state(value)]
    if len(inside) > 1:
        names = " and ".join(one_line(str(one)) for one in inside)
        raise UserError(f"{path}: contains {len(inside)} state_dicts, {names}, expected one")
    if inside:
        return Saved(dict(content[inside[0]]), (f"using the file's {one_line(str(inside[0]))} as the state_dict",))
    for name, tensor in content.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            raise UserError(f"{path}: {one_line(str(name))} is of type {_type(tensor)}, {_EXPECTED}, with only tensors")
    return Saved({name: tensor for name, tensor in content.items() if name != "n_averaged"})  # AveragedModel's counter


def plain(state: Mapping[str, torch.Tensor], source: str) -> dict[str, torch.Tensor]:
    """Converts the tensors to dense tensors on the CPU without gradients.

    Raises:
        UserError: a tensor isn't a dense tensor of numbers; the message names it.
    """
    tensors = {}
    for name, tensor in state.items():
        if not name.isprintable() or len(name) > 300:
            raise UserError(f"{source}: a tensor is named {one_line(str(name))}, expected a name such as conv1.weight")
        kinds = {"quantized": tensor.is_quantized, "nested": tensor.is_nested, "without values": tensor.is_meta}
        kinds["sparse"] = not tensor.is_nested and tensor.layout != torch.strided
        for kind, applies in kinds.items():
            if applies:
                raise UserError(f"{source}: {name} is {kind}, expected a dense tensor of floats")
        if tensor.dtype not in (*_FLOATS, *_WHOLE):
            known = ", ".join(str(one).removeprefix("torch.") for one in _FLOATS)
            raise UserError(f"{source}: {name} has type {tensor.dtype}, expected one of {known}")
        if tensor.numel() * tensor.itemsize > tensor.untyped_storage().nbytes():
            raise UserError(f"{source}: {name} has shape {list(tensor.shape)}, expected as many values as are stored")
        tensors[name] = tensor.detach().cpu()
    return tensors


def _is_state(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and bool(value)
        and all(isinstance(name, str) and isinstance(one, torch.Tensor) for name, one in value.items())
    )


def _type(value: object) -> str:
    return "NumPy's or argparse's" if isinstance(value, _Ignored) else type(value).__name__


def _of_safetensors(path: str) -> Saved:
    """Tensors in the order of the numbers in their names, because these files don't keep the modules' order."""
    reading.check(path, "a state_dict")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            if weights.CONFIGS & (file.metadata() or {}).keys():
                raise UserError(f"{path}: contains the weights of a run, which need no conversion, {_EXPECTED}")
            tensors = {name: file.get_tensor(name) for name in sorted(file.keys(), key=_by_numbers)}
    except (OSError, safetensors.SafetensorError, RuntimeError, AttributeError, ValueError) as error:
        reason = one_line(first_line(error))
        raise UserError(f"{path}: can't be read, expected a safetensors file: {reason}") from None
    if not tensors:
        raise UserError(f"{path}: contains no tensors, expected a state_dict")
    note = "a safetensors file doesn't contain the order of the modules: using the numbers in their names"
    return Saved(tensors, (note,), ordered=False)


def _by_numbers(name: str) -> list[tuple[int, str]]:
    """A key that puts conv2 before conv10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]{1,9})", name)]


def _unpickled(path: str) -> Any:
    with reading.opened(path, "a state_dict written by torch.save") as file:
        try:
            if file.read(4) == b"PK\x03\x04":
                _check_stored(path)
            file.seek(0)
            with warnings.catch_warnings(action="ignore"), torch.serialization.safe_globals(_HARMLESS):
                return torch.load(file, map_location="cpu", weights_only=True)
        except UserError:
            raise
        except Exception as error:  # on a damaged file, the unpickler may raise anything
            raise UserError(_refusal(path, error)) from None


def _check_stored(path: str) -> None:
    """Checks an archive's checksums, which torch ignores.

    Raises:
        UserError: it unpacks to more than its own size, although torch.save compresses nothing.
        zipfile.BadZipFile: it's damaged.
    """
    with Pieces(reading.opened(path, "a state_dict")) as file, zipfile.ZipFile(file) as archive:
        members, size = archive.infolist(), os.fstat(file.fileno()).st_size
        if (unpacked := sum(member.file_size for member in members)) > size:
            raise UserError(f"{path}: unpacks to {unpacked:,} bytes, expected at most its own {size:,}")
        for member in members:
            if member.is_dir() or member.external_attr & _FOLDER:  # torch would return uninitialized memory
                raise zipfile.BadZipFile(f"{member.filename} is a folder")
            with archive.open(member) as stored:
                while member.CRC and stored.read(2**20):  # it's 0 after torch.serialization.set_crc32_options(False)
                    pass


def _refusal(path: str, error: Exception) -> str:
    """Why torch couldn't read a file."""
    if isinstance(error, pickle.UnpicklingError) and (named := re.search(r"GLOBAL (\S+)", str(error))):
        return (
            f"{path}: contains more than tensors (it refers to {one_line(named[1])}), {_EXPECTED}; if you trust the "
            "file, load it with torch.load(FILE, weights_only=False) and save only its state_dict"
        )
    if isinstance(error, (OSError, RuntimeError)):
        return f"{path}: can't be read, {_EXPECTED}: {one_line(first_line(error).partition('. ')[0])}"
    return f"{path}: empty, damaged or another kind of file, {_EXPECTED}"
