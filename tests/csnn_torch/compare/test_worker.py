"""In the cost question, every side does the same work on the same network."""

import io
import json
from dataclasses import replace

import numpy as np
from bundles import drawn, make_run
from recordings import write_nmnist
from refusals import refusing

from csnn_jax import data
from csnn_jax.config import Config, ModelConfig, TrainConfig, decided
from csnn_jax.config.pixels import Pixels
from csnn_jax.errors import UserError
from csnn_torch.compare import worker

STACK = ModelConfig((8, 8, 1), (4,), hidden=(8,), num_classes=3, time_steps=6)


def dataset_of(split: data.Split) -> data.Dataset:
    return data.Dataset("few", split, None, split, ("0", "1", "2"), Pixels(), ())


def test_all_sides_predict_the_same_and_learn():
    config = decided(Config(STACK, train=TrainConfig(rate_target=0.1, lr=0.01)))  # which not every side supports
    random = np.random.default_rng(0)
    split = data.Split(random.integers(0, 256, (32, 8, 8, 1), np.uint8), random.integers(0, 3, 32).astype(np.int32))
    few, tensors, index = dataset_of(split), drawn(STACK, 5), np.arange(24)
    sides = {name: worker.SIDES[name](config, few, tensors) for name in worker.SIDES}
    before = {name: side.densities(index) for name, side in sides.items()}
    for name, side in sides.items():
        np.testing.assert_array_equal(side.infer(index), sides["snntorch"].infer(index))
        assert before[name] == before["snntorch"]
        assert "threads)" in side.describe()
    assert len(set(sides["snntorch"].infer(index))) > 1
    for name, side in sides.items():
        side.step(0, index)
        assert side.densities(index) != before[name]


def test_messages_of_a_data_source_are_not_mixed_with_the_answer(tmp_path, monkeypatch, capsys):
    dataset = write_nmnist(tmp_path / "bars", train=13, test=1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    model = ModelConfig(input_shape=(34, 34, 2), conv_channels=(2,), hidden=(), time_steps=3, scale=1.0)
    run = make_run(tmp_path / "run", model, dataset)
    monkeypatch.setattr("sys.stdin", io.StringIO("report\n"))
    worker.work(str(run), "scan")
    out, err = capsys.readouterr()
    assert "JAX" in json.loads(out)["description"]
    assert "caching 140 recordings" in err


def test_an_input_that_changes_at_every_step_is_not_computed_once():
    rate = decided(Config(replace(STACK, encoding="rate")))
    split = data.Split(np.zeros((4, 8, 8, 1), np.uint8), np.zeros(4, np.int32))
    with refusing(UserError, "every step"):
        worker.SIDES["snntorch first convolution once"](rate, dataset_of(split), drawn(STACK))
