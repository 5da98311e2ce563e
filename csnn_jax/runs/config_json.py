"""Configurations as JSON: `config.json` of a run, and the metadata of its weights."""

import dataclasses
import json
from typing import Any

from csnn_jax.config.job import Config, DataConfig, TrainConfig
from csnn_jax.config.network import ModelConfig
from csnn_jax.errors import UserError

SCHEMA_VERSION = 2
"""The version of `config.json`."""
MOST_BYTES = 2**24
"""Maximum size of `config.json`, of which class names take the most."""


def job_to_json(config: Config) -> str:
    """The text of a run's `config.json`.

    Raises:
        UserError: the names of its classes are too long.
    """
    text = json.dumps({"schema_version": SCHEMA_VERSION} | dataclasses.asdict(config), indent=2)
    if len(text) > MOST_BYTES:
        names = f"{len(config.class_names):,} names"
        raise UserError(f"classes: {names} make config.json larger than {MOST_BYTES:,} bytes, expected shorter names")
    return text


def job_from_json(text: str, source: str) -> Config:
    """Reads `config.json` of a run.

    Raises:
        UserError: the schema version is missing or unsupported, or as in `from_json`; the message names `source`.
    """
    values = _parse(text, source)
    if isinstance(values, dict):
        version = values.pop("schema_version", None)
        if version != SCHEMA_VERSION or isinstance(version, bool):
            only = f"expected {SCHEMA_VERSION}; this version supports no other"
            raise UserError(f"{source}: schema_version {version!r}: {only}")
    return _made(Config, values, source)


def to_json(config: Any) -> str:
    """A configuration as JSON text, readable by `from_json`."""
    return json.dumps(dataclasses.asdict(config), indent=2)


def from_json(kind: type, text: str, source: str) -> Any:
    """Reads a configuration.

    Args:
        kind: the dataclass to make: Config or ModelConfig.
        text: JSON text, as from `to_json`; missing fields get their defaults.
        source: the file it came from, for messages.

    Raises:
        UserError: invalid JSON, an unknown field, or a value out of range; the message names `source`.
    """
    return _made(kind, _parse(text, source), source)


def _parse(text: str, source: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{source}: expected JSON: {error}") from None


def _made(kind: type, values: Any, source: str) -> Any:
    try:
        return _build(kind, values)
    except UserError as error:
        raise UserError(f"{source}: {error}") from None


def _build(kind: type, values: Any) -> Any:
    if not isinstance(values, dict):
        raise UserError(f"{kind.__name__} is {values!r}: expected an object of named fields")
    nested = {"model": ModelConfig, "data": DataConfig, "train": TrainConfig}
    names = {f.name for f in dataclasses.fields(kind)}
    for name in values:
        if name not in names:
            raise UserError(f"{name}: {kind.__name__} has no such field, expected one of {', '.join(sorted(names))}")
    made = {}
    for name, value in values.items():
        if kind is Config:
            value = _build(nested[name], value)
        made[name] = value
    return kind(**made)
