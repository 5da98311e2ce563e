"""The variants of a network, questions that are skipped if a network proves nothing, and paired training."""

from dataclasses import replace

import numpy as np
import pytest
from refusals import refusing
from tfds_files import prepare_frames

from csnn_jax import data
from csnn_jax.config import Config, DataConfig, ModelConfig, TrainConfig, decided
from csnn_jax.errors import UserError
from csnn_jax.network import library
from csnn_jax.network.neuron import fire
from csnn_jax.runs.layouts import expected_shapes
from csnn_torch.compare import cases, questions, training
from csnn_torch.compare.questions import QUICK, Plan
from csnn_torch.compare.results import Comparison, Trajectory


def test_a_silent_network_has_no_gradients_to_compare(capsys):
    model = ModelConfig(conv_channels=(2,), hidden=(), time_steps=4)
    silent = {name: np.zeros(shape, np.float32) for name, shape in expected_shapes(model).items()}
    comparison = Comparison("run", Config(model), silent)
    questions.same_network(comparison, replace(QUICK, images=2))
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == "run: not counted, because a layer fires too little or too much"
    assert comparison.gradients == [] and [result.images for result in comparison.spikes] == [2, 2]
    assert {check.name for check in comparison.broken} == {"run: density of lif1", "run: density of lif2"}


def test_the_runs_network_is_compared_with_every_surrogate_and_variants_on_fewer_images(case, monkeypatch):
    variant = replace(case, name="other", config=replace(case.config, surrogate="atan"))
    monkeypatch.setattr(cases, "of_run", lambda *_: case)
    monkeypatch.setattr(cases, "of_variants", lambda *_: [variant])
    monkeypatch.setattr(questions, "ENGINES", ("scan",))
    monkeypatch.setattr(questions, "of_surrogates", lambda case, *rest: [(case.name, len(case.images), *rest)])
    comparison, names = Comparison("run", Config(case.config), case.tensors), ("sigmoid", "atan")
    questions.same_network(comparison, Plan(images=5, variant_images=4, gradient_images=2, surrogates=names))
    assert [(r.network, r.images) for r in comparison.spikes] == [("run", 5), ("other", 4)]
    assert comparison.gradients == [("run", 5, ("scan",), names, 2), ("other", 4, ("scan",), ("atan",), 2)]


def train(comparison: Comparison, **numbers) -> list[Trajectory]:
    """The training runs of a plan with few iterations."""
    questions.same_training(comparison, replace(QUICK, iterations=2, exact_iterations=1, **numbers))
    return comparison.trajectories


@pytest.mark.slow
def test_every_seed_is_trained_and_data_with_a_time_axis_keep_their_steps(tmp_path, monkeypatch):
    frames = np.random.default_rng(0).integers(0, 9, (4, 7, 8, 8, 1)).astype(np.uint8)
    name = prepare_frames(tmp_path, frames, np.arange(4))
    model = ModelConfig(input_shape=(8, 8, 1), conv_channels=(2,), hidden=(), num_classes=4, time_steps=7)
    tensors = {name: np.ones(shape, np.float32) for name, shape in expected_shapes(model).items()}
    job = decided(Config(model, DataConfig(name), TrainConfig(batch_size=4)))
    one, other, exact = train(Comparison("run", job, tensors), seeds=(1, 2), time_steps=5, exact_batch=4)
    started = [("float32", 1, "the seed's"), ("float32", 2, "the seed's"), ("float64", 0, "the run's")]
    assert [(t.dtype, t.seed, t.start) for t in (one, other, exact)] == started
    assert {t.time_steps for t in (one, other, exact)} == {7}
    assert len(one.losses["csnn_jax"]) == 2 and len(exact.losses["csnn_jax"]) == 1
    monkeypatch.setattr(training, "together", lambda *task: task)  # what would be trained without seeds
    (config, _, count, start, origin), _ = train(Comparison("run", job, tensors), time_steps=100, exact_batch=4)
    assert (config.train.seed, config.model.time_steps, count, origin) == (0, 7, 2, "the run's") and start is tensors


def test_a_plan_limits_time_steps_and_trains_in_float64_last(monkeypatch):
    monkeypatch.setattr(training, "together", lambda *task: task)
    model = ModelConfig(conv_channels=(2,), hidden=(), time_steps=8)
    job = decided(Config(model, train=TrainConfig(batch_size=12, microbatch=6, dtype="float64", engine="scan")))
    tasks = train(Comparison("run", job, {"of": "run"}), seeds=(3, 4), time_steps=5, exact_batch=4)
    settings = [(c.model.time_steps, c.train.dtype, c.train.batch_size, c.train.microbatch) for c, *_ in tasks]
    assert settings == [(5, "float32", 12, 6)] * 2 + [(8, "float64", 4, 2)]
    assert [(c.train.seed, c.train.engine, *rest) for c, _, *rest in tasks] == [
        (3, "auto", 2, None, "the seed's"),
        (4, "auto", 2, None, "the seed's"),
        (0, "auto", 1, {"of": "run"}, "the run's"),
    ]
    assert tasks[2][0].train.lr == 1e-3
    assert train(Comparison("run", job, {}), time_steps=9)[0][0].model.time_steps == 8


def test_fewer_images_than_a_batch_are_refused(case):
    split = data.Split(case.images, case.labels)
    with refusing(UserError, "batch_size 7", "1 to 6"):
        training.together(decided(Config(case.config, train=TrainConfig(batch_size=7))), split, 2, None, "the seed's")


@pytest.mark.numeric
@pytest.mark.parametrize(("off", "parted"), [(1.0, None), (0.9, 0)])
def test_a_different_spike_is_detected_before_the_iteration(case, off, parted, monkeypatch, recompiled):
    def other(kind, values, *rest):
        return fire(kind, {**values, "threshold": off * values["threshold"]}, *rest)

    monkeypatch.setattr(library, "fire", other)
    model = replace(case.config, per_channel=("threshold",))  # which training doesn't change
    config = decided(Config(model, train=TrainConfig(batch_size=6, engine="scan", lr=1e-6)))
    split = data.Split(case.images, case.labels.astype(np.int32))
    trajectory = training.together(config, split, 1, case.tensors | dict(model.graph.initial), "the run's")
    assert trajectory.parted == parted and (trajectory.differences[0] < 1e-6) == (parted is None)
    assert str(trajectory).endswith(f"spike: {'none' if parted is None else f'at iteration {parted}'}")
    assert trajectory.counted and trajectory.checks() == [] and set(trajectory.distance) == set(case.tensors)
    assert trajectory.batch_size == 6 and trajectory.engine.startswith("JAX ") and "scan engine" in trajectory.engine


@pytest.mark.parametrize("threshold, iterations", [(0.1, 3), (100.0, 3 * cases.PATIENCE)])
def test_a_variant_is_trained_longer_until_every_layer_fires(threshold, iterations, monkeypatch):
    """With the low threshold every layer fires immediately; with the high one, none ever does."""
    model = ModelConfig(conv_channels=(4,), hidden=(8,), time_steps=16, threshold=threshold)
    step, steps = cases.Trainer.step, []
    monkeypatch.setattr(cases.Trainer, "step", lambda self, *batch: (steps.append(batch), step(self, *batch))[1])
    cases.briefly_trained(model, data.load("mnist", model.input_shape), 3)
    assert len(steps) == iterations


def test_the_variants_cover_every_reset_pool_neuron_and_output_another_beta_and_color():
    models = {variant.name: variant.model for variant in cases.variants(ModelConfig())}
    assert len(set(models.values())) == len(models) == 12
    summed = models.pop("sum pools after the neurons")
    assert summed.pool == "sum" and summed.pool_after
    assert {(m.reset, m.pool) for m in models.values()} == {
        (r, p) for r in ("subtract", "zero", "none") for p in ("max", "avg")
    }
    assert models["beta 0.9"].beta == 0.9 and models["learned beta"].learn_beta
    synaptic = models["synaptic, learned alpha and beta"]
    assert synaptic.neuron == "synaptic" and synaptic.learn_alpha and synaptic.learn_beta
    assert models["integrator output"].readout == "membrane"
    others = {variant.name: variant.model for variant in cases.variants(ModelConfig(output="integrator"))}
    assert len(set(others.values())) == len(others) == 12 and others["spiking output"] == ModelConfig()
    assert models["three blocks, color"].conv_channels == (32, 32, 64)


def test_a_variant_of_the_same_shapes_starts_from_the_runs_weights(case):
    learned = replace(case.config, beta=(0.6, 0.7, 0.8), learn_beta=True)
    tensors = cases._fitting(learned, case.tensors)
    assert tensors["fc1.weight"] is case.tensors["fc1.weight"] and tensors["lif2.beta"] == np.float32(0.7)
    assert cases._fitting(replace(case.config, hidden=(13,)), case.tensors) is None
