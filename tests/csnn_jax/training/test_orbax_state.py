"""States of older versions: read by name, and what is none refused in one line."""

import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from csnn_jax import data
from csnn_jax.errors import UserError
from csnn_jax.learning.learner import Learner
from csnn_jax.runs.rundir import RunDir
from csnn_jax.training import checkpoint, orbax_state

FIXTURE = Path(__file__).parents[2] / "fixtures" / "run-0.1.0.tar.xz"


@pytest.fixture
def run(tmp_path):
    """Ended after 6 iterations."""
    with tarfile.open(FIXTURE) as archive:
        archive.extractall(tmp_path, filter="data")
    return RunDir(tmp_path / "run")


def test_its_names_are_the_learners_and_its_parameters_those_of_the_run(run, capfd):
    config = run.config()
    digits = data.load("mnist", config.model.input_shape).train
    learner = Learner(config, data.Split(digits.images[:64], digits.labels[:64]))
    iteration, state = checkpoint.restore(run.checkpoints, learner.snapshot())
    assert iteration == 6 and state["optimizer/0/count"] == 6
    learner.restore(state)
    for name, tensor in safetensors.numpy.load_file(run.weights).items():
        np.testing.assert_array_equal(learner.tensors()[name], tensor)
    assert capfd.readouterr().err == ""


def test_a_damaged_one_is_refused(run, capfd):
    folder = run.checkpoints / "6"
    path = folder / "state" / "_METADATA"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=f"^{folder}: expected a checkpoint of csnn-jax up to 0.3.0: ") as caught:
        orbax_state.read(folder)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    assert capfd.readouterr().err == ""


def test_an_orbax_that_is_too_old_is_told(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "orbax.checkpoint", None)
    with pytest.raises(UserError, match=r"6: written by orbax, expected `pip install 'orbax-checkpoint>=0\.11\.30'`"):
        orbax_state.read(run.checkpoints / "6")
