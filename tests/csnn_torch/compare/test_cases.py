"""The run's network and its variants, on the images that both sides get."""

from dataclasses import replace

import numpy as np
import pytest

from csnn_jax import data
from csnn_jax.config import Config, ModelConfig
from csnn_jax.runs import rundir
from csnn_torch.compare import cases


@pytest.mark.parametrize("threshold, iterations", [(0.05, 3), (100.0, 3 * cases.PATIENCE)])
def test_a_variant_is_trained_longer_until_every_layer_fires(threshold, iterations, monkeypatch):
    """With the low threshold every layer fires at once, with the high one no layer ever does."""
    model = ModelConfig(conv_channels=(4,), hidden=(8,), time_steps=16, threshold=threshold)
    step, steps = cases.Learner.step, []
    monkeypatch.setattr(cases.Learner, "step", lambda self, *batch: (steps.append(batch), step(self, *batch))[1])
    cases.briefly_trained(model, data.load("mnist", model.input_shape), 3)
    assert len(steps) == iterations


def test_the_variants_cover_every_reset_and_pool_another_beta_and_colour():
    found = {variant.name: variant.model for variant in cases.variants(ModelConfig())}
    assert len(set(found.values())) == len(found) == 9
    assert {(m.reset, m.pool) for m in found.values()} == {
        (r, p) for r in ("subtract", "zero", "none") for p in ("max", "avg")
    }
    assert found["beta 0.9"].beta == 0.9 and found["learnt beta"].learn_beta
    assert found["three blocks, colour"].conv_channels == (32, 32, 64)


def test_a_variant_of_the_same_shapes_starts_from_the_runs_weights(case):
    learnt = replace(case.config, beta=(0.6, 0.7, 0.8), learn_beta=True)
    found = cases._fitting(learnt, case.tensors)
    assert found["fc1.weight"] is case.tensors["fc1.weight"] and found["lif2.beta"] == np.float32(0.7)
    assert cases._fitting(replace(case.config, hidden=(13,)), case.tensors) is None


def test_both_sides_get_pixels_of_0_to_1_time_major(case):
    assert case.pixels("float64").dtype == np.float64 and set(np.unique(case.pixels("float32"))) == {0, 1}
    frames = replace(case, images=np.stack([case.images, 0 * case.images, case.images], axis=1))
    assert frames.frames and frames.pixels("float32", slice(2, 4)).shape == (3, 2, 8, 8, 1)
    np.testing.assert_array_equal(frames.pixels("float32")[2], case.pixels("float32"))
    rate = replace(case, config=replace(case.config, encoding="rate"))
    np.testing.assert_array_equal(rate.pixels("float32")[0], case.pixels("float32"))  # of 0 and 1, certain
    assert rate.pixels("float64").shape == (8, 6, 8, 8, 1)


def test_an_engine_that_can_not_run_a_case_says_why(case):
    module, model = case.in_jax("scan", "float32")
    assert module.__name__ == "csnn_jax.engine.scan" and model.config == case.config
    frames = replace(case, images=case.images[:, None])
    assert case.in_jax("event", "float32")[0].__name__ == "csnn_jax.engine.event"
    assert frames.in_jax("event", "float32") == "the event engine takes one image, or spikes, not a sequence of images"


def test_the_runs_case_has_all_test_images(small_run):
    _, config, tensors = rundir.open_run(str(small_run))
    case = cases.of_run(config, tensors)
    assert (case.name, case.config, len(case.labels)) == ("run", config.model, len(case.images))
    assert case.first(3).images.tobytes() == case.images[:3].tobytes() and isinstance(config, Config)
