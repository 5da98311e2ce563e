"""In the cost question, every side does the same work on the same network."""

import io
import json
from dataclasses import replace

import numpy as np
from bundles import make_run
from recordings import write_nmnist
from refusals import refusing

from csnn_jax import data
from csnn_jax.config import ModelConfig
from csnn_jax.errors import UserError
from csnn_jax.runs import rundir
from csnn_torch.compare import worker


def test_all_sides_predict_the_same_and_learn(small_run):
    _, config, tensors = rundir.open_run(str(small_run))
    config = replace(config, train=replace(config.train, rate_target=0.1))  # which not every side supports
    whole = data.load("mnist", config.model.input_shape)
    few = replace(whole, train=data.Split(whole.train.images[:32], whole.train.labels[:32]))
    index = np.arange(24)
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
    assert "caching the frames of 130 recordings" in err


def test_an_input_that_changes_at_every_step_is_not_computed_once(small_run):
    _, config, tensors = rundir.open_run(str(small_run))
    rate = replace(config, model=replace(config.model, encoding="rate"))
    with refusing(UserError, "every step"):
        worker.SIDES["snntorch first convolution once"](rate, data.load("mnist", rate.model.input_shape), tensors)
