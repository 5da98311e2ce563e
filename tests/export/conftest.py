"""Bundles that several test modules look at; each is made once."""

from pathlib import Path

import pytest
from bundles import SMALL, SPIKES, make_bundle
from commands import run
from idx_files import write_folder
from once import once

from csnn_jax import data


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A run trained and exported by the command lines: (bundle, what the export printed)."""

    def make(folder: Path) -> None:
        stack = ("--conv-channels", 4, "--hidden", 24, "--time-steps", 8)
        done = run("csnn_jax.train", *stack, "--max-iters", 60, "--eval-every", 0, "--out", folder / "run")
        assert done.returncode == 0, done.stderr
        done = run("export", folder / "run", "--out", folder / "bundle", "--quick", "--opset", 18)
        assert (done.returncode, done.stderr) == (0, ""), done
        (folder / "run" / "printed").write_text(done.stdout)

    folder = once(tmp_path_factory, "exported", make)
    return folder / "bundle", (folder / "run" / "printed").read_text()


@pytest.fixture(scope="session")
def spikes(tmp_path_factory):
    """A bundle of `SPIKES` on a data set of its own, in `images` beside it."""

    def make(folder: Path) -> None:
        mnist, size = data.load("mnist", SPIKES.input_shape), 64
        (folder / "images").mkdir()
        write_folder(
            folder / "images",
            (mnist.train.images[:size, ..., 0], mnist.train.labels[:size]),
            (mnist.test.images[:size, ..., 0], mnist.test.labels[:size]),
        )
        make_bundle(folder, SPIKES, f"idx:{folder / 'images'}")

    return once(tmp_path_factory, "spikes", make) / "bundle"


@pytest.fixture(scope="session")
def small_bundle(tmp_path_factory):
    """A bundle of `SMALL`, which has every part."""
    return once(tmp_path_factory, "small-bundle", lambda folder: make_bundle(folder, SMALL)) / "bundle"


@pytest.fixture(params=["trained", "spikes"])
def any_bundle(request) -> Path:
    """One bundle after the other."""
    made = request.getfixturevalue(request.param)
    return made[0] if isinstance(made, tuple) else made
