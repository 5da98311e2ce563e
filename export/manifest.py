"""manifest.json: what is in a bundle, how it is to be called, what was proven; SHA256SUMS hashes it and all others.

Everything in it except `made` (when, where, with which versions) and `latency` can be recomputed from the bundle's
other files, and `export.verify` does so.
"""

import hashlib
import json
import math
import platform
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from csnn_jax import machine
from csnn_jax.data import Split, as_bytes
from csnn_jax.errors import UserError
from csnn_jax.files import write_atomic
from export import hashes, parts
from export.bundle import MANIFEST, Manifest
from export.hashes import SUMS

SCHEMA_VERSION = 1
PACKAGES = ("csnn-jax", "numpy", "safetensors", "jax", "flax", *parts.packages())
NOT_LISTED = (MANIFEST, SUMS)

Rule = Callable[[str, Any, Any], list[str] | None]


def write(folder: Path, manifest: Manifest) -> None:
    """Writes manifest.json and SHA256SUMS."""
    write_atomic(folder / MANIFEST, (json.dumps(manifest, indent=2) + "\n").encode())
    write_atomic(folder / SUMS, _sums(folder, manifest))


def _sums(folder: Path, manifest: Manifest) -> bytes:
    """The text of SHA256SUMS: all files of a bundle but itself, as `sha256sum -c` reads it."""
    hashes = {name: entry["sha256"] for name, entry in manifest["files"].items()}
    hashes[MANIFEST] = hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(hashes.items())).encode()


def read(folder: Path) -> Manifest:
    """Reads manifest.json as far as its shape can be relied on: a schema of ours, with a table of files.

    Raises:
        UserError: it is no JSON, of another schema version, or lacks a table that verification starts from.
    """
    path = folder / MANIFEST
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: expected JSON: {error}") from None
    if not isinstance(found, dict) or found.get("schema_version") != SCHEMA_VERSION:
        version = found.get("schema_version") if isinstance(found, dict) else None
        raise UserError(f"{path}: schema_version {version!r}, expected {SCHEMA_VERSION}")
    for name in ("files", "proof", "data", "made", "settings", "training", "latency"):
        if not isinstance(found.get(name), dict):
            raise UserError(f"{path}: {name} is {found.get(name)!r}, expected an object")
    for name, entry in found["files"].items():
        if not isinstance(entry, dict) or not isinstance(entry.get("sha256"), str):
            raise UserError(f"{path}: files: {name} is {entry!r}, expected an object with a sha256")
    return found


def hash_files(folder: Path) -> dict[str, dict[str, Any]]:
    """SHA-256 and size of every file in a bundle but the manifest's own two, by its name relative to the bundle."""
    return {name: entry for name, entry in hashes.hash_files(folder).items() if name not in NOT_LISTED}


def file_problems(folder: Path, manifest: Manifest) -> dict[str, str]:
    """What is wrong with the bundle's files as such, by name: changed, missing or not listed."""
    problems: dict[str, str] = {}
    try:
        if (folder / SUMS).read_bytes() != _sums(folder, manifest):
            problems[SUMS] = f"does not hold the SHA-256 that {MANIFEST} has, and its own: one of the two was changed"
    except OSError as error:
        problems[SUMS] = f"can't be read: {error.strerror}"
    found = hash_files(folder)
    for name, entry in manifest["files"].items():
        if name not in found:
            problems[name] = "is missing"
        elif found[name]["sha256"] != entry["sha256"]:
            problems[name] = f"was changed: SHA-256 {found[name]['sha256'][:12]}..., {MANIFEST} says otherwise"
        elif found[name]["bytes"] != entry.get("bytes"):
            problems[name] = f"has {found[name]['bytes']} bytes, {MANIFEST} says {entry.get('bytes')}"
    problems |= {name: f"is not listed in {MANIFEST}" for name in found if name not in manifest["files"]}
    return problems


def silence(manifest: Manifest) -> str:
    """Which layers never spiked on the images of the figures, in words; "" where all did."""
    silent = [layer["name"] for layer in manifest["numbers"]["layers"] if not layer["spikes"]]
    return f"the neurons after {', '.join(silent)} never spiked, so equal spikes prove little" if silent else ""


def made(opset: int) -> dict[str, Any]:
    """When, where and with which versions a bundle is made; `opset` is that of its ONNX files."""
    return {
        "utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "opset": opset,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": machine.processor_name(),
        "cores": machine.cpus(),
        "versions": machine.versions(PACKAGES),
    }


def _no_rule(name: str, recorded: Any, found: Any) -> None:
    return None


def data(dataset: str, test: Split) -> dict[str, Any]:
    """Names the test images, so that no other data set is taken for them."""
    digest = hashlib.sha256(as_bytes(test.images))
    digest.update(test.labels.astype("<i4").tobytes())
    return {"dataset": dataset, "test_images": len(test.labels), "sha256": digest.hexdigest()}


def differences(recorded: Any, found: Any, where: str = "", rule: Rule = _no_rule) -> Iterator[str]:
    """Where two parts of a manifest differ, one line each.

    Args:
        recorded: what the manifest holds.
        found: what was worked out here.
        where: the place of both in the manifest, for the lines.
        rule: (key, recorded, found) to what is wrong with entries that need not be equal; None: they must be.
    """
    told = rule(where.rpartition(".")[2], recorded, found)
    if told is not None:
        yield from (f"{where}: {line}" for line in told)
    elif isinstance(recorded, dict) and isinstance(found, dict):
        for name in {**recorded, **found}:
            place = f"{where}.{name}" if where else str(name)
            if name not in recorded or name not in found:
                yield f"{place} is {'left over' if name in recorded else 'missing'} in {MANIFEST}"
            else:
                yield from differences(recorded[name], found[name], place, rule)
    elif isinstance(recorded, list) and isinstance(found, list) and len(recorded) == len(found):
        for number, (a, b) in enumerate(zip(recorded, found, strict=True)):
            yield from differences(a, b, f"{where}[{number}]", rule)
    elif not _same(recorded, found):
        yield f"{where} is {_short(found)}, {MANIFEST} says {_short(recorded)}"


def _same(recorded: Any, found: Any) -> bool:
    """Equal and of one type; floats but for their last digits, which the C library of another machine may give."""
    if isinstance(found, float) and isinstance(recorded, float):
        return math.isclose(recorded, found, rel_tol=1e-9, abs_tol=1e-12)
    return type(recorded) is type(found) and recorded == found


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
