"""Bundles shared by several test modules; each is made once."""

import os
import shutil
from pathlib import Path
from typing import ClassVar

import pytest
from bundles import BRIEF, GRAPH, INTEGRATOR, SPIKES, export, make_bundle
from idx_files import write_folder
from once import once

from csnn_jax import data
from csnn_jax.config import Config
from csnn_jax.config.job import job_to_json
from csnn_jax.runs import weights
from csnn_jax.runs.layouts import Tensors, digest
from export import plan, verification
from export.parts.part import CheckResult
from export.plan import Step, trained_accuracy
from export.settings import EXTENTS, Effort


@pytest.fixture(scope="session")
def small_bundle(scan_run, tmp_path_factory):
    """A bundle of `scan_run`, with every part."""
    return once(tmp_path_factory, "small-bundle", lambda folder: export(scan_run, folder)) / "bundle"


@pytest.fixture(scope="session")
def spikes(tmp_path_factory):
    """A bundle of `SPIKES` with its own data set, in `images` next to it."""

    def make(folder: Path) -> None:
        mnist = data.load("mnist", (28, 28, 1))
        inside = slice(64), slice(4, 24), slice(4, 24), 0
        (folder / "images").mkdir()
        splits = ((split.images[inside], split.labels[:64]) for split in (mnist.train, mnist.test))
        write_folder(folder / "images", *splits)
        make_bundle(folder, SPIKES, f"idx:{folder / 'images'}")

    return once(tmp_path_factory, "spikes", make) / "bundle"


@pytest.fixture(scope="session")
def integrator(tmp_path_factory):
    """A bundle of `INTEGRATOR`."""
    return once(tmp_path_factory, "integrator", lambda folder: make_bundle(folder, INTEGRATOR)) / "bundle"


@pytest.fixture(scope="session")
def described(tmp_path_factory):
    """A bundle of `GRAPH`."""
    return once(tmp_path_factory, "described", lambda folder: make_bundle(folder, GRAPH)) / "bundle"


@pytest.fixture(
    params=[
        "small_bundle",
        "spikes",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("integrator", "described")),
    ]
)
def any_bundle(request) -> Path:
    """Each of the bundles in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def copy(small_bundle, tmp_path) -> Path:
    """A copy of the small bundle that tests may change."""
    return Path(shutil.copytree(small_bundle, tmp_path / "bundle"))


class Remembered(verification.Verifying):
    """Makes and runs the expected files only once for all bundles with the same network and images."""

    made: ClassVar[dict[tuple, Path]] = {}
    known: ClassVar[dict[tuple, CheckResult]] = {}

    @property
    def key(self) -> tuple:
        made = self.bundle
        network = job_to_json(made.job), weights.to_bytes(made.network.tensors, made.job.model)
        return *network, made.opset, os.environ["PATH"]

    def writing(self, possible) -> list[Step]:
        if self.key not in self.made:
            return super().writing(possible)
        return [Step("", lambda: shutil.copytree(self.made[self.key], self.bundle.folder, dirs_exist_ok=True))]

    def written(self) -> None:
        if self.key not in self.made:
            folder = self.bundle.folder
            self.made[self.key] = Path(shutil.copytree(folder, folder.with_name("whole")))
        super().written()

    def check(self, name, results) -> CheckResult:
        place = *self.key, len(self.images.test.labels), self.images.count, name
        if place not in self.known:
            self.known[place] = super().check(name, results)
        return self.known[place]


ACCURACIES: dict[tuple, float] = {}


def accuracy(config: Config, tensors: Tensors, test: data.Split) -> float:
    """`plan.trained_accuracy`, measured once for each network and number of images."""
    key = config, digest(tensors), len(test.labels)
    if key not in ACCURACIES:
        ACCURACIES[key] = trained_accuracy(config, tensors, test)
    return ACCURACIES[key]


@pytest.fixture
def lines(capsys, monkeypatch, tmp_path_factory):
    """Verifies a bundle: (exit code, message for each file; the last line's key is its first word)."""
    monkeypatch.setattr(verification, "Verifying", Remembered)
    monkeypatch.setattr(plan, "trained_accuracy", accuracy)
    monkeypatch.setitem(EXTENTS, "quick", BRIEF)

    def verified(folder: Path, effort: Effort | None = "quick", dataset: str | None = None):
        capsys.readouterr()
        code = verification.verify(folder, tmp_path_factory.mktemp("made"), dataset, effort)
        return code, dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())

    return verified
