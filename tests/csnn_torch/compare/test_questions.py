"""What is asked, in which order, and what a network that proves nothing is not asked."""

from dataclasses import replace

import numpy as np
import pytest
from tfds_files import prepare_frames

from csnn_jax.config import Config, DataConfig, ModelConfig, TrainConfig, decided
from csnn_jax.runs import rundir
from csnn_jax.runs.layouts import expected_shapes
from csnn_torch.compare import questions
from csnn_torch.compare.comparison import PARTS, Comparison
from csnn_torch.compare.plan import Plan
from csnn_torch.compare.results import Trajectory


def test_costs_come_first_while_this_process_is_small_and_float64_last():
    assert list(questions.ANSWERS) == ["cost", "network", "training"] and set(questions.ANSWERS) == set(PARTS)


def test_a_silent_network_has_no_gradients_to_compare(capsys):
    model = ModelConfig(conv_channels=(2,), hidden=(), time_steps=4)
    silent = {name: np.zeros(shape, np.float32) for name, shape in expected_shapes(model).items()}
    found = Comparison("run", Config(model), silent)
    questions.same_network(found, replace(Plan.quick(), images=2))
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == "run: not counted, for a layer fires too little or too much"
    assert len(found.spikes) == 4 and found.gradients == [] and [result.images for result in found.spikes] == [2] * 4
    assert {check.name for check in found.broken} == {"run: density of lif1", "run: density of lif2"}


def train(found: Comparison, **numbers) -> list[Trajectory]:
    """The trainings of a plan of few iterations."""
    questions.same_training(found, replace(Plan.quick(), iterations=2, exact_iterations=1, **numbers))
    return found.trajectories


@pytest.mark.slow
def test_every_seed_is_trained_on_both_sides(small_run):
    _, config, tensors = rundir.open_run(str(small_run))
    one, other, exact = train(Comparison(str(small_run), config, tensors), seeds=(0, 5), time_steps=4)
    assert [(t.dtype, t.seed, t.time_steps, t.start) for t in (one, other, exact)] == [
        ("float32", 0, 4, "the seed's"),
        ("float32", 5, 4, "the seed's"),
        ("float64", 0, 10, "the run's"),
    ]
    assert len(one.losses["csnn_jax"]) == 2 and len(exact.losses["csnn_jax"]) == 1
    apart = one.losses["csnn_jax"][0] - other.losses["csnn_jax"][0]
    for side in (one, other):
        # In float32 some spike may differ from the start. One of the output changes the mean of a batch by 1 / 512.
        assert abs(side.losses["csnn_jax"][0] - side.losses["snntorch"][0]) < abs(apart) / 4


def test_without_seeds_float32_starts_from_the_runs_weights_at_the_runs_steps(small_run):
    _, config, tensors = rundir.open_run(str(small_run))
    one, _ = train(Comparison(str(small_run), config, tensors), time_steps=100)
    assert (one.seed, one.time_steps, one.start) == (0, 10, "the run's")


def test_data_with_a_time_axis_keep_their_steps(tmp_path):
    frames = np.random.default_rng(0).integers(0, 9, (4, 7, 8, 8, 1)).astype(np.uint8)
    name = prepare_frames(tmp_path, frames, np.arange(4))
    model = ModelConfig(input_shape=(8, 8, 1), conv_channels=(2,), hidden=(), num_classes=4, time_steps=7)
    tensors = {name: np.ones(shape, np.float32) for name, shape in expected_shapes(model).items()}
    job = decided(Config(model, DataConfig(name), TrainConfig(batch_size=4)))
    one, _ = train(Comparison("run", job, tensors), seeds=(1,), time_steps=5, exact_batch=4)
    assert one.time_steps == 7
