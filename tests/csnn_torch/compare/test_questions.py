"""What is asked, in which order, and what a network that proves nothing is not asked."""

import numpy as np
import pytest
from idx_files import write_folder
from tfds_files import prepare_frames

from csnn_jax.config import Config, DataConfig, ModelConfig
from csnn_jax.errors import UserError
from csnn_jax.runs.weights import expected_shapes
from csnn_torch.compare import questions
from csnn_torch.compare.comparison import PARTS, Comparison
from csnn_torch.compare.plan import Plan


def test_costs_come_first_while_this_process_is_small_and_float64_last():
    assert list(questions.ANSWERS) == ["cost", "network", "training"] and set(questions.ANSWERS) == set(PARTS)


def test_a_silent_network_has_no_gradients_to_compare(capsys):
    model = ModelConfig(conv_channels=(2,), hidden=(), time_steps=4)
    silent = {name: np.zeros(shape, np.float32) for name, shape in expected_shapes(model).items()}
    found = Comparison("run", Config(model), silent)
    questions.same_network(found, Plan.quick().changed(images=2))
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == "run: not counted, for a layer fires too little or too much"
    assert len(found.spikes) == 4 and found.gradients == [] and [result.images for result in found.spikes] == [2] * 4
    assert {check.name for check in found.broken} == {"run: density of lif1", "run: density of lif2"}


def test_more_images_than_the_test_set_has_are_told_in_one_line(case, tmp_path, capsys):
    some = case.images[..., 0], case.labels
    job = Config(case.config, DataConfig(f"idx:{write_folder(tmp_path, some, some)}"))
    found = Comparison("run", job, case.tensors)
    questions.same_network(found, Plan.quick().changed(images=50))
    printed = capsys.readouterr().out.splitlines()
    said = [line for line in printed if "--images" in line]
    assert said == printed[:1] == ["--images 50: the test set has 6, all of which are compared"]
    assert [result.images for result in found.spikes] == [6] * 4


def test_data_with_a_time_axis_keep_their_steps(tmp_path):
    frames = np.random.default_rng(0).integers(0, 9, (4, 7, 8, 8, 1)).astype(np.uint8)
    name = prepare_frames(tmp_path, frames, np.arange(4))
    job = Config(ModelConfig(input_shape=(8, 8, 1), conv_channels=(2,), hidden=()), DataConfig(name))
    questions.check(job, Plan.full())
    with pytest.raises(UserError, match=r"^--time-steps 5: .* has a time axis already, expected no such flag$"):
        questions.check(job, Plan.full().changed(time_steps=5))
    questions.check(Config(), Plan.full().changed(time_steps=5))
