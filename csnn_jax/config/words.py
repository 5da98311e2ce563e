"""Converts a job to command-line flags."""

from dataclasses import fields
from typing import Any

from csnn_jax.config.checks import flag_of
from csnn_jax.config.job import Config
from csnn_jax.config.network import RECORDED


def words(config: Config, plain: Config | None = None, used: Config | None = None) -> list[str]:
    """The flags that turn one job into another.

    Args:
        config: the job.
        plain: the job without these flags; None: the default job.
        used: the job whose values the flags get, which may differ from `config`; None: `config`.
    """
    plain, used = plain or Config(), used or config
    flags: list[str] = []
    for name in ("data", "model", "train"):
        part, before, values = (getattr(job, name) for job in (config, plain, used))
        for one in fields(part):
            if one.name not in RECORDED and getattr(part, one.name) != getattr(before, one.name):
                flags += flag(one.name, getattr(values, one.name))
    return flags


def flag(name: str, value: Any) -> list[str]:
    """The command-line words that set a field."""
    if isinstance(value, bool):
        return [flag_of(name) if value else flag_of(f"no_{name}")]
    return [flag_of(name), *map(_word, value if isinstance(value, tuple) else (value,))]


def _word(value: Any) -> str:
    """A value as a user would write it: 2, not 2.0."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() and abs(value) < 1e6 else str(value)
