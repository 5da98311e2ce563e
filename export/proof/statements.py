"""The manifest's statements that only its maker can know, and their format.

A recipient can't tell whether these statements are true, so the report marks them as the maker's. Verification can
check that there are no others, and that each has a type and range that `export` writes.
"""

import math
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Any, get_args

from csnn_jax.config import Config, ModelConfig
from csnn_jax.config.grid import FEWEST, WIDEST
from csnn_jax.runs.layouts import Tensors, parameters
from export import parts
from export.settings import EXTENTS, Effort

PACKAGES = ("csnn-jax", "numpy", "safetensors", "jax", "flax", "h5py", "plotly", *parts.packages())
"""Packages whose versions are in a manifest."""

Check = Callable[[Any], bool]


def _text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 1000 and value.isprintable()


def _matches(pattern: str) -> Check:
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None


def _count(value: Any, least: int = 0) -> bool:
    return type(value) is int and least <= value < 2**53


def _moment(value: Any) -> bool:
    """A time that has passed; a day more, because the clocks of two machines differ."""
    if not _matches(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00")(value):
        return False
    try:
        when = datetime.fromisoformat(value)
    except ValueError:  # such as the 31st of February
        return False
    return when.year >= 2000 and when <= datetime.now(UTC) + timedelta(days=1)


def _positive(value: Any) -> bool:
    return _count(value, 1)


def _number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and value >= 0


def _or_null(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_count, value))


def _kept(value: Any) -> bool:
    """Rows of (layer, channels kept, channels before)."""
    return isinstance(value, list) and all(
        isinstance(row, list) and len(row) == 3 and _text(row[0]) and _positive(row[1]) and _count(row[2], row[1])
        for row in value
    )


def _bits(value: Any) -> bool:
    return _count(value, FEWEST) and value <= WIDEST


_SHA256 = _matches("[0-9a-f]{64}")
_VERSION = _matches(r"[\w.+!-]{1,60}")
_FILE: dict[str, Check] = {"sha256": _SHA256, "bytes": _count}
_LATENCY: dict[str, Check] = {
    "median_ms": _number,
    "p99_ms": _number,
    "calls": _positive,
    "dequantizing_ms": _number,
}

FORMS: dict[str, dict[str, Check]] = {
    "made": {
        "utc": _moment,
        "opset": _positive,
        "python": _VERSION,
        "system": _text,
        "cpu": _or_null(_text),
        "cores": _positive,
        "versions": lambda value: _versions(value),
    },
    "training": {
        "accuracy": lambda value: _number(value) and value <= 1,
        "iterations": _count,
        "seconds": _or_null(_number),
        "checkpoint": _count,
        "seed": _count,
        "dtype": _matches("float32|float64"),
        "time_steps": _positive,
        "weight_bits": _or_null(_bits),
    },
    "rounded": {"accuracy": lambda value: _number(value) and value <= 1},
    "data": {"dataset": _text, "test_images": _positive, "sha256": _SHA256, "split": _matches("validation")},
    "settings": {
        "opset": _positive,
        "images": _positive,
        "effort": lambda value: value in get_args(Effort),
        "time_steps": _or_null(_positive),
        "drop_silent": lambda value: type(value) is bool,
        "weight_bits": _or_null(_bits),
        "accuracy_images": _positive,
    },
    "dropped": {
        "layers": _kept,
        "training_images": _positive,
        "test_images": _positive,
        "fired_on": _count,
        "other_answers": _count,
        "parameters": _pair,
        "bytes": _pair,
    },
    "latency": {},
    "files": {},
}
"""The entries of the manifest that verification reads, and the form of each value in them."""
OPTIONAL = {"training.checkpoint", "data.split", "rounded", "dropped", "latency.dequantizing_ms"}
ROWS: dict[str, dict[str, Check]] = {"latency": _LATENCY, "files": _FILE}
"""Entries with file names as keys, and the form of their values."""


def _versions(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() <= set(PACKAGES) and all(map(_VERSION, value.values()))


def problems(manifest: dict[str, Any]) -> Iterator[str]:
    """Entries that are missing, unexpected or not in the form that `export` writes; one line each."""
    for entry, form in FORMS.items():
        if entry not in manifest and entry in OPTIONAL:
            continue
        found = manifest.get(entry)
        if not isinstance(found, dict):
            yield f"{entry} is {_short(found)}, expected an object"
        elif entry in ROWS:
            for name, row in found.items():
                where = f"{entry}[{name!r}]"
                yield from _object(where, row, ROWS[entry]) if isinstance(row, dict) else [f"{where} isn't an object"]
        else:
            yield from _object(entry, found, form)


def belied(manifest: dict[str, Any], job: Config, test_images: int | None) -> Iterator[str]:
    """Statements contradicted by config.json, the test images or other statements; one line each.

    Args:
        manifest: a manifest without `problems`.
        job: the job in config.json.
        test_images: number of test images; None: they aren't available.
    """
    settings, training, made, data = (manifest[entry] for entry in ("settings", "training", "made", "data"))
    pairs = [
        ("training.seed", training["seed"], job.train.seed),
        ("training.dtype", training["dtype"], job.train.dtype),
        ("training.time_steps", training["time_steps"], job.model.time_steps),
        ("training.weight_bits", training["weight_bits"], job.model.weight_bits),
        ("data.dataset", data["dataset"], job.data.dataset),
        ("made.opset", made["opset"], settings["opset"]),
    ]
    if "rounded" in manifest:
        pairs.append(("settings.weight_bits", settings["weight_bits"], job.model.weight_bits))
    if test_images is not None:
        most = EXTENTS[settings["effort"]].accuracy_images
        count = test_images if most is None else min(test_images, max(most, settings["images"]))
        pairs.append(("settings.accuracy_images", settings["accuracy_images"], count))
        if settings["images"] > test_images:
            yield f"settings.images is {settings['images']}, but the test set has {test_images}"
    yield from (f"{name} is {stated!r}, expected {found!r}" for name, stated, found in pairs if stated != found)
    for name, row in manifest["latency"].items():
        if row["p99_ms"] < row["median_ms"]:
            yield f"latency[{name!r}].p99_ms is {row['p99_ms']}, below the median, {row['median_ms']}"
    if ("dropped" in manifest) != settings["drop_silent"]:
        yield "settings.drop_silent doesn't match `dropped`"
    if ("rounded" in manifest) != (settings["weight_bits"] is not None):
        yield "settings.weight_bits doesn't match `rounded`"


def newer(manifest: dict[str, Any]) -> str:
    """What can't be judged here if a newer csnn-jax made the bundle, in words; otherwise "".

    It isn't an error, because the sender may have one. Versions of other packages say nothing: any may be newer than
    those installed here.
    """
    here, there = version("csnn-jax"), manifest["made"]["versions"].get("csnn-jax", "0")
    late = _release(there) > _release(here)
    return f"what csnn-jax {there}, which is newer than {here} here, does differently" if late else ""


def _release(text: str) -> tuple[int, ...]:
    """The numbers that a version begins with."""
    found = re.match(r"\d{1,9}(\.\d{1,9})*", text)
    return tuple(map(int, found[0].split("."))) if found else ()


def implausible(recorded: float, here: float) -> bool:
    """Whether a recorded latency can't be that of any machine, given the one measured here.

    Processors that run Python and ONNX Runtime differ a hundredfold, and an emulator or a busy machine is another
    hundred times as slow.
    """
    return recorded > 1e4 * here or here > 1e4 * recorded


def belied_by_network(dropped: dict[str, Any], model: ModelConfig, tensors: Tensors) -> Iterator[str]:
    """How the stated effect of --drop-silent contradicts the actual network; one line each."""
    hidden = [[node.name, node.channels] for node in model.graph.weighted[:-1]]
    if [row[:2] for row in dropped["layers"]] != hidden:
        yield f"dropped.layers keeps {[row[:2] for row in dropped['layers']]}, but the network has {hidden}"
    count = parameters(tensors)
    left, sizes = dropped["parameters"][1], dropped["bytes"]
    if left != count or sizes != [4 * number for number in dropped["parameters"]]:
        yield f"dropped.parameters and bytes are {left} and {sizes[1]}, but the network has {count} parameters"
    if max(dropped["fired_on"], dropped["other_answers"]) > dropped["test_images"]:
        yield "dropped counts more images than exist"


def _object(where: str, found: dict[str, Any], form: dict[str, Check]) -> Iterator[str]:
    for name, check in form.items():
        place = f"{where}.{name}"
        if name not in found:
            if f"{where.partition('[')[0]}.{name}" not in OPTIONAL:
                yield f"{place} is missing"
        elif not check(found[name]):
            yield f"{place} is {_short(found[name])}, which `export` doesn't write"
    yield from (f"{where}.{name} isn't part of a manifest" for name in found if name not in form)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
