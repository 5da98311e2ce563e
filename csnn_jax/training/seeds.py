"""`--seeds`: runs the same job for several seeds, one after another, and summarizes their accuracies."""

import json
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from csnn_jax import interrupts
from csnn_jax.config import Config, decided
from csnn_jax.errors import UserError
from csnn_jax.files import write_atomic
from csnn_jax.flags import TrainFlags
from csnn_jax.runs import checkpoints, rundir
from csnn_jax.runs.rundir import RunDir
from csnn_jax.training import job
from csnn_jax.training.prepare import MakeTrainer, prepare


def train(flags: TrainFlags, make: MakeTrainer) -> int:
    """Trains each of `flags.seeds` as `job.train` does, in `<out>/seed-<N>`, and writes `<out>/summary.json`.

    With `--resume`, finished runs are kept, interrupted ones continue, and missing ones are trained.

    Returns:
        The exit code: 0, or 128 + the signal that interrupted it.

    Raises:
        UserError: as in `prepare` and `job.train`, or as in `check_folder`. Earlier seeds are kept.
    """
    fresh, runs = flags.out is None, {}
    try:
        if fresh:
            with interrupts.collected() as caught:  # a signal waits until the name of the folder is known
                flags = replace(flags, out=str(rundir.fresh()))
            if caught:
                return 128 + caught[0]
        folder = Path(flags.out or "")
        runs = {seed: flags.run_of(seed) for seed in flags.seeds or ()}
        check_folder(folder, flags, runs)
        for number, (seed, run) in enumerate(runs.items(), 1):
            alone = of_seed(flags, seed)
            done = is_done(run, alone)
            print(f"Seed {seed} ({number} of {len(runs)})" + (": already finished" if done else ""), flush=True)
            if not done and (code := job.train(prepare(alone, make))):
                return code
    finally:
        if any(run.path.exists() for run in runs.values()):
            runs |= _others(folder, flags)
            write_atomic(folder / "summary.json", (json.dumps(summary(runs), indent=2) + "\n").encode())
        elif fresh and flags.out:
            with suppress(OSError):
                os.removedirs(flags.out)
    print(table(summary(runs)), flush=True)
    return 0


def check_folder(folder: Path, flags: TrainFlags, runs: dict[int, RunDir]) -> None:
    """Checks all the runs before training the first.

    Raises:
        UserError: the folder is itself a run, a seed's run already exists, or a run to resume has different flags.
    """
    if (folder / "config.json").exists():
        raise UserError(f"--out {folder}: is itself a run; expected a folder for the runs of --seeds")
    for seed, run in runs.items():
        if flags.resume and (run.path / "config.json").exists():
            job.check_same_job(run, decided(_config(flags, seed)))
        else:
            rundir.check_out(str(run.path), flags.overwrite)


def of_seed(flags: TrainFlags, seed: int) -> TrainFlags:
    """The flags of one seed's run, as if it were trained alone."""
    run = flags.run_of(seed)
    alone = replace(flags, seeds=None, out=str(run.path), config=_config(flags, seed))
    if not flags.resume or checkpoints.numbers(run.checkpoints):
        return alone
    # It has no checkpoint, only records of lost iterations.
    return replace(alone, resume=False, overwrite=(run.path / "config.json").exists())


def is_done(run: RunDir, flags: TrainFlags) -> bool:
    """Whether a run to resume is already finished, with the requested iterations and all figures."""
    drawn = all((run.path / name).exists() for name in job.figure_files(flags.figures))
    if not (flags.resume and run.finished and drawn):
        return False
    return run.config().train == decided(flags.config).train


def _others(folder: Path, flags: TrainFlags) -> dict[int, RunDir]:
    """The runs of the same job, as long as this one, with other seeds that a folder already has."""
    others = {}
    for path in sorted(folder.glob("seed-*")):
        if (number := path.name.removeprefix("seed-")).isdecimal() and int(number) not in (flags.seeds or ()):
            with suppress(UserError):
                run, config = flags.run_of(int(number)), decided(_config(flags, int(number)))
                job.check_same_job(run, config)
                if all(getattr(run.config().train, name) == getattr(config.train, name) for name in job.LENGTH):
                    others[int(number)] = run
    return others


def summary(runs: dict[int, RunDir]) -> dict[str, Any]:
    """Contents of summary.json: each seed's final test accuracy, None until it's finished; mean and deviation.

    Without test images, `split` is "validation", as in the runs' last records.
    The standard deviation is the sample's, with n - 1; None for fewer than two seeds.
    """
    accuracies = {seed: run.end["accuracy"] if run.end else None for seed, run in runs.items()}
    known = [accuracy for accuracy in accuracies.values() if accuracy is not None]
    listed = [{"seed": seed, "run": run.path.name, "accuracy": accuracies[seed]} for seed, run in runs.items()]
    held_out = any(run.final_split != "test" for run in runs.values())
    return {
        "runs": listed,
        **({"split": "validation"} if held_out else {}),
        "finished": len(known),
        "mean": mean(known) if known else None,
        "standard_deviation": stdev(known) if len(known) > 1 else None,
    }


def table(results: dict[str, Any]) -> str:
    """A summary of finished runs for the terminal."""
    lines = [f"Seed {run['seed']}: {run['accuracy']:.2%}" for run in results["runs"] if run["accuracy"] is not None]
    spread = (
        "" if results["standard_deviation"] is None else f", standard deviation {results['standard_deviation']:.2%}"
    )
    what = f"Mean {results.get('split', 'test').capitalize()} Accuracy"
    count = f"{results['finished']} seed{'s' * (results['finished'] != 1)}"
    return "\n".join([*lines, f"{what}: {results['mean']:.2%}{spread} ({count})"])


def _config(flags: TrainFlags, seed: int) -> Config:
    return replace(flags.config, train=replace(flags.config.train, seed=seed))
