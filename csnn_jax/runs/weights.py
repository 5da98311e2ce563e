"""`weights.safetensors`: torch's names and layouts, which either framework loads without the other.

It contains weights rounded to their grids (`layouts.on_grid`). The file of a checkpoint contains master weights, which
are rounded on loading. Imports no framework.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from csnn_jax import reading
from csnn_jax.config.network import ModelConfig
from csnn_jax.errors import UserError
from csnn_jax.files import write_atomic
from csnn_jax.options import from_json, to_json
from csnn_jax.runs.layouts import Tensors, expected_shapes, on_grid, out_of_range

CONFIG, CONFIG_OF_MASTERS = "config", "config of masters"
CONFIGS = {CONFIG, CONFIG_OF_MASTERS}
"""The metadata's only entry, which distinguishes master weights from rounded weights. (Several entries would be written
in any order.)"""


def save(path: str | Path, tensors: Tensors, config: ModelConfig) -> None:
    """Writes the file, with the model's configuration as JSON in its metadata.

    Args:
        path: path of the file.
        tensors: weights on their grids.
        config: the network that they belong to.

    Raises:
        UserError: the file can't be written; an existing file is kept.
    """
    write_atomic(Path(path), to_bytes(tensors, config))


def to_bytes(tensors: Tensors, config: ModelConfig, masters: bool = False) -> bytes:
    """The bytes of the file, for weights on their grids or for `masters`."""
    return safetensors.numpy.save(tensors, {CONFIG_OF_MASTERS if masters else CONFIG: to_json(config)})


def load(path: str | Path) -> tuple[ModelConfig, Tensors]:
    """Loads and checks the file: (the model's configuration, its tensors in torch's layout, on their grids).

    Names, types and shapes in its header are checked before any tensor is read.

    Raises:
        UserError: the file is missing, truncated or not safetensors, or a tensor is missing, unexpected, of the wrong
            shape or type, not finite, out of range, or off its grid. The message names the file and the tensor.
    """
    reading.check(path, "weights.safetensors of a run")
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            masters = CONFIG_OF_MASTERS in metadata
            if not masters and CONFIG not in metadata:
                raise UserError(f"{path}: its metadata has no `config`, expected the model's configuration as JSON")
            config = from_json(ModelConfig, metadata[CONFIG_OF_MASTERS if masters else CONFIG], f"{path} (metadata)")
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            for name, tensor in slices.items():
                if (kind := tensor.get_dtype()) not in ("F32", "F64"):  # NumPy lacks some of them
                    raise UserError(f"{path}: {name} has type {kind}, expected F32 or F64")
            check_shapes({name: tuple(tensor.get_shape()) for name, tensor in slices.items()}, config, str(path))
            tensors: Tensors = {name: file.get_tensor(name) for name in slices}
    except (OSError, safetensors.SafetensorError) as error:
        raise UserError(f"{path}: expected a safetensors file: {error}") from None
    check(tensors, config, str(path))
    rounded = on_grid(config, tensors)
    if masters:
        return config, rounded
    if off := next((name for name, value in tensors.items() if not np.array_equal(value, rounded[name])), None):
        raise UserError(f"{path}: {off} isn't on its grid, expected rounded weights, as from csnn_jax.save")
    return config, tensors


def check(tensors: Tensors, config: ModelConfig, source: str) -> None:
    """Checks that tensors match a network, are finite, and are in the ranges for which it's exact (docs/design.md).

    Raises:
        UserError: they don't; the message has `source` and the tensor's name.
    """
    check_shapes({name: value.shape for name, value in tensors.items()}, config, source)
    for name, value in tensors.items():
        if not np.isfinite(value).all():
            raise UserError(f"{source}: {name} has values that aren't finite")
        if name.endswith(".exponents") and not np.array_equal(value, np.rint(value)):
            raise UserError(f"{source}: {name} has fractions, expected whole numbers, which optimizers must not change")
        if (reason := out_of_range(config, name, value)) is not None:
            raise UserError(f"{source}: {name} {reason}")


def check_shapes(shapes: Mapping[str, tuple[int, ...]], config: ModelConfig, source: str) -> None:
    """Raises UserError, with `source` and the tensor's name, unless these are the shapes of a network's tensors."""
    expected = expected_shapes(config)
    for name, shape in expected.items():
        if name not in shapes:
            raise UserError(f"{source}: {name} is missing, expected shape {list(shape)}")
        if shapes[name] != shape:
            raise UserError(f"{source}: {name} has shape {list(shapes[name])}, expected {list(shape)}")
    for name in shapes:
        if name not in expected:
            raise UserError(f"{source}: {name} is not a tensor of this network, expected {', '.join(expected)}")
