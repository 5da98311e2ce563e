"""Every side of the cost question does the same work on the same network."""

from dataclasses import replace

import numpy as np
import pytest

from csnn_jax import data
from csnn_jax.runs import rundir
from csnn_torch.compare import worker


def test_all_sides_predict_the_same_and_learn(small_run):
    _, config, tensors = rundir.open_run(str(small_run))
    config = replace(config, train=replace(config.train, rate_target=0.1))  # which not every side can draw to
    whole = data.load("mnist", config.model.input_shape)
    few = replace(whole, train=data.Split(whole.train.images[:32], whole.train.labels[:32]))
    index = np.arange(24)
    sides = {name: worker.SIDES[name](config, few, tensors) for name in worker.SIDES}
    before = {name: side.densities(index) for name, side in sides.items()}
    for name, side in sides.items():
        assert np.not_equal(side.infer(index), sides["snntorch"].infer(index)).sum() <= 1  # a rounding may flip one
        assert before[name] == pytest.approx(before["snntorch"], abs=1e-4)
        assert "threads)" in side.describe()
    assert len(set(sides["snntorch"].infer(index))) > 1
    for name, side in sides.items():
        side.step(0, index)
        assert side.densities(index) != before[name]
