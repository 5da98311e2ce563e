"""A bundle verifies wherever it was made: with other threads, on one core, with older instruction sets."""

import itertools
import os
from pathlib import Path

import pytest
from bundles import SMALL, make_run
from commands import ENVIRONMENT, run
from once import once

ONE_THREAD = {"OMP_NUM_THREADS": "1"}
OLD = {"ONEDNN_MAX_CPU_ISA": "SSE41", "ATEN_CPU_CAPABILITY": "default"}
PLACES = {"as is": {}, "one thread": ONE_THREAD, "one core": {}, "old instructions": OLD}
SLOW = [("as is", "one thread"), ("one thread", "old instructions"), ("old instructions", "as is")]
"""Pairs (made, verified) that `.ci/run` tries; the others are rare."""


def run_at(place: str, module: str, *arguments: object):
    """Runs a command there. Torch's threads follow OMP_NUM_THREADS, those of XLA and ONNX Runtime the cores."""
    cores, settings = os.sched_getaffinity(0), PLACES[place]
    if place == "one core":
        os.sched_setaffinity(0, {min(cores)})  # the process inherits it
    try:
        return run(module, *arguments, env=ENVIRONMENT | settings)
    finally:
        os.sched_setaffinity(0, cores)


def made_at(factory: pytest.TempPathFactory, place: str) -> Path:
    """A bundle of `SMALL` that was made there."""

    def make(folder: Path) -> None:
        done = run_at(place, "export", make_run(folder / "run", SMALL), "--out", folder / "bundle", "--quick")
        assert done.returncode == 0, done

    return once(factory, f"made-{place.replace(' ', '-')}", make) / "bundle"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("made", "verified"),
    [
        pytest.param(*pair, marks=() if pair in SLOW else pytest.mark.rare)
        for pair in itertools.product(PLACES, repeat=2)
    ],
)
def test_a_bundle_is_ok_wherever_it_was_made(made, verified, tmp_path_factory):
    done = run_at(verified, "export.verify", made_at(tmp_path_factory, made))
    assert (done.returncode, done.stderr) == (0, ""), done
    assert done.stdout.splitlines()[-1] == "all ok"
