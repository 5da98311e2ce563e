"""Trains a prepared job into a run directory. The framework is behind `trainer.Trainer`."""

import shlex
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from csnn_jax import data, interrupts
from csnn_jax.config import NEVER, Config
from csnn_jax.config.job import auto_summary, microbatch_summary
from csnn_jax.errors import UserError
from csnn_jax.figures import Figures, accuracy, spikes, style
from csnn_jax.flags import job_words, values_of
from csnn_jax.initial import start as initial
from csnn_jax.options import as_values, flag_of, show
from csnn_jax.progress import Progress
from csnn_jax.recipes import RECIPES
from csnn_jax.runs import checkpoints, rundir
from csnn_jax.runs.rundir import RunDir
from csnn_jax.training.checkpoint_writer import CheckpointWriter
from csnn_jax.training.journal import Journal
from csnn_jax.training.loop import Diverged, Evaluated, Finished, Interrupted, Loop, watched_split
from csnn_jax.training.plan import iterations
from csnn_jax.training.processes import Beginning, Processes, SingleProcess
from csnn_jax.training.trainer import Job

LENGTH: tuple[str, ...] = ("epochs", "max_iters")
"""Fields that set the number of iterations; resuming may change them if the learning rates don't depend on it."""

ALWAYS_CHANGEABLE: tuple[str, ...] = ("checkpoint_every", "keep_checkpoints", "cache")
"""Fields that don't affect results; resuming may always change them."""


FRESH = Beginning(0, unfinished=True, unevaluated=True, state=None)
"""A job before its first iteration."""


def train(job: Job, processes: Processes | None = None) -> int:
    """Runs a job. Returns the exit code: 0, or 128 + the signal that interrupted it (130 for Ctrl-C).

    If there are several processes, each runs it; only the first one prints and writes.

    Args:
        job: the job.
        processes: the processes of the job; None: only this one.

    Raises:
        UserError: a directory that can't be used, a full disk, or a loss that is no longer finite.
    """
    processes = processes or SingleProcess()
    processes.check_same(lambda: _facts(job))
    with ExitStack() as held, interrupts.collected() as caught:
        opened: list[RunDir] = []
        begun = processes.broadcast(
            lambda: _begun(job, held, opened), lambda begun: begun.to_bytes(job.trainer.snapshot), Beginning.of
        )
        if begun.state is not None:
            job.trainer.restore(begun.state)

        def go_on() -> bool:
            return not processes.maximum(caught[0] if caught else 0)

        if opened:
            print("\n".join(_introduction(job, opened[0], begun.done)), flush=True)
            ended = train_into(job, opened[0], begun, go_on) if begun.unfinished else begun.done
            _draw(job, opened[0])
        else:
            ended = _follow(job, begun, go_on)
        signal = processes.maximum(caught[0] if caught else 0)
    if signal and opened:
        path = opened[0].path
        if opened[0].finished:
            print(f"Interrupted, but the run in {path} was already finished", flush=True)
            return 128 + signal
        print(f"Interrupted after {ended} iteration{'s' * (ended != 1)}; weights and metrics are in {path}")
        less = [flag_of(name) for name in ("recipe", "init_from", "overwrite") if name in job.flags.given]
        without = f", without {' and '.join(less)}" if less else ""
        out = "" if "out" in job.flags.given else f" --out {shlex.quote(str(path))}"
        print(f"To continue, add --resume{out} to the same command{without}", flush=True)
    return 128 + signal if signal else 0


def train_into(job: Job, run: RunDir, begun: Beginning, go_on: Callable[[], bool]) -> int:
    """Runs the remaining iterations, prints and records what happens, and saves checkpoints; returns those done."""
    ended, closed = begun.done, list[BrokenPipeError]()
    if job.flags.tensorboard:
        from csnn_jax.runs import tensorboard

        run = tensorboard.follow(run, begun.done, job.rates, lambda: style.png(spikes.draw(_sample(job))))
    with (
        Progress(len(job.rates), begun.done, job.config.train.batch_size) as progress,
        CheckpointWriter(job.config, job.trainer, run) as save,
    ):
        loop = Loop(job, lambda: go_on() and not closed, progress.batch)
        record = Journal(job, run, loop.summarize_neurons, progress.line, progress.step)
        if begun.done:
            record.health.resume()
        try:
            with closing(loop.events(begun.done, begun.unevaluated)) as events:
                for event in events:
                    ended = event.done if isinstance(event, Finished | Interrupted) else ended
                    # A checkpoint needs the records before it, and the last record the files before it.
                    handlers = (record, save) if isinstance(event, Evaluated) else (save, record)
                    for handle in handlers:
                        try:
                            handle(event)
                        except BrokenPipeError as error:  # nobody reads the output; see command.run_command
                            closed.append(error)
                            progress.mute()
        except Diverged as error:
            job.trainer.roll_back()
            save.keep_weights()
            where = f"; the weights before the latest update are in {run.weights}"
            raise Diverged(error.iteration, f"{where}; try a smaller --lr (now {job.config.train.lr})") from None
    if closed:
        raise closed[0]
    return ended


def _follow(job: Job, begun: Beginning, go_on: Callable[[], bool]) -> int:
    """`train_into` in a process that writes nothing."""
    loop, ended = Loop(job, go_on), begun.done
    for event in loop.events(begun.done, begun.unevaluated) if begun.unfinished else ():
        ended = event.done if isinstance(event, Finished | Interrupted) else ended
    return ended


def _begun(job: Job, held: ExitStack, opened: list[RunDir]) -> Beginning:
    """Creates or reads the run directory, and claims it until `held` closes."""
    if job.flags.resume:
        run = RunDir(Path(job.flags.out or ""))
        check_same_job(run, job.config)
    else:
        run = rundir.create(job.flags.out, job.config, job.flags.overwrite)
    held.enter_context(run.claimed())
    if not job.flags.resume:
        held.enter_context(rundir.removed_if_failed(run))
    begun = resumed(job, run) if job.flags.resume else FRESH
    opened.append(run)
    return begun


def resumed(job: Job, run: RunDir) -> Beginning:
    """Prepares a run to be resumed.

    A finished run may get more iterations, or figures that it was killed before drawing.

    Args:
        job: the job; it differs from the run's only where `check_same_job` allows.
        run: the run.

    Raises:
        UserError: nothing is left to do, or fewer iterations are requested than are done. The run is unchanged.
    """
    run.sweep()
    start, state = checkpoints.restore(run.checkpoints, job.trainer.snapshot())
    config, images, total = job.config, len(job.dataset.train.labels), len(job.rates)
    if start > total:
        limited = config.train.max_iters == total
        flag = f"--max-iters {total}" if limited else f"--epochs {config.train.epochs}"
        raise UserError(f"{flag}: {run.path} has already done {start} iterations; expected at least that many")
    is_open = start < total or not run.finished
    if is_open:
        rundir.write_config(run, config)
        run.truncate_records(start)
        checkpoints.drop_after(run.checkpoints, start)
    elif all((run.path / name).exists() for name in figure_files(job.flags.figures)):
        whole = iterations(replace(config.train, max_iters=None), images)
        more = f"expected a larger --{'epochs' if start == whole else 'max-iters'}"
        if config.train.schedule == "cosine":
            more = "its learning rate has decayed to 0"
        raise UserError(f"--resume: {run.path} is finished; {more}")
    measured = {record["iter"] for record in run.records(watched_split(job.dataset)[0])}
    return Beginning(start, is_open, start not in measured, state)


def _facts(job: Job) -> dict[str, str]:
    """The settings and digests that all processes must have in common, by flag or name."""
    parts = as_values(job.config).values()
    facts = {flag_of(name): repr(value) for values in parts for name, value in values.items() if name != "cache"}
    facts |= {"--resume": str(job.flags.resume), "the version of csnn-jax": version("csnn-jax")}
    for name in ("train", "test"):
        facts[f"the {name} images"] = data.digest(getattr(job.dataset, name))
    return facts


def check_same_job(run: RunDir, config: Config) -> None:
    """Checks that a job can resume a run.

    Raises:
        UserError: a flag differs that can't change; the message names it.
    """
    before = run.config()
    changeable, always = (
        (*LENGTH, *ALWAYS_CHANGEABLE),
        f"{', '.join(map(flag_of, ALWAYS_CHANGEABLE))}, --figures and --tensorboard",
    )
    allowed = f"only change {', '.join(map(flag_of, LENGTH))}, {always}"
    tied = "with --schedule cosine, training depends" if before.train.schedule == "cosine" else ""
    if any(node.grid.chosen for node in before.model.graph.weighted):
        tied = "with --weight-bits below 5, training depends"
    if tied:
        changeable, allowed = ALWAYS_CHANGEABLE, f"only change {always}"
    data.check_names(config.data.dataset, config.data.classes, before.data.classes)
    for name, now in values_of(config).items():
        then = values_of(before)[name]
        if now != then and name not in changeable:
            other = "other nodes" if name == "network" else f"{show(then)}, not {show(now)}"
            why = f", because {tied} on the number of iterations" if tied and name in LENGTH else ""
            raise UserError(f"{flag_of(name)}: {run.path} was started with {other}; --resume can {allowed}{why}")


def _introduction(job: Job, run: RunDir, start: int) -> Iterator[str]:
    """The lines before a job's first iteration: `introduced`, the run, the recipe's flags with the job's values."""
    yield from introduced(job)
    if job.flags.resume:
        yield f"Run directory: {run.path}, resumed after {start} iteration{'s' * (start != 1)}"
        return
    yield f"Run directory: {run.path}"
    if job.flags.recipe:
        asked = job_words(RECIPES[job.flags.recipe], used=job.asked)
        yield f"Recipe: {job.flags.recipe}, {' '.join(asked)}"
    yield from chosen(job)


def introduced(job: Job) -> Iterator[str]:
    """The lines that describe a job's data, and what it runs on."""
    config, dataset, total = job.config, job.dataset, len(job.rates)
    most = config.train.max_iters
    parts = [f"{len(dataset.train.labels)} training", f"{len(dataset.test.labels)} {dataset.final}"]
    if dataset.validation and dataset.final == "test":
        parts[0] += f", {len(dataset.validation.labels)} held out"
    yield f"Data: {dataset.name}, {' and '.join(parts)} images, {config.model.num_classes} classes"
    for note in dataset.notes:
        yield f"Data: {note}"
    if dataset.frames:
        yield f"Data: {dataset.frames} frames per example, one per time step"
    scale, usual = config.model.pixels.scale, dataset.pixels.scale
    if scale != usual and config.model.pixels.are_bytes:
        yield f"Data: pixel values are divided by {scale:g}, not {usual:g}"
    if most is not None and most > total:
        yield f"Ends after {total} iterations, because --epochs {config.train.epochs} ends before --max-iters {most}"
    yield f"Runs on: {job.trainer.describe()}"


def chosen(job: Job) -> Iterator[str]:
    """The lines that say what `auto` chose, and where the weights come from."""
    if flags := auto_summary(job.asked, job.config):
        yield f"Chosen for this network: {flags}"
    if parts := microbatch_summary(job.asked, job.config):
        yield f"Micro-batches: {parts}"
    if weights := initial.summary(job.trainer.start, job.config):
        yield weights


def figure_files(figures: Figures) -> tuple[str, ...]:
    """The figure files of a finished run: the accuracy over time, and the neurons' response to one image."""
    return (*style.files("accuracy", figures), *style.files("spikes", figures))


def _draw(job: Job, run: RunDir) -> None:
    style.save(accuracy.draw(run), run.path, "accuracy", job.flags.figures)
    style.save(spikes.draw(_sample(job)), run.path, "spikes", job.flags.figures)


def _sample(job: Job) -> spikes.Sample:
    """The first image of the final evaluation, and the network's current response to it."""
    config, dataset = job.config, job.dataset
    image, label = dataset.test.images[:1], int(dataset.test.labels[0])
    trace = job.trainer.trace(image).map(lambda layer: layer[:, 0])
    membranes, fired = list(trace.membranes.values()), list(trace.spikes.values())
    thresholds = [None if value == NEVER else value for value in config.model.thresholds]
    names = None if config.model.network is None else list(trace.membranes)
    return spikes.Sample(image[0], label, membranes, fired, thresholds, config.class_names, dataset.final, names)
