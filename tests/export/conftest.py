"""Bundles that several test modules look at; each is made once."""

from pathlib import Path

import pytest
from bundles import SPIKES, export, make_bundle
from idx_files import write_folder
from once import once

from csnn_jax import data


@pytest.fixture(scope="session")
def small_bundle(scan_run, tmp_path_factory):
    """A bundle of `scan_run`, which has every part."""
    return once(tmp_path_factory, "small-bundle", lambda folder: export(scan_run, folder)) / "bundle"


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


@pytest.fixture(params=["small_bundle", "spikes"])
def any_bundle(request) -> Path:
    """One bundle after the other."""
    return request.getfixturevalue(request.param)
