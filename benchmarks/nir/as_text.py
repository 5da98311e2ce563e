"""Converts the output of the `write_<program>.py` scripts to text for tests.

    python benchmarks/nir/as_text.py FOLDER tests/csnn_torch/foreign/nir

Each NAME.nir becomes NAME.json, with every value in the file as its program wrote it and, for each run of it, NAME.npz
or NAME-*.npz, each layer's number of spikes and their SHA-256, packed into bits. images.json has the input.
"""

import json
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import h5py
import numpy as np

UNIT = 2.0**-10
"""Weights are whole multiples of this."""


def main() -> None:
    source, out = map(Path, sys.argv[1:])
    out.mkdir(parents=True, exist_ok=True)
    names = sorted(path.stem for path in source.glob("*.nir"))
    for name in names:
        longer = {other for other in names if other.startswith(f"{name}-")}
        runs = [path for path in sorted(source.glob(f"{name}*.npz")) if path.stem not in longer]
        runs = [path for path in runs if not path.stem.startswith(tuple(f"{other}-" for other in longer))]
        contents = {"values": values(source / f"{name}.nir"), "spikes": {path.stem: spikes(path) for path in runs}}
        (out / f"{name}.json").write_text(json.dumps(contents) + "\n")
    images = {json.dumps((np.load(source / f"{name}.npz")["x"].ravel() * 256).astype(int).tolist()) for name in names}
    (given,) = images  # all got the same
    (out / "images.json").write_text(given + "\n")


def values(path: Path) -> dict[str, Any]:
    """Every dataset in an HDF5 file by its path: text, or type, shape and numbers (one if all are equal)."""
    datasets: dict[str, Any] = {}

    def keep(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if not isinstance(item, h5py.Dataset):
            return
        array = np.asarray(item.asstr()[()] if h5py.check_string_dtype(item.dtype) else item[()])
        if array.dtype.kind in "OU":
            datasets[name] = array.tolist()
        elif (array == array.flat[0]).all():
            datasets[name] = [array.dtype.str, array.shape, array.flat[0].item()]
        else:
            whole = (array / UNIT).astype(int) if array.dtype.kind == "f" else array
            assert np.array_equal(whole * UNIT if array.dtype.kind == "f" else whole, array), name
            datasets[name] = [array.dtype.str, array.shape, whole.ravel().tolist()]

    with h5py.File(path) as file:
        file.visititems(keep)
    return datasets


def spikes(path: Path) -> list[tuple[int, str]]:
    """The number of spikes of every layer, and their digest."""
    given = np.load(path)
    return [digest(given[f"spikes{number}"]) for number in range(1, len(given.files))]


def digest(spikes: np.ndarray) -> tuple[int, str]:
    """The number of spikes, and their SHA-256 as bits."""
    return int(spikes.sum()), sha256(np.packbits(spikes.astype(bool)).tobytes()).hexdigest()


if __name__ == "__main__":
    main()
