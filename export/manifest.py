"""manifest.json has three parts: what only the maker can say, the hashes of the files, and the results.

`export.verify` checks the form of the statements (`proof.statements`), compares the hashes with the files, and computes
the results again: they follow from the bundle's other files and this version, and must be equal as a whole.
"""

import hashlib
import json
import math
import os
import platform
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from csnn_jax import machine, reading
from csnn_jax.data import Split, as_bytes
from csnn_jax.errors import UserError
from csnn_jax.files import write_atomic
from csnn_jax.runs import layouts, rundir
from export import hashes
from export.bundle import CONFIG, MANIFEST, WEIGHTS, Manifest
from export.hashes import SUMS
from export.proof import Figures, statements
from export.proof.statements import joined, short

SCHEMA_VERSION = 3
MOST_BYTES, MOST_CONFIG = 2**24, 2**20
"""Size limits for manifest.json and config.json, in bytes."""
OF_IMAGES = {
    *("accuracy", "accuracy_images", "images", "spikes", "membranes", "predictions", "counts", "density"),
    *("synaptic_operations", "synaptic_operations_first_layer_once", "ActivationSparsity"),
    *("Effective_MACs", "Effective_ACs", "synapses_nj"),
}
"""Figures that depend on which images were used, or on how many."""


def write(folder: Path, manifest: Manifest) -> None:
    """Writes manifest.json and SHA256SUMS."""
    write_atomic(folder / MANIFEST, _bytes(manifest))
    write_atomic(folder / SUMS, _sums(_listed(folder, manifest)))


def _bytes(manifest: Manifest) -> bytes:
    return (json.dumps(manifest, indent=2) + "\n").encode()


def _listed(folder: Path, manifest: Manifest) -> dict[str, Any]:
    """The hashes of all of a bundle's files except SHA256SUMS."""
    content = reading.read(folder / MANIFEST, "a manifest", MOST_BYTES, folder)
    return manifest["hashes"] | {MANIFEST: {"sha256": hashlib.sha256(content).hexdigest()}}


def _sums(listed: dict[str, Any]) -> bytes:
    """The contents of SHA256SUMS, in the format of `sha256sum -c`."""
    return "".join(f"{entry['sha256']}  {name}\n" for name, entry in sorted(listed.items())).encode()


def read(folder: Path) -> Manifest:
    """Reads manifest.json and checks its format: written as by `write`.

    Raises:
        UserError: it's too large, isn't JSON, has a different schema version, isn't written as by `write` (with
            duplicate keys, for example), or has entries in a form that `export` doesn't write.
    """
    path = folder / MANIFEST
    content = reading.read(path, "a bundle's manifest", MOST_BYTES, folder)
    try:
        manifest = json.loads(content)
        written = _bytes(manifest) == content
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: expected JSON: {error}") from None
    version = manifest.get("schema_version") if isinstance(manifest, dict) else None
    if type(version) is not int or version != SCHEMA_VERSION:
        raise UserError(f"{path}: schema_version {short(version)}, expected {SCHEMA_VERSION}")
    for problem in statements.problems(manifest):
        raise UserError(f"{path}: {problem}")
    if not written:
        raise UserError(f"{path}: isn't in the form that `export` writes: duplicate keys or different whitespace")
    return dict(manifest)


def hash_files(folder: Path) -> Figures:
    """SHA-256 and size of every file in a bundle except manifest.json and SHA256SUMS, by its relative name."""
    return {name: entry for name, entry in hashes.hash_files(folder).items() if name not in (MANIFEST, SUMS)}


def file_problems(folder: Path, manifest: Manifest) -> dict[str, str]:
    """Problems with the bundle's files, by name: changed, missing, not listed, or not a plain file.

    Args:
        folder: the bundle.
        manifest: the manifest from `read`.

    Raises:
        UserError: config.json can't be read, or weights.safetensors is too large for this network.
    """
    most = min(hashes.MOST_BYTES, _most_bytes(folder))
    sizes = {path: path.stat().st_size for path in hashes.entries(folder) if not path.is_symlink()}
    if large := {path.relative_to(folder).as_posix(): size for path, size in sizes.items() if size > most}:
        wrong = {name: f"has {size:,} bytes, expected at most {most:,}" for name, size in large.items()}
        return hashes.irregular(folder) | wrong
    listed = _listed(folder, manifest)
    problems = hashes.problems(listed, folder, MANIFEST)
    try:
        if reading.read(folder / SUMS, "a list of hashes", hashes.MOST_SUMS, folder) != _sums(listed):
            problems[SUMS] = f"doesn't match {MANIFEST} and its SHA-256: one of the two was changed"
    except UserError as error:
        problems.setdefault(SUMS, str(error).removeprefix(f"{folder / SUMS}: "))
    return problems


def _most_bytes(folder: Path) -> int:
    """Upper limit for the size of any file, from the bundle's configuration; checked before any other file is read.

    Raises:
        UserError: config.json can't be read, or weights.safetensors is too large for this network.
    """
    reading.check(folder / CONFIG, "a bundle's configuration", MOST_CONFIG, folder)
    model = rundir.RunDir(folder).config().model
    values = sum(math.prod(shape) for shape in layouts.expected_shapes(model).values())
    if os.path.lexists(folder / WEIGHTS):
        reading.check(folder / WEIGHTS, "the weights of this network", 8 * values + MOST_CONFIG, folder)
    return 2**26 + 64 * values + 64 * model.time_steps * math.prod(model.input_shape)


def made() -> Figures:
    """When, where and with which versions a bundle is made."""
    return {
        "utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": machine.processor_name(),
        "cores": machine.cpus(),
        "versions": machine.versions(statements.PACKAGES),
    }


def data(test: Split, split: str = "test") -> Figures:
    """Identifies the test images, so other data can't be mistaken for them; `split`: the `final` of the `Dataset`."""
    digest = hashlib.sha256(as_bytes(test.images))
    digest.update(test.labels.astype("<i4").tobytes())
    held_out = {} if split == "test" else {"split": split}
    return {"test_images": len(test.labels), "sha256": digest.hexdigest(), **held_out}


def silence(results: Figures) -> str:
    """A sentence about layers that never spiked on the images of the figures; "" if there are none."""
    layers = zip(results["numbers"]["layers"], results["semantics"]["layers"], strict=True)
    silent = [layer["name"] for layer, one in layers if not layer["spikes"] and one["threshold"] is not None]
    return f"the neurons after {', '.join(silent)} never spiked, so equal spikes prove little" if silent else ""


def differences(recorded: Any, computed: Any, where: str) -> Iterator[str]:
    """How an entry at the path `where` of a manifest differs from the one computed here; a line for each difference."""
    if isinstance(recorded, dict) and isinstance(computed, dict):
        for name in {**recorded, **computed}:
            place = joined(where, name)
            if name not in recorded or name not in computed:
                yield f"{place} is {'unexpected' if name in recorded else 'missing'} in {MANIFEST}"
            else:
                yield from differences(recorded[name], computed[name], place)
    elif isinstance(recorded, list) and isinstance(computed, list) and len(recorded) == len(computed):
        for number, pair in enumerate(zip(recorded, computed, strict=True)):
            yield from differences(*pair, f"{where}[{number}]")
    elif type(recorded) is not type(computed) or recorded != computed:
        yield f"{where} is {short(computed)}, {MANIFEST} says {short(recorded)}"


def without_images(value: Any) -> Any:
    """The same results with `...` in place of all figures that depend on images, to compare those of other images."""
    if isinstance(value, dict):
        return {
            name: ... if name in OF_IMAGES and statements.is_number(one) else without_images(one)
            for name, one in value.items()
        }
    return [*map(without_images, value)] if isinstance(value, list) else value
