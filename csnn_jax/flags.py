"""The flags of commands, above all of the training commands: one set for csnn_jax and csnn_torch."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from csnn_jax.config import Config, DataConfig, ModelConfig, TrainConfig
from csnn_jax.config.job import SEED
from csnn_jax.config.network import IN_NODES
from csnn_jax.errors import UserError
from csnn_jax.figures import Figures
from csnn_jax.neurons import NEURONS
from csnn_jax.options import Option, Options, Rule, option, options_of, show, words_of
from csnn_jax.options.kinds import SWITCH, choice, several, text
from csnn_jax.options.parser import given_options
from csnn_jax.recipes import RECIPES, recipe
from csnn_jax.runs import rundir
from csnn_jax.runs.rundir import RunDir

GROUPS = {
    "data": "The data set, and how images become the network's input.",
    "network": "The layers, and the number of time steps.",
    "neuron": "The neurons of the layers. docs/design.md has the equations.",
    "training": "Duration, initial weights, evaluations, checkpoints and engine.",
    "optimization": "The loss and the optimizer. docs/optimization.md has the formulas.",
}
"""The groups of a job's options in the order of the help, and the heading of each."""
OF_CHAINS = ("num_classes", *IN_NODES)
"""Options that a network of nodes doesn't have."""
PARTS: dict[str, type] = {"data": DataConfig, "model": ModelConfig, "train": TrainConfig}
"""The parts of a job, by their field of `Config`."""


@dataclass(frozen=True)
class Flags(Options):
    """The base of dataclasses for the flags of a command.

    Attributes:
        given: names of the options on the command line, even those with their default value.
    """

    given: frozenset[str] = field(default=frozenset(), kw_only=True)


@dataclass(frozen=True)
class TrainFlags(Flags):
    """The flags of a training command: what to train, and where the run directory goes.

    Attributes:
        config: the job.
    """

    config: Config = field(default_factory=Config)
    # fmt: off
    recipe: str | None = option(None, choice(RECIPES), """
        A complete job, described in docs/results.md; explicit flags override it. original has the settings of
        snnTorch's tutorial. Default: none.""")
    out: str | None = option(None, text("a path", metavar="DIR"), """
        Run directory to create; default: runs/<date-time>.""")
    overwrite: bool = option(False, SWITCH, "Replace the run in --out.")
    resume: bool = option(False, SWITCH, """
        Continue the interrupted run in --out with its own flags. Only --checkpoint-every, --keep-checkpoints, --cache,
        --figures and --tensorboard can change, and, with --schedule constant and --weight-bits above 4, --epochs and
        --max-iters. A folder in --cache has to be given again.""")
    figures: Figures = option("png", choice(Figures), "pdf: also write the figures as PDF, for papers.")
    seeds: tuple[int, ...] | None = option(None, several(SEED, least=1, distinct=True), """
        Train with each of these seeds in turn, each in its own run directory inside --out, and summarize the results;
        default: --seed only.""")
    tensorboard: bool = option(False, SWITCH, """
        Also write event files for TensorBoard: loss, accuracy, densities, gradient norms, spike rasters.""")
    # fmt: on

    RULES: ClassVar[Sequence[Rule]] = (
        Rule(
            "overwrite",
            "no --resume, which continues the run that --overwrite replaces",
            lambda flags: not (flags.resume and flags.overwrite),
        ),
    )

    def run_of(self, seed: int) -> RunDir:
        """The run directory of one of `seeds`; `out` must be set."""
        return RunDir(Path(self.out or "") / f"seed-{seed}")


T = TypeVar("T", bound=Flags)
F = TypeVar("F", bound=TrainFlags)


def parse(kind: type[T], program: str, description: str, arguments: Sequence[str] | None) -> T:
    """Parses the command line into a dataclass of options.

    Args:
        kind: the dataclass.
        program: the program's name in the help.
        description: the program's description in the help.
        arguments: the command line; None: the process's.

    Raises:
        UserError: an unknown flag, or a missing or invalid value.
    """
    given = given_options(options_of(kind), program, description, arguments)
    return kind(given=frozenset(given), **given)


def job_options() -> tuple[Option, ...]:
    """The options of a job that have flags, in the order of the help."""
    return tuple(declared for part in PARTS.values() for declared in options_of(part) if declared.has_flag)


def values_of(config: Config) -> dict[str, Any]:
    """The value of each of a job's options that have a flag and apply to its network, by name."""
    return {
        declared.name: getattr(getattr(config, part), declared.name)
        for part, kind in PARTS.items()
        for declared in options_of(kind)
        if declared.has_flag and (config.model.network is None or declared.name not in OF_CHAINS)
    }


def with_options(config: Config, values: Mapping[str, Any]) -> Config:
    """A job with some of its options changed; ignores options that aren't a job's."""
    parts = {}
    for name, kind in PARTS.items():
        changes = {declared.name: values[declared.name] for declared in options_of(kind) if declared.name in values}
        parts[name] = replace(getattr(config, name), **changes)
    return Config(**parts)


def checkpoint_option() -> Any:
    """The option of commands that read a run."""
    return option(
        None,
        text("best, last, or a number of iterations"),
        """Use the weights of this checkpoint: best (on the images held out with --validation), last, or its number of
        iterations; default: the run's weights.""",
    )


def begun(flags: TrainFlags) -> Config:
    """The job of the run to resume; with several seeds, the first run that exists.

    Raises:
        UserError: --resume without --out, or no run there.
    """
    if flags.out is None:
        raise UserError("--resume: expected --out with the run directory to continue")
    if flags.seeds is None:
        return RunDir(Path(flags.out)).config()
    runs = [run for run in map(flags.run_of, flags.seeds) if (run.path / "config.json").exists()]
    if not runs:
        names = ", ".join(flags.run_of(seed).path.name for seed in flags.seeds)
        raise UserError(f"--resume: {flags.out} has no run for these seeds yet; expected one of {names}")
    return runs[0].config()


def parse_train(
    kind: type[F],
    program: str,
    description: str,
    arguments: Sequence[str] | None,
    begun: Callable[[F], Config] = begun,
    origin: Callable[[str], ModelConfig] = lambda path: rundir.origin(path)[0],
) -> F:
    """`parse` for a training command: flags default to the values of --recipe and --init-from.

    With --resume, they default to the run's.

    Args:
        kind: the dataclass.
        program: the program's name in the help.
        description: the program's description in the help.
        arguments: the command line; None: the process's.
        begun: reads the job of the run to resume.
        origin: reads the network that --init-from names.

    Raises:
        UserError: --resume without --out, or no run there; --seed with --seeds; a recipe for other images.
    """
    job, source = job_options(), None
    given = given_options((*options_of(kind), *job), program, description, arguments, GROUPS)
    values = {name: given[name] for name in given.keys() & {declared.name for declared in job}}
    flags = kind(given=frozenset(given), **{name: given[name] for name in given.keys() - values.keys()})
    if flags.seeds is not None and "seed" in given:
        raise UserError(f"--seed {given['seed']}: expected no --seeds, which already lists all seeds")
    if flags.resume:
        for name, part in (("init_from", "weights"), ("recipe", "flags")):
            if name in given:
                flag = f"--{name.replace('_', '-')}"
                raise UserError(f"--resume: expected no {flag}, because the run already has its {part}")
        base = begun(flags)
        if base.data.cache not in (None, "off") and "cache" not in given:
            # A run can come from anyone, so it doesn't say where to write.
            started = f"{flags.out} was started with --cache {show(base.data.cache)}"
            raise UserError(f"--resume: expected --cache, because {started}")
    else:
        base, source = recipe(flags.recipe), given.get("init_from")
        if source is not None:
            model = replace(origin(source), num_classes=ModelConfig.num_classes)  # set from the data set
            base = replace(base, model=model, train=replace(base.train, init="auto"))
    if "network" in given or base.model.network is not None:
        for name in (name for name in OF_CHAINS if name in given):
            where = "" if "network" in given else f"; {flags.out if flags.resume else source} has one"
            words = shlex.join(words_of(name, given[name]))
            raise UserError(f"{words}: expected no --network, whose nodes determine it{where}")
    config = with_options(_fitted(base, given), values)
    size, own = config.model.input_shape, recipe(flags.recipe)
    for_mnist = "recipe" in given and own.data.dataset == DataConfig.dataset  # the others accept any sensor's size
    if for_mnist and size != own.model.input_shape:
        sizes = ("x".join(map(str, shape)) for shape in (own.model.input_shape, size))
        raise UserError(f"--recipe {flags.recipe}: is for {', not '.join(sizes)} images; expected no --recipe")
    if given.get("readout") not in (None, config.model.readout):
        raise UserError("--readout spikes: expected membrane with --output integrator, whose neurons never spike")
    return replace(flags, config=config)


def _fitted(base: Config, given: Mapping[str, Any]) -> Config:
    """The job that flags override, without the parameters that the requested neuron or output doesn't have."""
    model = base.model
    if "network" in given:
        model = replace(model, network=given["network"], **{name: getattr(ModelConfig, name) for name in IN_NODES})
    if (name := given.get("neuron", model.neuron)) != model.neuron:
        kind = NEURONS[name]
        lacking = [name for name in model.kind.parameters if name not in kind.parameters]
        values: dict[str, Any] = dict.fromkeys(lacking) | {f"learn_{name}": False for name in lacking}
        wide = tuple(name for name in model.per_channel if name not in lacking)
        model = replace(model, neuron=kind.name, per_channel=wide, **values)
    if given.get("output") == "spiking" and model.output == "integrator":
        model = replace(model, output="spiking", readout="spikes")  # it was membrane only because of the integrator
    return replace(base, model=model)


def job_words(config: Config, used: Config | None = None) -> list[str]:
    """The words of a command line that turn the default job into another.

    Args:
        config: the job.
        used: the job whose values the flags get, which may differ from `config`; None: `config`.
    """
    before, values = values_of(Config()), values_of(used or config)
    changed = [name for name, value in values_of(config).items() if value != before.get(name) and name in values]
    return [word for name in changed for word in words_of(name, values[name])]
