"""Makes a bundle's files from the weights, and compares them with a received bundle.

Received files are read as bytes and compared; they are never run or imported, and their links never followed. Bytes
must be equal, unless the bundle was made with other versions of the packages that write ONNX and NIR files: then values
are compared.
"""

from pathlib import Path
from typing import NamedTuple

from csnn_jax import reading
from csnn_jax.errors import UserError, first_line
from csnn_jax.files import write_atomic
from export import hashes, manifest, parts
from export.bundle import CONFIG, MANIFEST, PAGE, REPORT, Manifest
from export.hashes import SUMS
from export.network import Bundle, Inputs
from export.parts.part import Compare
from export.work import Work

NOT_PARTS = {CONFIG, MANIFEST, PAGE, REPORT, SUMS}
"""A bundle's files that no part writes."""


def make(bundle: Bundle, inputs: Inputs, work: Work) -> None:
    """Writes config.json and every part of the bundle into its folder."""
    write_atomic(bundle.folder / CONFIG, inputs.config_file)
    for part in parts.possible(bundle.network.model, bundle.network.tensors):
        with work.task(f"writing {next(iter(part.what))}"):
            part.write(bundle, inputs)


def names(folder: Path) -> set[str]:
    """The files in a folder that `make` filled."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


class Differences(NamedTuple):
    """How a received bundle's files differ from those made by `make`.

    Attributes:
        problems: (file, problem) for each difference.
        by_values: files with other bytes but the same values, which a bundle made with other versions may have. Their
            bytes could hide anything that isn't a value.
    """

    problems: list[tuple[str, str]]
    by_values: list[str]


def differences(bundle: Bundle, received: Path, recorded: Manifest) -> Differences:
    """Compares a received bundle's files with those made by `make`.

    If different bytes are accepted, they replace the ones made here, so the bundle's own file is run afterwards.

    Args:
        bundle: a bundle whose folder `make` has filled.
        received: the bundle to compare.
        recorded: its manifest.
    """
    found = Differences([], [])
    elsewhere = _other_versions(recorded)
    values = {name: part.same(bundle, received) for part in parts.every() if part.same for name in part.what}
    for name in sorted(names(bundle.folder)):
        try:
            content = reading.read(received / name, "a file of a bundle", hashes.MOST_BYTES, received)
        except UserError as error:
            found.problems.append((name, str(error).removeprefix(f"{received / name}: ")))
            continue
        if content == (bundle.folder / name).read_bytes():
            continue
        problems = ["doesn't match what this version makes from the weights"]
        if (compare := values.get(of(name))) is not None:
            problems = _differences(compare, name)
            if not problems and not elsewhere:
                problems = ["has the same values, but not the bytes that this version writes"]
        found.problems.extend((name, f"{problem}{elsewhere}") for problem in problems)
        if not problems:
            (bundle.folder / name).write_bytes(content)
            found.by_values.append(name)
    return found


def _differences(compare: Compare, name: str) -> list[str]:
    """How a file's values differ; a file that can't be read also differs."""
    try:
        return list(compare(name))
    except UserError as error:
        return [str(error)]
    except Exception as error:  # libraries can raise anything for a damaged file; report it in its line
        return [f"can't be read: {type(error).__name__}: {first_line(error)}"]


def of(name: str) -> str:
    """The name under which a file is checked and reported: its own or its folder's."""
    whats = {what for part in parts.every() for what in part.what} | NOT_PARTS
    if name in whats:
        return name
    return max((what for what in whats if what.endswith("/") and name.startswith(what)), key=len, default=name)


def _other_versions(recorded: Manifest) -> str:
    """A note for messages if the bundle was made with other versions of packages that write files; "" if not."""
    here, there = manifest.made(0)["versions"], recorded["made"]["versions"]
    writers = ("csnn-jax", "onnx", "nir", "h5py")
    other = [f"{name} {there.get(name)}" for name in writers if there.get(name) != here.get(name)]
    return f" (it was made with {', '.join(other)})" if other else ""
