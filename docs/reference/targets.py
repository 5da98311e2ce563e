"""The columns of the support matrix: each runs its own code on a job with one option changed."""

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from csnn_jax import data, engine
from csnn_jax.config import Config, DataConfig, ModelConfig, decided
from csnn_jax.config.network import IN_NODES
from csnn_jax.data import Dataset
from csnn_jax.devices import mesh
from csnn_jax.devices.flags import JaxFlags
from csnn_jax.errors import UserError
from csnn_jax.flags import TrainFlags, job_options, parse_train, with_options
from csnn_jax.network import model as models
from csnn_jax.network.model import CSNN
from csnn_jax.options import options_of, words_of
from csnn_jax.recipes import recipe
from csnn_jax.runs import layouts
from csnn_jax.runs.layouts import Tensors
from csnn_torch import trainer as torch_trainer
from csnn_torch.train import TorchFlags
from export import make, parts
from export.parts import c_program, sequence, step
from export.parts.part import Part

Fields = Mapping[str, Any]
"""Values by the name of the flag's field."""
Target = Callable[["Question"], str | None]
"""Returns why a column can't do what is asked, in one line; None if it can."""

_TORCH_NAMES = {"gpu": "cuda"}
"""torch's names of JAX's platforms, if they differ."""
_SMALL: Fields = {"conv_channels": (2, 2), "hidden": (4,), "time_steps": 4, "batch_size": 16, "init": "torch"}
"""A small base job, to save time."""
_SUBSET: Fields = {"subset": 256}


@dataclass(frozen=True)
class Question:
    """A question to a column.

    Attributes:
        changes: the fields that differ from the default job.
        platform: JAX's name for the kind of device.
        whole: whether the changes describe a whole job, to which nothing may be added.
    """

    changes: Fields
    platform: str = "cpu"
    whole: bool = False


@dataclass(frozen=True)
class Answer:
    """A column's answer: the `reason` why it can't, or None and the other fields it needs."""

    reason: str | None
    needs: Fields


def ask(target: Target, question: Question) -> Answer:
    """Asks a column; if the reason names flags other than the option that would help, asks again with these."""
    needs: dict[str, str] = {}
    while True:
        reason = target(replace(question, changes={**question.changes, **needs}))
        advice = re.search(r"train with (.*?) for ", reason or "")
        named = re.findall(r"--([a-z-]+) ([a-z]+)(?= --|$)", advice[1]) if advice else []
        more = {
            name.replace("-", "_"): value for name, value in named if name.replace("-", "_") not in question.changes
        }
        if question.whole or not more.keys() - needs.keys():
            return Answer(reason, {} if reason else needs)
        needs |= more


def job(changes: Fields, kind: type[TrainFlags] = JaxFlags) -> TrainFlags:
    """The flags of a training command with these fields.

    Raises:
        UserError: the fields can't be combined, or the command has no such flag.
    """
    name = changes.get("recipe")
    described = IN_NODES if "network" in changes else ()
    small = {name: value for name, value in _SMALL.items() if name not in described}
    values = {**_SUBSET, **(small if name is None else {}), **changes}
    own = {one.name for one in options_of(kind)}
    for name in changes.keys() - own - {one.name for one in job_options()}:
        parse_train(kind, "csnn-torch-train", "", words_of(name, changes[name])[:1])
    flags = kind(given=frozenset(changes), **{name: values[name] for name in own & values.keys()})
    return replace(flags, config=with_options(recipe(name), values))


@functools.cache
def _dataset(settings: DataConfig, model: ModelConfig) -> Dataset:
    cache = "off" if settings.cache is None and data.is_recorded(settings.dataset) else settings.cache
    return data.load_to_train(Config(model, replace(settings, cache=cache)))


def fitted(flags: TrainFlags) -> tuple[Config, Dataset]:
    """The job and its data, as prepared by `training.prepare`."""
    given = flags.config
    like = ModelConfig(given.model.input_shape, time_steps=given.model.time_steps)
    dataset = _dataset(given.data, like)
    data.check_counts(dataset.train.images, given.model)
    config = decided(replace(given, model=data.fit_model(given.model, dataset, flags.given)))
    dataset = data.learned(dataset, config.model)
    data.Augmentation.of(config, dataset.train.images)
    return config, dataset


def refusal(call: Callable[[], object]) -> str | None:
    """The text of the `UserError` that a call raises, without the advice on a command line."""
    try:
        call()
    except UserError as error:
        return re.sub("; (perhaps|see) .*", "", error.args[0])
    return None


@functools.cache
def _network(model: ModelConfig, dtype: str) -> CSNN:
    with jax.enable_x64(dtype == "float64"):
        return models.from_tensors(model, _weights(model), dtype)


def _engine(name: str) -> Target:
    """Asks an engine of csnn_jax.train."""

    def check(question: Question) -> None:
        flags = job({**question.changes, "engine": name})
        assert isinstance(flags, JaxFlags)
        mesh.chosen(flags.devices)
        config, dataset = fitted(flags)
        engine.choose(name, _network(config.model, config.train.dtype), dataset.train.images, question.platform)

    return lambda question: (refusal(lambda: check(question)) or "").removeprefix(f"--engine {name}: ") or None


def _companion(question: Question) -> str | None:
    def check() -> None:
        torch_trainer.named_device(_TORCH_NAMES.get(question.platform, question.platform))
        config, dataset = fitted(job(question.changes, TorchFlags))
        torch_trainer.Trainer(config, dataset.train, _weights(config.model), device="cpu")

    return refusal(check)


def _file(*wanted: Part) -> Target:
    """Asks some parts of a bundle."""

    def check(question: Question) -> None:
        config, dataset = fitted(job(question.changes))
        make.check_images(dataset)
        for part in wanted:
            if reason := part.reason_against(config.model, _weights(config.model)):
                raise UserError(reason)

    return lambda question: refusal(lambda: check(question))


@functools.cache
def _weights(model: ModelConfig) -> Tensors:
    """Weights as after training: learned parameters of neurons differ from their initial values."""
    found = {name: np.ones(shape, np.float32) for name, shape in layouts.expected_shapes(model).items()}
    for neurons in (node.operation for node in model.graph.neurons):
        moved = {f"{neurons.name}.{name}" for name in neurons.learned}
        starts = neurons.initial.items()
        found |= {name: np.float32(0.95 * value if name in moved else value) for name, value in starts}
    return found


TARGETS: dict[str, Target] = {
    "event engine": _engine("event"),
    "scan engine": _engine("scan"),
    "snnTorch": _companion,
    "C": _file(c_program.PART),
    "ONNX": _file(step.PART, sequence.PART),
    **{part.form: _file(part) for part in parts.every() if part.form},
}
"""The columns. Formats that some networks don't support provide their own names."""
