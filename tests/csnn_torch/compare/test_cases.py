"""The run's network and its variants, on the images that both sides get."""

from dataclasses import replace

import numpy as np

from csnn_jax.config import Config
from csnn_jax.runs import rundir
from csnn_torch.compare import cases


def test_both_sides_get_pixels_of_0_to_1_time_major(case):
    assert case.pixels("float64").dtype == np.float64 and set(np.unique(case.pixels("float32"))) == {0, 1}
    frames = replace(case, images=np.stack([case.images, 0 * case.images, case.images], axis=1))
    assert frames.frames and frames.pixels("float32", slice(2, 4)).shape == (3, 2, 8, 8, 1)
    np.testing.assert_array_equal(frames.pixels("float32")[2], case.pixels("float32"))
    rate = replace(case, config=replace(case.config, encoding="rate"))
    np.testing.assert_array_equal(rate.pixels("float32")[0], case.pixels("float32"))  # of 0 and 1, certain
    assert rate.pixels("float64").shape == (8, 6, 8, 8, 1)
    floats = replace(case, images=(case.images / 255).astype(np.float32))
    np.testing.assert_array_equal(floats.pixels("float32"), case.pixels("float32"))


def test_an_engine_that_can_not_run_a_case_says_why(case):
    module, model = case.in_jax("scan", "float32")
    assert module.__name__ == "csnn_jax.engine.scan" and model.config == case.config
    assert case.in_jax("event", "float32")[0].__name__ == "csnn_jax.engine.event"
    counts = replace(
        case, config=replace(case.config, scale=1.0), images=np.full((2, 3, *case.images.shape[1:]), 16, np.uint8)
    )
    takes = "the event engine takes frames of whole numbers from 0 to 15"
    assert counts.in_jax("event", "float32") == f"{takes}, these go up to 16"


def test_the_runs_case_has_all_test_images(small_run):
    _, config, tensors = rundir.open_run(str(small_run))
    case = cases.of_run(config, tensors)
    assert (case.name, case.config, len(case.labels)) == ("run", config.model, len(case.images))
    assert case.first(3).images.tobytes() == case.images[:3].tobytes() and isinstance(config, Config)
