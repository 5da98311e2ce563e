"""Both sides get the same images, each in its own format."""

from dataclasses import replace

import numpy as np
import torch
from bundles import SMALL, make_run
from digits import few_digits
from export_networks import OTHER
from refusals import refusing

from csnn_jax import data
from csnn_jax.errors import UserError
from csnn_torch.first_difference.images import inputs
from csnn_torch.first_difference.sides import open_side


class Shown:
    """A side that has only a name and an input shape."""

    job, name = None, "other"

    def __init__(self, *shape: int):
        self.input_shape = shape or None


def test_a_side_without_a_job_gets_the_runs_images(tmp_path):
    run = open_side(str(make_run(tmp_path / "run", SMALL)))
    found = inputs((run, Shown(784)), None, 5, None, None)
    assert (found.what, found.steps) == ("the first 5 test images of mnist", 6)
    assert [x.shape for x in found.each] == [(6, 5, 1, 28, 28), (6, 5, 784)]
    images = data.load("mnist", (28, 28, 1)).test.images[:5]
    assert np.array_equal(found.each[0][0, :, 0].numpy() * 256, images[..., 0])
    assert torch.equal(found.each[0].flatten(2), found.each[1])


def test_another_scale_and_other_steps(tmp_path):
    run = open_side(str(make_run(tmp_path / "run", SMALL)))
    found = inputs((Shown(1, 1, 28, 28), run), None, 2, 3, 128)
    assert [len(x) for x in found.each] == [3, 3]
    assert torch.equal(found.each[0], 2 * found.each[1])


def test_images_are_random_if_no_data_set_is_known(tmp_path):
    run = open_side(str(make_run(tmp_path / "run", replace(OTHER, encoding="rate", scale=None), "arrays")))
    found = inputs((run, Shown()), None, 4, None, None)
    assert found.what == "4 random images"
    assert [x.shape for x in found.each] == [(12, 4, 2, 12, 10)] * 2
    assert set(found.each[0].unique().tolist()) == {0, 1}
    assert inputs((Shown(3), Shown(3)), None, 2, None, None).each[0].shape == (100, 2, 3)


def test_unsuitable_images_are_refused(tmp_path):
    run = open_side(str(make_run(tmp_path / "run", SMALL)))
    with refusing(UserError, "other", "1x20x20", "1x28x28"):
        inputs((run, Shown(1, 20, 20)), None, 5, None, None)
    with refusing(UserError, "other", "run"):
        inputs((Shown(), Shown()), None, 5, None, None)
    with refusing(UserError, "images 999999", 10000, "mnist"):
        inputs((run, run), None, 999_999, None, None)
    few = few_digits(tmp_path / "digits", test=9)
    assert inputs((run, run), few, None, None, None).what == f"the first 9 test images of {few}"
