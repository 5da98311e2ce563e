"""Reports where two HDF5 files differ, and reads nothing that the expected one doesn't have."""

import h5py
import numpy as np
import pytest

from export.graphs import nir_graph


@pytest.fixture
def files(tmp_path):
    """Two files with the same objects, open for writing."""

    def make(name: str) -> h5py.File:
        file = h5py.File(tmp_path / name, "w")
        file["node/weight"] = np.arange(6, dtype=np.float32).reshape(2, 3)
        file["version"] = b"1.0"
        file["node"].attrs["kind"] = "linear"
        return file

    with make("a") as one, make("b") as two:
        yield one, two


def replace(file: h5py.File, name: str, value: object, **how: object) -> None:
    del file[name]
    file.create_dataset(name, data=value, **how)


def linked(name: str, link: object):
    return lambda file: (file.__delitem__(name), file.__setitem__(name, link))


def elsewhere(file: h5py.File) -> None:
    del file["node/weight"]
    file.create_dataset("node/weight", (2, 3), np.float32, external=[("/etc/passwd", 0, 24)])


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((2, 3), np.float32)
    layout[...] = h5py.VirtualSource("/etc/passwd", "x", (2, 3))
    del file["node/weight"]
    file.create_virtual_dataset("node/weight", layout)


def named_type(file: h5py.File) -> None:
    del file["version"]
    file["version"] = np.dtype("f4")


def reference(file: h5py.File) -> None:
    del file["version"]
    file.create_dataset("version", data=file["node"].ref, dtype=h5py.ref_dtype)


WEIGHT = np.arange(6, dtype=np.float32).reshape(2, 3)
FORM = "/node/weight has a different shape, type or storage"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda file: file.create_dataset("node/more", data=1), "/node/more is unexpected"),
        (lambda file: file.__delitem__("version"), "/version is missing"),
        (lambda file: replace(file, "node/weight", WEIGHT + 1), "/node/weight doesn't match what this version makes"),
        (lambda file: replace(file, "node/weight", WEIGHT.astype("f8")), FORM),
        (lambda file: replace(file, "node/weight", WEIGHT, chunks=(1, 3), compression="gzip"), FORM),
        (lambda file: file["node"].attrs.__setitem__("more", 1), "/node: attribute more is unexpected"),
        (lambda file: file["node"].attrs.__setitem__("kind", "conv"), "/node: attribute kind differs"),
        (linked("node/weight", h5py.ExternalLink("/etc/passwd", "/")), "/node/weight is a link, expected an object in"),
        (linked("version", h5py.SoftLink("/node")), "/version is a link, expected an object in the file itself"),
        (elsewhere, "/node/weight has its values in another file, expected them in the file itself"),
        (virtual, "/node/weight is a virtual data set, expected its values in the file itself"),
        (named_type, "/version is a named type, expected a group or a data set"),
        (reference, "/version has another type, expected numbers or text"),
    ],
)
def test_a_difference_is_one_line(files, change, said):
    assert [*nir_graph.differences(*files)] == []
    change(files[1])
    (line,) = nir_graph.differences(*files)
    assert line.startswith(said)
