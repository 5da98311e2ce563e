"""The flags of the training command lines (one set for csnn_jax and csnn_torch) and how commands end."""

import errno
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import tyro

from csnn_jax.config import Config, DataConfig, ModelConfig
from csnn_jax.config.checks import check, is_count
from csnn_jax.errors import UserError, first_line, naming_flags, one_line, refusal
from csnn_jax.figures import Figures
from csnn_jax.flag_groups import fill, fill_own, form, plain
from csnn_jax.interrupts import CommandInterrupt, interrupt, leave, terminate
from csnn_jax.neurons import NEURONS
from csnn_jax.recipes import RECIPES, Recipe
from csnn_jax.runs import rundir
from csnn_jax.runs.rundir import RunDir

T = TypeVar("T")


@dataclass(frozen=True)
class TrainFlags:
    """The flags of a training command: what to train, and where the run directory goes."""

    config: Config = field(default_factory=Config)
    recipe: Recipe = "original"
    """A complete job, described in docs/results.md; explicit flags override it. original is the job without flags."""
    out: str | None = None
    """Run directory to create; default: runs/<date-time>."""
    overwrite: bool = False
    """Replace the run in --out."""
    resume: bool = False
    """Continue the interrupted run in --out with its own flags. Only --checkpoint-every, --keep-checkpoints, --cache,
    --figures and --tensorboard can change, and, except with --schedule cosine or --weight-bits below 5, --epochs and
    --max-iters."""
    figures: Figures = "png"
    """pdf: also write the figures as PDF, for papers."""
    seeds: tuple[int, ...] | None = None
    """Train with each of these seeds in turn, each in its own run directory inside --out, and summarize the results;
    default: --seed only."""
    cache: str | None = None
    """Event recordings only: folder in which to cache decoded frames, up to 10 GB; off: no caching; default: the user's
    cache folder."""
    tensorboard: bool = False
    """Also write event files for TensorBoard: loss, accuracy, densities, gradient norms, spike rasters."""

    def __post_init__(self):
        if self.resume and self.overwrite:
            raise UserError("--overwrite: expected no --resume, which continues the run that --overwrite replaces")
        if self.cache == "":
            raise UserError("--cache '': expected a folder, or off")
        if self.seeds is not None:
            check_seeds(self.seeds)

    def run_of(self, seed: int) -> RunDir:
        """The run directory of one of `seeds`; `out` must be set."""
        return RunDir(Path(self.out or "") / f"seed-{seed}")


def check_seeds(seeds: tuple[int, ...]) -> None:
    """Raises UserError if `--seeds` is empty, repeats a seed or has an invalid one."""
    if not seeds:
        raise UserError("--seeds: expected at least one seed")
    check("--seeds", seeds, "each seed once", len(set(seeds)) == len(seeds))
    whole = all(is_count(seed, 0) and seed < 2**63 for seed in seeds)
    check("--seeds", seeds, "whole numbers from 0 to below 2**63", whole)


def parse(kind: type[T], program: str, description: str, arguments: Sequence[str] | None) -> T:
    """Parses the command line into a dataclass with one flag per field.

    Args:
        kind: the dataclass.
        program: the program's name in the help.
        description: the program's description in the help.
        arguments: the command line; None: the process's. `--version` alone prints the version and exits.

    Raises:
        UserError: an unknown flag, an invalid value, or an empty `--out`.
    """
    return _parse(plain(kind), program, description, arguments)


def _parse(
    kind: type[T], program: str, description: str, arguments: Sequence[str] | None, default: T | None = None
) -> T:
    """`parse` for a dataclass with complete help texts; `default` overrides its default values."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if words == ["--version"]:
        print(f"{program} {version('csnn-jax')}")
        sys.exit(0)
    for word in words:
        if "\0" in word:  # only possible from Python
            raise UserError(f"{one_line(word)}: expected no NUL byte")
    # If True may be the default, --no-FLAG is needed too.
    options = (tyro.conf.OmitArgPrefixes, *(() if default else (tyro.conf.FlagCreatePairsOff,)))
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            found = tyro.cli(
                kind,
                prog=program,
                description=description,
                args=words,
                config=options,
                default=tyro.MISSING_NONPROP if default is None else default,
            )
    except SystemExit as end:
        if end.code == 2:  # tyro's; signals have other codes
            raise UserError(f"{refusal(said.getvalue(), words)}; see {program} --help") from None
        raise
    sys.stderr.write(said.getvalue())  # warnings about a valid command line
    if vars(found).get("out") == "":
        raise UserError("--out '': expected a path")
    return found


F = TypeVar("F", bound=TrainFlags)


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
    words = {word.partition("=")[0] for word in (sys.argv[1:] if arguments is None else arguments)}
    asked = form(kind())
    based = bool({"--init-from", "--recipe"} & words)
    filled: Any = _parse(asked, program, description, arguments, asked() if based else None)
    if filled.seeds is not None and "--seed" in words:
        raise UserError(f"--seed {filled.training.seed}: expected no --seeds, which already lists all seeds")
    if filled.resume:
        for name, own in (("--init-from", "weights"), ("--recipe", "flags")):
            if name in words:
                raise UserError(f"--resume: expected no {name}, because the run already has its {own}")
        base = begun(fill_own(kind, filled))
    elif based:
        base = _base(filled, origin)
    if filled.resume or based:
        begins = form(replace(kind(), config=_fitted(base, filled, words)))
        filled = _parse(begins, program, description, arguments, begins())
    flags = fill(kind, filled)
    if "--recipe" in words:
        _check_recipe(flags)
    if "--readout" in words and filled.network.readout != flags.config.model.readout:
        raise UserError("--readout spikes: expected membrane with --output integrator, whose neurons never spike")
    return flags


def _base(filled: Any, origin: Callable[[str], ModelConfig]) -> Config:
    """The job that flags override: --recipe's, with the network of --init-from."""
    config = RECIPES[filled.recipe]
    source = filled.training.init_from
    if source is None:
        return config
    model = replace(origin(source), num_classes=ModelConfig.num_classes)  # set from the data set
    return replace(config, model=model, train=replace(config.train, init="auto"))


def _fitted(base: Config, filled: Any, words: set[str]) -> Config:
    """The job that flags override, without the parameters that the requested neuron or output doesn't have."""
    model = base.model
    if "--neuron" in words and filled.neuron.neuron != model.neuron:
        kind = NEURONS[filled.neuron.neuron]
        lacking = [name for name in model.kind.parameters if name not in kind.parameters]
        values: dict[str, Any] = dict.fromkeys(lacking) | {f"learn_{name}": False for name in lacking}
        wide = tuple(name for name in model.per_channel if name not in lacking)
        model = replace(model, neuron=kind.name, per_channel=wide, **values)
    if "--output" in words and filled.neuron.output == "spiking" and model.output == "integrator":
        model = replace(model, output="spiking", readout="spikes")  # it was membrane only because of the integrator
    return replace(base, model=model)


def _check_recipe(flags: TrainFlags) -> None:
    """Raises UserError if a recipe for MNIST gets other images; the one for recordings accepts any sensor size."""
    recipe = RECIPES[flags.recipe]
    given, made = flags.config.model.input_shape, recipe.model.input_shape
    if given != made and recipe.data.dataset == DataConfig.dataset:
        sizes = ", not ".join("x".join(map(str, shape)) for shape in (made, given))
        raise UserError(f"--recipe {flags.recipe}: is for {sizes} images; expected no --recipe")


_NO_MEMORY = ("RESOURCE_EXHAUSTED", "can't allocate memory")
"""What JAX's and torch's errors say, which are RuntimeErrors."""


def run_command(command: Callable[[], int], arguments: Sequence[str] | None = ()) -> int:
    """Runs a command: a user's mistake prints one line on stderr and exits with code 2; Ctrl-C exits with 130.

    A path that is too long for the system counts as a mistake wherever it is used.

    SIGTERM ends the command like an exception, with exit code 143, so half-made folders are removed. The exit code is
    141, as a shell reports for other programs, if its output is closed early (`| head`).

    Args:
        command: returns the exit code.
        arguments: `main`'s. None: the process is this command, and Ctrl-C ends it without waiting for threads.
    """
    alone = arguments is None
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a path may have characters that an ASCII terminal doesn't
            stream.reconfigure(errors="backslashreplace")
    with _handlers(alone), naming_flags():
        try:
            code = command()
            sys.stdout.flush()
            return code
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python still flushes on exit
            return 141
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        except (MemoryError, RuntimeError) as error:
            if not isinstance(error, MemoryError) and not any(words in str(error) for words in _NO_MEMORY):
                raise
            print(f"error: not enough memory: {one_line(first_line(error), 200)}", file=sys.stderr)
            return 2
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            print(f"error: {one_line(str(error.filename))}: expected a shorter path", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            if alone:
                leave()
            print("interrupted", file=sys.stderr)
            return 130


@contextmanager
def _handlers(alone: bool) -> Iterator[None]:
    """Handles SIGTERM and, in the command's own process, Ctrl-C; restores the caller's handlers at the end."""
    handlers: dict[int, Callable] = {signal.SIGTERM: terminate}
    if alone:
        handlers[signal.SIGINT] = CommandInterrupt()
    elif signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        handlers[signal.SIGINT] = interrupt
    if threading.current_thread() is not threading.main_thread():
        handlers = {}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
