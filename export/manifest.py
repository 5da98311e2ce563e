"""manifest.json: a bundle's contents, how to call them, and what was proven. SHA256SUMS hashes it and all other files.

Everything in it except the maker's statements (`proof.statements.FORMS`) follows from the bundle's other files and this
version, and `export.verify` compares it.
"""

import hashlib
import json
import math
import os
import platform
from collections.abc import Callable, Iterator
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
from export.proof import statements

SCHEMA_VERSION = 2
MOST_BYTES, MOST_CONFIG = 2**24, 2**20
"""Size limits for manifest.json and config.json, in bytes."""
NOT_LISTED = (MANIFEST, SUMS)

Rule = Callable[[str, Any, Any], list[str] | None]


def write(folder: Path, manifest: Manifest) -> None:
    """Writes manifest.json and SHA256SUMS."""
    write_atomic(folder / MANIFEST, _bytes(manifest))
    write_atomic(folder / SUMS, _sums(folder, manifest))


def _bytes(manifest: Manifest) -> bytes:
    return (json.dumps(manifest, indent=2) + "\n").encode()


def _sums(folder: Path, manifest: Manifest) -> bytes:
    """The contents of SHA256SUMS, with all of a bundle's other files, in the format of `sha256sum -c`."""
    hashes = {name: entry["sha256"] for name, entry in manifest["files"].items()}
    hashes[MANIFEST] = hashlib.sha256(reading.read(folder / MANIFEST, "a manifest", MOST_BYTES, folder)).hexdigest()
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(hashes.items())).encode()


def read(folder: Path) -> Manifest:
    """Reads manifest.json and checks its format: written as by `write`, with the tables that we read.

    Raises:
        UserError: it's too large, isn't JSON, has a different schema version, isn't written as by `write` (with
            duplicate keys, for example), or has entries in a form that `export` doesn't write.
    """
    path = folder / MANIFEST
    content = reading.read(path, "a bundle's manifest", MOST_BYTES, folder)
    try:
        found = json.loads(content)
        written = _bytes(found) == content
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: expected JSON: {error}") from None
    if not isinstance(found, dict) or found.get("schema_version") != SCHEMA_VERSION:
        version = found.get("schema_version") if isinstance(found, dict) else None
        raise UserError(f"{path}: schema_version {version!r}, expected {SCHEMA_VERSION}")
    for name in ("proof", "numbers", "onnx"):
        if not isinstance(found.get(name), dict):
            raise UserError(f"{path}: {name} is {_short(found.get(name))}, expected an object")
    for problem in statements.problems(found):
        raise UserError(f"{path}: {problem}")
    if not written:
        raise UserError(f"{path}: isn't in the form that `export` writes: duplicate keys or different whitespace")
    return found


def hash_files(folder: Path) -> dict[str, dict[str, Any]]:
    """SHA-256 and size of every file in a bundle except manifest.json and SHA256SUMS, by its relative name."""
    return {name: entry for name, entry in hashes.hash_files(folder).items() if name not in NOT_LISTED}


def file_problems(folder: Path, manifest: Manifest) -> dict[str, str]:
    """Problems with the bundle's files, by name: changed, missing, not listed, or not a plain file.

    Args:
        folder: the bundle.
        manifest: the manifest from `read`.

    Raises:
        UserError: config.json can't be read, or weights.safetensors is too large for this network.
    """
    problems, most = hashes.irregular(folder), min(hashes.MOST_BYTES, _most_bytes(folder))
    if large := {name: size for name, size in _sizes(folder) if size > most}:
        return problems | {name: f"has {size:,} bytes, expected at most {most:,}" for name, size in large.items()}
    try:
        if reading.read(folder / SUMS, "a list of hashes", hashes.MOST_SUMS, folder) != _sums(folder, manifest):
            problems[SUMS] = f"doesn't match {MANIFEST} and its SHA-256: one of the two was changed"
    except UserError as error:
        problems.setdefault(SUMS, str(error).removeprefix(f"{folder / SUMS}: "))
    found = hash_files(folder)
    for name, entry in manifest["files"].items():
        if name not in found:
            problems.setdefault(name, "is missing")
        elif found[name]["sha256"] != entry["sha256"]:
            problems[name] = f"was changed: SHA-256 {found[name]['sha256'][:12]}..., {MANIFEST} says otherwise"
        elif found[name]["bytes"] != entry["bytes"]:
            problems[name] = f"has {found[name]['bytes']} bytes, {MANIFEST} says {entry['bytes']}"
    return problems | {name: f"is not listed in {MANIFEST}" for name in found if name not in manifest["files"]}


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


def _sizes(folder: Path) -> Iterator[tuple[str, int]]:
    for path in hashes.entries(folder):
        if not path.is_symlink():
            yield path.relative_to(folder).as_posix(), path.stat().st_size


def silence(manifest: Manifest) -> str:
    """A sentence about layers that never spiked on the images of the figures; "" if there are none."""
    layers = zip(manifest["numbers"]["layers"], manifest["semantics"]["layers"], strict=True)
    silent = [layer["name"] for layer, one in layers if not layer["spikes"] and one["threshold"] is not None]
    return f"the neurons after {', '.join(silent)} never spiked, so equal spikes prove little" if silent else ""


def made(opset: int) -> dict[str, Any]:
    """When, where and with which versions a bundle is made; `opset`: operator set of its ONNX files."""
    return {
        "utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "opset": opset,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": machine.processor_name(),
        "cores": machine.cpus(),
        "versions": machine.versions(statements.PACKAGES),
    }


def _no_rule(name: str, recorded: Any, found: Any) -> None:
    return None


def data(dataset: str, test: Split, split: str = "test") -> dict[str, Any]:
    """Identifies the test images, so other data can't be mistaken for them; `split`: the `final` of the `Dataset`."""
    digest = hashlib.sha256(as_bytes(test.images))
    digest.update(test.labels.astype("<i4").tobytes())
    held_out = {} if split == "test" else {"split": split}
    return {"dataset": dataset, "test_images": len(test.labels), "sha256": digest.hexdigest(), **held_out}


def differences(recorded: Any, found: Any, where: str = "", rule: Rule = _no_rule) -> Iterator[str]:
    """How two parts of a manifest differ, one line for each difference.

    Args:
        recorded: the manifest's value.
        found: the value computed here.
        where: the path of both in the manifest, for the lines.
        rule: maps (key, recorded, found) to problems of entries that needn't be equal; None: they must be equal.
    """
    decided = rule(where.rpartition(".")[2], recorded, found)
    if decided is not None:
        yield from (f"{where}: {line}" for line in decided)
    elif isinstance(recorded, dict) and isinstance(found, dict):
        for name in {**recorded, **found}:
            place = f"{where}.{name}" if where else str(name)
            if name not in recorded or name not in found:
                yield f"{place} is {'unexpected' if name in recorded else 'missing'} in {MANIFEST}"
            else:
                yield from differences(recorded[name], found[name], place, rule)
    elif isinstance(recorded, list) and isinstance(found, list) and len(recorded) == len(found):
        for number, (a, b) in enumerate(zip(recorded, found, strict=True)):
            yield from differences(a, b, f"{where}[{number}]", rule)
    elif type(recorded) is not type(found) or recorded != found:
        yield f"{where} is {_short(found)}, {MANIFEST} says {_short(recorded)}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    end = '..."' if isinstance(value, str) else "..."
    return text if len(text) <= 60 else text[:56] + end
