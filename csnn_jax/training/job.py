"""A training job from flags to a run directory, the same for every framework.

The framework is behind `loop.Learner`.
"""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from csnn_jax import data, interrupts
from csnn_jax.config import Config, auto, decided
from csnn_jax.config.checks import flag_of
from csnn_jax.errors import UserError
from csnn_jax.flags import TrainFlags
from csnn_jax.runs import plots, rundir, tensorboard
from csnn_jax.runs.rundir import RunDir
from csnn_jax.training import checkpoint, initial
from csnn_jax.training.loop import Learner, Loop, sample
from csnn_jax.training.plan import iterations, learning_rates
from csnn_jax.training.profile import Profile, Tracer, check_profile

PICTURES = ("accuracy.png", "spikes.png")
"""What `Loop.plots` makes."""

LENGTH: tuple[str, ...] = ("epochs", "max_iters")
"""What sets the number of iterations, and may change on resuming where the learning rates don't depend on it."""

KEPT: tuple[str, ...] = ("checkpoint_every", "keep_checkpoints")
"""What changes no result, and may always change on resuming."""


def train(flags: TrainFlags, make_learner: Callable[[Config, data.Split], Learner], tracer: Tracer) -> int:
    """Runs the job. Returns the exit code: 0, or 128 + the signal that interrupted it (130 for Ctrl-C).

    Args:
        flags: of one run; `seeds` are `seeds.train`'s affair.
        make_learner: the framework's learner.
        tracer: the framework's profiler, for `--profile`.

    Raises:
        UserError: bad flags or files, a full disk, or a loss that is no longer finite.
    """
    if flags.show:
        plots.require_window()
    if flags.tensorboard:
        tensorboard.require()
    dataset = data.load(flags.config.data.dataset, flags.config.model.input_shape, flags.config.data.validation)
    asked = replace(flags.config, model=data.fit_model(flags.config.model, dataset))
    config = decided(asked)
    data.epoch_batches(config.train.seed, 0, len(dataset.train.labels), config.train.batch_size)  # checks the size
    rates = learning_rates(config.train, iterations(config.train, len(dataset.train.labels)))  # checks the warm-up
    check_profile(flags.profile, len(rates))
    learner = make_learner(config, dataset.train)  # before the directory: it may refuse the configuration
    if flags.resume:
        run = RunDir(Path(flags.out or ""))
        check_same_job(run, config, dataset)
    else:
        run = rundir.create(flags.out, config, flags.overwrite)
    with run.claimed(), interrupts.collected() as caught:
        start = resumed(run, config, learner, dataset) if flags.resume else 0
        _introduce(dataset, config, learner, run, start)
        if not flags.resume:
            _tell_start(asked, config, learner)
        if flags.tensorboard:
            run = tensorboard.follow(run, start, rates, lambda: plots.raster(*sample(config, dataset, learner)))
        profile = Profile(flags.profile, tracer, run.path / "profile") if flags.profile else None
        loop = Loop(config, dataset, learner, run, lambda: not caught, profile)
        ended = start if run.finished and start == loop.total else loop.run(start)
        loop.plots()
    if caught:
        print(f"Interrupted after {ended} iterations; weights and metrics are in {run.path}", flush=True)
        return 128 + caught[0]
    if flags.show:
        plots.show(run)
    return 0


def resumed(run: RunDir, config: Config, learner: Learner, dataset: data.Dataset) -> int:
    """Makes a run ready to go on; the iterations that it has done.

    A finished run may get more iterations, or the pictures that it was killed before.

    Args:
        run: as it was left.
        config: the job; as the run was started but for what `check_same_job` allows.
        learner: takes over the training state.
        dataset: its images.

    Raises:
        UserError: nothing is left to do, or fewer iterations are asked for than were done. The run is as it was.
    """
    run.sweep()
    start, state = checkpoint.restore(run.checkpoints, learner.snapshot())
    total = iterations(config.train, len(dataset.train.labels))
    if start > total:
        limited = config.train.max_iters == total
        flag = f"--max-iters {total}" if limited else f"--epochs {config.train.epochs}"
        raise UserError(f"{flag}: {run.path} has done {start} iterations already; expected at least as many")
    if start < total or not run.finished:
        rundir.write_config(run, config)
        run.truncate_records(start)
        checkpoint.drop_after(run.checkpoints, start)
    elif all((run.path / name).exists() for name in PICTURES):
        more = "expected more iterations, by --epochs or --max-iters"
        if config.train.schedule == "cosine":
            more = "its learning rate has come down to 0"
        raise UserError(f"--resume: {run.path} is finished; {more}")
    learner.restore(state)
    return start


def check_same_job(run: RunDir, config: Config, dataset: data.Dataset) -> None:
    """Whether a run can go on with a job.

    Raises:
        UserError: a flag that may not change; names it.
    """
    before = run.config()
    before = replace(before, model=data.fit_model(before.model, dataset))  # 0.1.0 kept no steps of the data's own
    check_same(run, before, config)


def check_same(run: RunDir, before: Config, config: Config) -> None:
    """`check_same_job`, of a run that was started with `before`."""
    changeable, kept = (*LENGTH, *KEPT), " and ".join(map(flag_of, KEPT))
    allowed = f"only change {', '.join(map(flag_of, LENGTH))}, {kept}"
    if before.train.schedule == "cosine":
        changeable = KEPT
        allowed = f"only change {kept}, for a cosine schedule depends on the number of iterations"
    for part, values in asdict(config).items():
        for name, now in values.items():
            then = getattr(getattr(before, part), name)
            if now != then and name not in changeable:
                raise UserError(
                    f"{flag_of(name)}: {run.path} was started with {then}, not {now}; --resume can {allowed}"
                )


def _introduce(dataset: data.Dataset, config: Config, learner: Learner, run: RunDir, start: int) -> None:
    held_out = f", {len(dataset.validation.labels)} held out" if dataset.validation else ""
    print(
        f"Data: {dataset.name}, {len(dataset.train.labels)} training{held_out} and {len(dataset.test.labels)} test "
        f"images, {config.model.num_classes} classes"
    )
    for note in dataset.notes:
        print(f"Data: {note}")
    if dataset.frames:
        print(f"Data: {dataset.frames} frames an example, one at each time step")
    if config.model.pixel_scale != dataset.scale:
        print(f"Data: pixel values are divided by {config.model.pixel_scale:g}, not {dataset.scale:g}")
    print(f"Runs on: {learner.describe()}")
    print(f"Run directory: {run.path}" + (f", resumed after {start} iterations" if start else ""), flush=True)


def _tell_start(asked: Config, config: Config, learner: Learner) -> None:
    """What `auto` stands for, and what became of the initial weights, where they are not the original recipe's."""
    if chosen := auto.told(asked, config):
        print(f"Chosen for this stack: {chosen}")
    if made := initial.told(learner.start, config):
        print(made, flush=True)
