"""The rows of the support matrix: every flag of a training command with values, and options that aren't flags."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from reference.targets import Fields, Question, fitted, job, refusal

from csnn_jax.config.nodes import NodeConfig, Nodes
from csnn_jax.data.datasets import READERS, reader_of
from csnn_jax.devices.flags import JaxFlags
from csnn_jax.flags import GROUPS, TrainFlags, job_options
from csnn_jax.options import Option as Declared
from csnn_jax.options import options_of, words_of
from csnn_jax.recipes import RECIPES

BRANCHED = Nodes(
    (
        NodeConfig("conv1", "convolution", "image", channels=4, kernel=3, padding=1),
        NodeConfig("conv2", "convolution", "image", channels=4, kernel=5, padding=2),
        NodeConfig("lif1", "leaky", ["conv1", "conv2"], reset="zero"),
        NodeConfig("flatten", "flatten", "lif1"),
        NodeConfig("fc1", "linear", "flatten", channels=10),
        NodeConfig("lif2", "leaky", "fc1", reset="zero"),
    )
)
SAMPLES: dict[str, tuple[Any, ...]] = {
    **{"out": ("runs/new",), "seeds": ((0, 1),), "cache": ("off",), "devices": (2,), "coordinator": ("host:1234",)},
    **{"num_processes": (2,), "process_id": (1,), "connect_timeout": (30,)},
    **{"validation": (8,), "subset": (64,), "augment": ((2.0, 10.0, 0.1),), "event_drop": (0.1,), "scale": (128.0,)},
    **{"input_shape": ((32, 32, 3),), "conv_channels": ((), (4,)), "hidden": ((), (8, 8)), "num_classes": (12,)},
    **{"residual": (("conv2",),), "recurrent": (("fc1",), ("fc1:one",)), "network": (BRANCHED,)},
    **{"kernel_size": (2, 5, 7, 9), "stride": (2,), "pool_size": (4,), "time_steps": (8,)},
    **{"weight_bits": (2, 4, 8), "beta": (0.0, 0.5, 0.75, 0.9, 1.0), "threshold": (2.0,), "alpha": (0.9,)},
    **{"slope": (10.0,), "epochs": (2,), "batch_size": (32,), "init_density": (0.2,), "microbatch": (8,), "seed": (1,)},
    **{"max_iters": (4,), "eval_every": (0,), "eval_images": (8,), "checkpoint_every": (2,), "keep_checkpoints": (1,)},
    **{
        "lr": (0.1,),
        "momentum": (0.9,),
        "warmup": (1,),
        "weight_decay": (0.1,),
        "clip_norm": (1.0,),
        "dropout": (0.5,),
    },
    **{"ema": (0.99,), "label_smoothing": (0.1,), "rate_target": (0.1,), "rate_weight": (1.0,)},
}
"""Values to try for flags that accept numbers or text."""
BESIDE: tuple[Fields, ...] = (
    {},
    {"neuron": "synaptic"},
    {"padding": "valid"},
    {"optimizer": "sgd"},
    {"rate_target": 0.1},
    {"dataset": "saccades"},
    {"coordinator": "host:1234", "num_processes": 2, "process_id": 0},
)
"""Settings that some options need. The first that makes an option possible is used."""
ASIDE = ("recipe", "dataset", "engine", "init_from")
"""Flags with their own rows or columns, and the one that needs another run."""


class Option(NamedTuple):
    """The subject of a row.

    Attributes:
        name: a flag, or words.
        value: its value as shown, Markdown.
        question: the question to ask.
        choice: whether the value is one of a few words that the flag accepts.
    """

    name: str
    value: str
    question: Question
    choice: bool = True


def of_command(kind: type[TrainFlags] = JaxFlags, groups: Iterable[str] = ("", *GROUPS)) -> dict[str, list[Option]]:
    """The flags of a training command with their values, by their group in `--help`.

    Args:
        kind: the dataclass of the flags.
        groups: the groups to list; "" has the flags without a group.

    Raises:
        ValueError: `SAMPLES` has no value for a flag that needs one, or nothing in `BESIDE` makes an option possible.
    """
    asked = [one for one in (*options_of(kind), *job_options()) if one.name not in ASIDE]
    return {name: [row for one in asked if one.group == name for row in _rows(one, kind)] for name in groups}


def _rows(one: Declared, command: type[TrainFlags]) -> Iterator[Option]:
    several = isinstance(one.default, tuple)
    words = tuple((word,) if several else word for word in one.kind.choices)
    values = (not one.default,) if one.kind.words == 0 else words + SAMPLES.get(one.name, ())
    if not values:
        raise ValueError(f"{one.flag}: no value to ask about, expected one in SAMPLES of {__file__}")
    for value in values:
        beside = next((more for more in BESIDE if _is_possible({**more, one.name: value}, command)), None)
        if beside is None:
            raise ValueError(
                f"{' '.join(words_of(one.name, value))}: not possible, expected what it needs in {__file__}"
            )
        beside = {other: more for other, more in beside.items() if other != one.name}
        others = " ".join(f"`{' '.join(words_of(other, more))}`" for other, more in beside.items())
        first, *rest = words_of(one.name, value)
        shown = "" if one.kind.words == 0 else f"`{' '.join(rest)}`" if rest else "none"
        shown += f" with {others}" if others else ""
        yield Option(first, shown.strip(), Question({one.name: value, **beside}), value in words)


def _is_possible(changes: Fields, command: type[TrainFlags]) -> bool:
    return refusal(lambda: fitted(job(changes, command))) is None


def jobs() -> list[Option]:
    """The default job, and the recipes without other flags."""
    recipes = (Option("--recipe", f"`{name}`", Question({"recipe": name}, whole=True)) for name in RECIPES)
    return [Option("no flags", "", Question({}, whole=True)), *recipes]


def platforms() -> list[Option]:
    """JAX's kinds of devices."""
    names = ("cpu", "gpu", "tpu")
    return [Option(f"on a {name.upper()}", "", Question({}, name)) for name in names]


def data_sets(folder: Path) -> list[Option]:
    """The kinds of data sets, by their contents.

    Args:
        folder: a folder for files of arrays.
    """
    readers = {name: reader for name in READERS if (reader := reader_of(name)) and not reader.as_is}
    recordings = [name for name, reader in readers.items() if reader.recordings]
    images = [name for name in readers if name not in recordings]
    found = [
        Option("--dataset", ", ".join(f"`{name}`" for name in names), Question({"dataset": sample}))
        for names, sample in ((images, "mnist"), (recordings, "saccades"))
    ]
    numbers = np.arange(256 * 4 * 28 * 28).reshape(256, 4, 28, 28, 1)
    kinds = {
        "images of bytes": numbers[:, 0].astype(np.uint8),
        "images of floats": (numbers[:, 0] % 1000 / 1000).astype(np.float32),
        "sequences of counts up to 15": (numbers % 16).astype(np.uint8),
        "sequences of larger counts": (numbers % 100).astype(np.uint8),
        "sequences of floats": (numbers % 1000 / 1000).astype(np.float32),
    }
    for number, (kind, arrays) in enumerate(kinds.items()):
        path, labels = folder / f"{number}.npz", np.arange(256) % 10
        np.savez(path, train_images=arrays, train_labels=labels, images=arrays, labels=labels)
        changes = {"dataset": f"arrays:{path}", "scale": 1.0 if "larger" in kind else None}
        found.append(Option("--dataset", f"`arrays:FILE.npz`, {kind}", Question(changes)))
    return found
