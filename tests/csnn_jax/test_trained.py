"""A loaded run gives the same answers as the commands and engines."""

import functools
import subprocess
import sys
from dataclasses import replace

import jax
import numpy as np
import pytest
import torch
from bundles import SMALL, drawn, make_checkpoint, make_run
from commands import ENVIRONMENT
from refusals import refusing

import csnn_jax
from csnn_jax import UserError, data
from csnn_jax.config import Config, DataConfig, ModelConfig, TrainConfig
from csnn_jax.data import Split
from csnn_jax.engine.scan import predict
from csnn_jax.network.model import CSNN, tensors
from csnn_jax.runs.layouts import on_grid
from csnn_jax.trained import Trained
from csnn_jax.window import output

TINY = ModelConfig(input_shape=(8, 6, 2), conv_channels=(5,), hidden=(7,), num_classes=4, time_steps=9, threshold=0.1)


@pytest.fixture(scope="module")
def digits():
    return data.load("mnist", (28, 28, 1)).test


@functools.cache
def tiny(**changes) -> Trained:
    """A network with random weights; read-only."""
    model = replace(TINY, **changes)
    return Trained(Config(model), tensors(CSNN(model, 1)), "scan")


def pictures(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def test_both_engines_classify_a_trained_runs_images(small_run, digits):
    event, scan = (csnn_jax.load(small_run, engine) for engine in ("event", "scan"))
    answer = event.classify(digits.images[:300])
    assert answer.classes.shape == (300,) and answer.scores.shape == (300, 10)
    assert (answer.classes == digits.labels[:300]).mean() > 0.5
    np.testing.assert_array_equal(scan.classify(digits.images[:300]).scores, answer.scores)


def test_a_checkpoints_network(tmp_path):
    make_checkpoint(make_run(tmp_path / "run", SMALL), 40)
    checkpointed = tensors(csnn_jax.load(tmp_path / "run", checkpoint="last").model)
    np.testing.assert_array_equal(checkpointed["conv1.weight"], drawn(SMALL, 40)["conv1.weight"])


def test_bytes_floats_and_the_trace_give_the_same_counts(small_run, digits):
    model = csnn_jax.load(str(small_run))
    images = digits.images[:5]
    counts = model.classify(images).scores
    assert counts.sum() > 0
    np.testing.assert_array_equal(model.classify(images / np.float32(255)).scores, counts)
    trace = model.trace(images)
    shapes = {"lif1": (10, 5, 14, 14, 8), "lif2": (10, 5, 7, 7, 16), "lif3": (10, 5, 64), "lif4": (10, 5, 10)}
    assert {node: spikes.shape for node, spikes in trace.spikes.items()} == shapes
    assert {node: membranes.shape for node, membranes in trace.membranes.items()} == shapes
    np.testing.assert_array_equal(trace.spikes["lif4"].sum(0), counts)
    for values in (trace.spikes, trace.membranes, trace.states):
        with refusing(KeyError, "lif9", "lif1, lif2, lif3, lif4"):
            _ = values["lif9"]


def test_several_batches_are_classified_in_order():
    model, images = tiny(), pictures(300, 8, 6, 2)
    whole = model.classify(images)
    parts = [model.classify(images[i : i + 1]).scores for i in (0, 127, 128, 299)]
    np.testing.assert_array_equal(whole.scores[[0, 127, 128, 299]], np.concatenate(parts))
    assert whole.scores.any(0).sum() > 1


LATENCY = {"encoding": "latency", "learn_threshold": True, "threshold": (0.1, 0.2, 0.3)}


@pytest.mark.parametrize(("engine", "changes"), [("scan", {}), ("event", LATENCY)])
def test_a_look_matches_a_trace(engine, changes):
    model = replace(TINY, **changes)
    trained = Trained(Config(model), tensors(CSNN(model, 1)), engine)
    images = pictures(32, 8, 6, 2)
    trace, seen = trained.trace(images), trained.summarize_neurons(images)
    assert list(seen) == ["lif1", "lif2", "lif3"]
    for fired, spikes in zip(trained.ever_fired(images), trace.spikes.values(), strict=True):
        np.testing.assert_array_equal(fired, spikes.any(axis=(0, *range(2, spikes.ndim - 1))))
    layers = zip(trace.membranes.values(), trace.spikes.values(), model.thresholds, seen.values(), strict=True)
    for membranes, spikes, threshold, neurons in layers:
        near = np.abs(membranes - threshold) < threshold / 2
        expected = (membranes.mean(), membranes.std(), membranes.max(), near.mean(), threshold)
        assert neurons[:5] == pytest.approx(expected, rel=1e-3, abs=1e-6)
        alive = spikes.reshape(-1, spikes.shape[-1]).any(0)
        assert (neurons.dead, neurons.channels) == ((~alive).sum(), len(alive))
    assert 0 < sum(neurons.dead for neurons in seen.values()) < 16


def test_sums_on_the_device_match_those_on_the_host():
    """A GPU returns only sums; this jits the same code."""
    trained, images = tiny(), pictures(32, 8, 6, 2)
    windows, _ = trained._ready(images)
    x = windows.present(windows.hold(images), np.arange(32), (3, 0))
    neurons = trained.summarize_neurons(images)
    moments = windows._compiled.moments(windows.rounded(trained._params), x)
    for layer, other in zip(moments, neurons.values(), strict=True):
        assert float(layer.mean) == pytest.approx(other.mean, rel=1e-3)
        assert float(layer.near) == pytest.approx(other.near, rel=1e-3)
        assert int((layer.highest <= layer.threshold).sum()) == other.dead


def test_encoding_draws_the_same_spikes_as_evaluation():
    model, images = tiny(encoding="rate"), pictures(40, 8, 6, 2)
    answer = model.classify(images)
    evaluation = model.evaluate(Split(images, np.zeros(40, np.int32)))
    np.testing.assert_array_equal(answer.classes, evaluation.predictions)
    np.testing.assert_array_equal(model.classify(jax.numpy.asarray(images)).scores, answer.scores)


WIDE = ModelConfig(input_shape=(16, 16, 1), conv_channels=(4,), kernel_size=9, hidden=(), time_steps=2)
WITHOUT = {name: value for name, value in tensors(CSNN(TINY)).items() if name != "fc1.weight"}
ODD = Split(pictures(3, 8, 6, 2), np.arange(3) + 2)


@pytest.mark.parametrize(
    ("call", "error", "facts"),
    [
        (lambda: tiny().classify(pictures(8, 6, 2)), ValueError, ("images", [8, 6, 2], "batch axis")),
        (lambda: tiny().trace(pictures(1, 8, 6, 2) / 1.0), ValueError, ("images", 248, "0 to 1", "uint8")),
        (lambda: tiny().classify("8.png"), ValueError, ("images", "str", "array")),
        (lambda: tiny(encoding="rate").classify(np.ones((1, 8, 6, 2))), ValueError, ("images", "float32", "rate")),
        (lambda: jax.jit(tiny().classify)(pictures(1, 8, 6, 2)), ValueError, ("images", "traced", "array")),
        (lambda: tiny().evaluate(pictures(3, 8, 6, 2)), ValueError, ("split", "ndarray", "(images, labels)", "Split")),
        (lambda: tiny().evaluate(ODD), ValueError, ("labels", 2, 4, 0, 3)),
        (lambda: tiny().by_steps(ODD), ValueError, ("labels", 2, 4, 0, 3)),
        (lambda: Trained(TINY, WITHOUT), ValueError, ("config", "ModelConfig", "Config")),
        (lambda: Trained(Config(TINY), WITHOUT), UserError, ("tensors", "fc1.weight", [7, 60])),
        (lambda: Trained(Config(WIDE), tensors(CSNN(WIDE)), "event"), UserError, ("engine event", "conv1", 9)),
        (lambda: csnn_jax.load(None), ValueError, ("run", "NoneType", "path")),
        (lambda: csnn_jax.load("/nowhere/run"), UserError, ("/nowhere/run",)),
    ],
)
def test_what_does_not_fit_is_refused_by_argument(call, error, facts):
    with refusing(error, *facts):
        call()


def test_loading_changes_nothing_in_the_process(small_run):
    code = f"""
import warnings; warnings.simplefilter("error")
import jax, numpy, csnn_jax
names = [n for n in dir(jax.config) if n.startswith("jax_")]
before = {{n: getattr(jax.config, n) for n in names}}
answer = csnn_jax.load({str(small_run)!r}).classify(numpy.zeros((1, 28, 28, 1), numpy.uint8))
print({{n for n in names if getattr(jax.config, n) != before[n]}} or "nothing", answer.classes)
"""
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.stdout == "nothing [0]\n", done.stderr


def test_a_float64_job_is_float64_with_x64(x64):
    trained = Trained(Config(TINY, train=TrainConfig(dtype="float64")), tensors(CSNN(TINY, 1)), "scan")
    assert trained.model.nodes[0].bias.dtype == np.float64
    assert trained.trace(pictures(2, 8, 6, 2)).membranes["lif1"].dtype == np.float64


def test_the_prediction_is_the_lowest_of_the_classes_with_most_spikes():
    counts = np.asarray([[0, 0, 0], [1, 5, 5], [5, 1, 5], [2, 3, 4]], np.float32)
    np.testing.assert_array_equal(predict(counts), [0, 1, 0, 2])


def test_a_network_trained_elsewhere_becomes_a_run(tmp_path):
    model = CSNN(replace(TINY, learn_beta=True), 3)
    csnn_jax.save(model, model.config, tmp_path / "run")
    loaded = csnn_jax.load(tmp_path / "run", "scan")
    for name, tensor in tensors(loaded.model).items():
        np.testing.assert_array_equal(tensor, on_grid(model.config, tensors(model))[name])
    assert loaded.config.model.surrogate == "atan"  # chosen by `auto`
    assert loaded.config.data.dataset == "arrays"
    with refusing(UserError, "path", tmp_path / "run", "overwrite", unchanged=tmp_path):
        csnn_jax.save(model, model.config, tmp_path / "run")
    job = Config(model.config, train=TrainConfig(lr=0.5, seed=7))
    csnn_jax.save(model, job, tmp_path / "run", overwrite=True)
    assert csnn_jax.load(tmp_path / "run").config.train.lr == 0.5


def test_a_loaded_network_can_be_saved_again(tmp_path):
    out = make_run(tmp_path / "run", SMALL)
    loaded = csnn_jax.load(out)
    csnn_jax.save(loaded, tmp_path / "again")
    again = csnn_jax.load(tmp_path / "again")
    assert again.config.data.dataset == "mnist" and tensors(again.model).keys() == tensors(loaded.model).keys()
    with refusing(ValueError, "config", "Trained", unchanged=tmp_path):
        csnn_jax.save(loaded, loaded.config, tmp_path / "more")
    with refusing(ValueError, "path", "NoneType", "directory"):
        csnn_jax.save(loaded)


def test_networks_of_equal_configurations_answer_independently():
    config = replace(TINY, readout="membrane")
    images, values = pictures(20, *TINY.input_shape), [tensors(CSNN(config, key)) for key in (1, 2)]

    def scores(network: Trained) -> np.ndarray:
        return network.classify(images).scores

    alone = [scores(Trained(Config(config), each)) for each in values]
    together = [Trained(Config(config), each) for each in values]
    assert (alone[0] != alone[1]).all(1).any()
    np.testing.assert_array_equal([scores(network) for network in together], alone)


def test_every_array_type_gets_the_same_answer():
    model, images, labels = tiny(), pictures(5, 8, 6, 2), np.arange(5) % 4
    expected = model.evaluate(Split(images, labels))
    assert expected.densities["lif3"] > 0 and "8x6x2, conv5, fc7, fc4; 9 steps; mnist; scan engine" in repr(model)
    kinds = (images.tolist(), torch.tensor(labels)), (torch.tensor(images), labels), (jax.numpy.asarray(images), labels)
    for given, answers in kinds:
        np.testing.assert_array_equal(model.classify(given).classes, expected.predictions)
        assert model.evaluate((given, answers)).densities == expected.densities
        assert (
            model.summarize_neurons((given, labels))
            == model.summarize_neurons(given)
            == model.summarize_neurons(Split(images, labels))
        )


def test_invalid_networks_are_not_saved(tmp_path):
    model = CSNN(TINY, 1)
    for wrong, config, facts in (
        (tensors(model), TINY, ("model", "dict", "Trained", "CSNN")),
        (model, "tiny", ("config", "str", "ModelConfig")),
        (model, ModelConfig(), ("config", "network")),
    ):
        with refusing(ValueError, *facts, unchanged=tmp_path):
            csnn_jax.save(wrong, config, tmp_path / "run")
    model.nodes[0].kernel[...] = model.nodes[0].kernel[...] * np.nan
    with refusing(UserError, "model", "conv1.weight", "finite", unchanged=tmp_path):
        csnn_jax.save(model, TINY, tmp_path / "run")


@pytest.mark.parametrize(("engine", "readout"), [("scan", "spikes"), ("event", "membrane")])
def test_the_accuracy_by_steps_uses_the_scores_so_far(engine, readout):
    model = replace(TINY, time_steps=6, readout=readout)
    trained = Trained(Config(model), drawn(model, 2), engine)
    images = pictures(140, *model.input_shape)
    trace = trained.trace(images)
    read = output(model, *trace)
    labels = read.cumsum(0)[2].argmax(-1)  # correct after the third step
    expected = (read.cumsum(0).argmax(-1) == labels).mean(1)
    split = data.Split(images, labels)
    np.testing.assert_allclose(trained.by_steps(split), expected, atol=1 / 140 if readout == "membrane" else 0)
    assert trained.by_steps(split)[-1] == pytest.approx(trained.evaluate(split).accuracy)
    assert expected[2] == 1 and expected.min() < 1


def test_frames_without_a_batch_axis_are_refused():
    model = ModelConfig(input_shape=(8, 8, 2), conv_channels=(3,), hidden=(), time_steps=4, scale=1.0)
    trained = Trained(Config(model, DataConfig("nmnist:DIR")), tensors(CSNN(model, 1)))
    frames = np.zeros((1, 4, 8, 8, 2), np.uint8)
    assert trained.classify(frames).classes.shape == (1,)
    longer = np.ones((3, 5, 8, 8, 2), np.uint8)  # the densities are those of five steps
    densities, fired = trained.evaluate((longer, np.zeros(3, int))).densities, trained.count(longer).fired.sum(0)
    assert [*densities.values()] == [*fired / (3 * 5 * np.array([node.size for node in model.graph.neurons]))]
    with refusing(ValueError, "images", [4, 8, 8, 2], "[N, T, H, W, 2]"):
        trained.classify(frames[0])


@pytest.mark.parametrize("scale", [256.0, 1.0])
def test_true_means_one_whatever_the_scale(scale):
    model, bits, labels = tiny(scale=scale), pictures(5, 8, 6, 2) > 99, np.arange(5) % 4
    expected = model.evaluate((bits.astype(np.float32), labels))
    assert expected.densities["lif3"] > 0
    for given in (bits, bits.tolist()):
        np.testing.assert_array_equal(model.classify(given).classes, expected.predictions)
        assert model.evaluate((given, labels)).densities == expected.densities
