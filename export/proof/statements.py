"""What only a bundle's maker can say, and its form.

A recipient can't tell whether these statements are true, so the report marks them as the maker's. Verification checks
that there are no others, that each has a type and range that `export` writes, and that none contradicts the results.
"""

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Any, TypeAlias, get_args

from export import parts
from export.c.text import is_prefix
from export.settings import OPSETS, Effort

PACKAGES = ("csnn-jax", "numpy", "safetensors", "jax", "flax", "h5py", "plotly", *parts.packages())
"""Packages whose versions are in a manifest."""

Check = Callable[[Any], bool]
Form: TypeAlias = "Check | Mapping[str, Form]"
"""A check of a value, or the forms of an object's values by key: `key?` may be missing, and `*` is any key."""


def _text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 1000 and value.isprintable()


def _matches(pattern: str) -> Check:
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**53


def _positive(value: Any) -> bool:
    return _count(value) and value > 0


def is_number(value: Any) -> bool:
    """Whether a value is a number that a figure can have."""
    return type(value) in (int, float) and 0 <= value <= sys.float_info.max


def _share(value: Any) -> bool:
    return is_number(value) and value <= 1


def _moment(value: Any) -> bool:
    """A time that has passed; a day more, because the clocks of two machines differ."""
    if not _matches(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00")(value):
        return False
    try:
        when = datetime.fromisoformat(value)
    except ValueError:  # such as the 31st of February
        return False
    return when.year >= 2000 and when <= datetime.now(UTC) + timedelta(days=1)


def _or_null(check: Check) -> Check:
    return lambda value: value is None or check(value)


_SHA256 = _matches("[0-9a-f]{64}")
_VERSION = _matches(r"[\w.+!-]{1,60}")
STATEMENTS: Mapping[str, Form] = {
    "made": {
        "utc": _moment,
        "python": _VERSION,
        "system": _text,
        "cpu": _or_null(_text),
        "cores": _positive,
        "versions": {f"{name}?": _VERSION for name in PACKAGES},
    },
    "training": {"iterations": _count, "seconds": _or_null(is_number), "checkpoint?": _count},
    "data": {"test_images": _positive, "sha256": _SHA256, "split?": _matches("validation")},
    "settings": {
        "opset": lambda value: type(value) is int and value in OPSETS,
        "images": _positive,
        "effort": lambda value: value in get_args(Effort),
        "time_steps": _or_null(_positive),
        "prefix": lambda value: isinstance(value, str) and is_prefix(value),
    },
    "rounded?": {"accuracy": _share},
    "dropped?": {
        "accuracy": _share,
        "channels": {"*": _positive},
        "parameters": _positive,
        "training_images": _positive,
        "fired_on": _count,
        "other_answers": _count,
    },
    "latency": {"*": {"median_ms": is_number, "p99_ms": is_number, "calls": _positive, "dequantizing_ms?": is_number}},
}
"""The maker's statements."""
FORM: Mapping[str, Form] = {
    "schema_version": _positive,
    "statements": STATEMENTS,
    "hashes": {"*": {"sha256": _SHA256, "bytes": _count}},
    "results": lambda value: isinstance(value, dict),
}
"""A manifest; verification compares its results as a whole."""


def problems(value: Any, form: Form = FORM, where: str = "") -> Iterator[str]:
    """Entries of a manifest that are missing, unexpected or not in the form that `export` writes; one line each."""
    if not isinstance(form, Mapping):
        if not form(value):
            yield f"{where} is {short(value)}, which `export` doesn't write"
    elif not isinstance(value, dict):
        yield f"{where} is {short(value)}, expected an object"
    else:
        forms = {name.removesuffix("?"): inner for name, inner in form.items()}
        for name in (name for name in form if name not in value and not name.endswith("?") and name != "*"):
            yield f"{joined(where, name)} is missing"
        for name, one in value.items():
            if inner := forms.get(name, forms.get("*")):
                yield from problems(one, inner, joined(where, name))
            else:
                yield f"{joined(where, name)} isn't part of a manifest"


def contradictions(statements: dict[str, Any], results: dict[str, Any], same_images: bool) -> Iterator[str]:
    """Statements contradicted by the results or other statements; one line each.

    Args:
        statements: statements without `problems`.
        results: the results, computed here.
        same_images: whether they are for the bundle's test images.
    """
    settings, count, few = statements["settings"], statements["data"]["test_images"], results["job"]["weight_bits"]
    if settings["images"] > count:
        yield f"settings.images is {settings['images']}, but the test set has {count}"
    if "rounded" in statements and few is None:
        yield "rounded is stated, but the weights have all their bits"
    for name, row in statements["latency"].items():
        if row["p99_ms"] < row["median_ms"]:
            yield f"latency.{name}.p99_ms is {row['p99_ms']}, below the median, {row['median_ms']}"
        if ("dequantizing_ms" in row) != (few is not None and name.endswith(".onnx")):
            yield f"latency.{name}.dequantizing_ms is only for ONNX files with weights of few bits"
    if (dropped := statements.get("dropped")) is not None:
        channels, left = dropped["channels"], hidden_channels(results)
        if [*channels] != [*left] or any(channels[name] < number for name, number in left.items()):
            yield f"dropped.channels is {channels}, but the network has {left}"
        if dropped["parameters"] < (parameters := results["numbers"]["total"]["parameters"]):
            yield f"dropped.parameters is {dropped['parameters']}, but the network has {parameters}"
        if max(dropped["fired_on"], dropped["other_answers"]) > count:
            yield "dropped counts more images than exist"
        # Accuracies are for the window used in training, and the other answers for the bundle's.
        before, after = (round(count * accuracy) for accuracy in (dropped["accuracy"], results["accuracy"]))
        if same_images and settings["time_steps"] is None and abs(before - after) > dropped["other_answers"]:
            yield f"dropped.accuracy is {dropped['accuracy']}, but the network's is {results['accuracy']}"


def hidden_channels(results: dict[str, Any]) -> dict[str, int]:
    """The number of channels of every layer but the last, by the layer's name."""
    return {one["layer"]: one["shape"][0] for one in results["semantics"]["layers"][:-1]}


def newer(made: dict[str, Any]) -> str:
    """What can't be judged here if a newer csnn-jax made the bundle, in words; otherwise "".

    It isn't an error, because the sender may have one. Versions of other packages say nothing: any may be newer than
    those installed here.
    """
    here, there = version("csnn-jax"), made["versions"].get("csnn-jax", "0")
    late = _release(there) > _release(here)
    return f"what csnn-jax {there}, which is newer than {here} here, does differently" if late else ""


def _release(text: str) -> tuple[int, ...]:
    """The numbers that a version begins with."""
    numbers = re.match(r"\d{1,9}(\.\d{1,9})*", text)
    return tuple(map(int, numbers[0].split("."))) if numbers else ()


def implausible(recorded: float, here: float) -> bool:
    """Whether a recorded latency can't be that of any machine, given the one measured here.

    Processors that run Python and ONNX Runtime differ a hundredfold, and an emulator or a busy machine is another
    hundred times as slow.
    """
    return recorded > 1e4 * here or here > 1e4 * recorded


def joined(where: str, name: str) -> str:
    """The path of an entry in an object at the path `where`."""
    return f"{where}.{name}" if where else name


def short(value: Any) -> str:
    """The start of a value, as JSON."""
    text = json.dumps(value, default=lambda other: "a number")
    end = '..."' if isinstance(value, str) else "..."
    return text if len(text) <= 60 else text[:56] + end
