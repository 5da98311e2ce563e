"""csnn_torch's trainer has the same initial weights, batches, steps and optimizers as csnn_jax's."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from delayed_nodes import NODES
from refusals import refusing
from stepping import step

from csnn_jax import data
from csnn_jax.config import Config, DataConfig, ModelConfig, TrainConfig, decided
from csnn_jax.errors import UserError
from csnn_jax.runs import checkpoints, layouts
from csnn_jax.runs.equality import differ
from csnn_jax.training import plan
from csnn_jax.update.trainer import Trainer as JaxTrainer
from csnn_torch import model
from csnn_torch.optimizer import clip
from csnn_torch.trainer import Trainer

pytestmark = pytest.mark.numeric

torch.set_num_threads(1)
STACK = {"input_shape": (8, 8, 1), "conv_channels": (4,), "hidden": (12,), "num_classes": 3, "time_steps": 6}


def config(train=None, **model):
    return decided(Config(ModelConfig(**STACK | model), train=TrainConfig(**{"lr": 0.02} | (train or {}))))


@pytest.fixture
def split():
    rng = np.random.default_rng(0)
    return data.Split(rng.integers(0, 256, (20, 8, 8, 1), np.uint8), rng.integers(0, 3, 20).astype(np.int32))


@pytest.fixture(scope="module")
def bands():
    """Images with a bright band whose position is the class: easy to learn, so the output keeps firing."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 20).astype(np.int32)
    images = rng.integers(0, 60, (20, 8, 8, 1), np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[3 * label : 3 * label + 2] += 190
    return data.Split(images, labels)


def trainer(split, settings, tensors=None):
    return Trainer(settings, split, tensors, device="cpu")


def loud(settings, most=1.25):
    """Weights off their grids, for which every layer fires; betas and thresholds are unchanged."""
    rng = np.random.default_rng(5)
    return {
        name: tensor if name.startswith("lif") else rng.uniform(-1, most, tensor.shape).astype(tensor.dtype)
        for name, tensor in trainer(None, settings).masters().items()
    }


def both(split, settings, weights=None):
    """Trainers of both frameworks, by default from loud weights."""
    weights = weights or loud(settings)
    return trainer(split, settings, weights), JaxTrainer(settings, split, weights)


def equal(tensors, expected):
    return [*tensors] == [*expected] and all(one.tobytes() == expected[name].tobytes() for name, one in tensors.items())


def assert_same_step(metrics, expected):
    assert metrics.loss == pytest.approx(float(expected.loss), rel=1e-12)
    np.testing.assert_allclose(metrics.densities, expected.densities, rtol=1e-12)
    np.testing.assert_allclose(metrics.gradients, expected.gradients, rtol=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_initial_weights_of_a_seed_match_csnn_jax(dtype, split, x64):
    settings = config({"seed": 3, "dtype": dtype})
    tensors = JaxTrainer(settings, split).tensors()
    assert equal(trainer(split, settings).tensors(), tensors) and {one.dtype.name for one in tensors.values()} == {
        dtype
    }


def test_the_health_check_matches_csnn_jax(split, x64):
    settings = config({"dtype": "float64"}, encoding="rate", learn_threshold=True, threshold=(0.5, 1.0, 2.0))
    summaries, expected = (side.summarize_neurons(split.images) for side in both(split, settings))
    assert list(summaries) == list(expected) == ["lif1", "lif2", "lif3"]
    for one, other in zip(summaries.values(), expected.values(), strict=True):
        assert list(one) == pytest.approx(list(other), rel=5e-3) and one.highest > one.threshold


def test_rounded_weights_are_run_and_saved(split):
    settings = config()
    weights = loud(settings)
    one, rounded = trainer(split, settings, weights), layouts.on_grid(settings.model, weights)
    assert equal(one.masters(), weights) and equal(one.tensors(), rounded) and not equal(weights, rounded)
    bare = trainer(split, settings, rounded)
    bare.network.rounds = False
    assert equal(*(side.trace(split.images).membranes for side in (one, bare)))


@pytest.mark.parametrize("encoding", ["direct", "rate"])
def test_images_enter_as_in_csnn_jax(split, encoding):
    """Floats are rounded to whole multiples of 1 / 256, and spikes are drawn from the same seed."""
    floats = np.random.default_rng(3).random((20, 8, 8, 1), np.float32)
    torch_side, expected = both(split, config(encoding=encoding))
    if encoding == "direct":
        entered = torch_side.input(floats, np.arange(20), (1, 0)).numpy() * 256
        np.testing.assert_array_equal(entered, np.rint(256 * np.moveaxis(floats, -1, 1)))
        pixels = torch_side.input(split.images, [4], (1, 0)).numpy()[0, 0]
        np.testing.assert_array_equal(pixels, split.images[4, ..., 0] / 256)
    traces = [side.trace(floats if encoding == "direct" else split.images) for side in (torch_side, expected)]
    for one, other in zip(traces[0].membranes.values(), traces[1].membranes.values(), strict=True):
        assert differ(one, other) == 0
    assert torch_side.evaluate(split).densities == pytest.approx(expected.evaluate(split).densities)


def test_images_with_a_time_axis_are_sequences(split):
    settings = config()
    frames = np.random.default_rng(1).integers(0, 256, (5, 7, 8, 8, 1), np.uint8)
    recordings = data.Split(frames, split.labels[:5])
    one = trainer(recordings, settings, loud(settings))
    spikes, shorter = (one.trace(some).spikes["lif1"] for some in (frames, frames[:, :4]))
    assert spikes.shape == (7, 5, 4, 4, 4)
    np.testing.assert_array_equal(spikes[3, :, 0, 0], shorter[3, :, 0, 0])
    assert np.isfinite(step(one, recordings, 0, range(5), 1e-2).loss)
    with refusing(UserError, "encoding rate", "time axis"):
        trainer(None, config(encoding="rate")).trace(frames)


def test_a_step_in_micro_batches_equals_one_on_the_whole_batch(split, x64):
    settings = config({"dtype": "float64", "batch_size": 6, "microbatch": 2}, encoding="rate")
    whole = replace(settings, train=replace(settings.train, microbatch="off"))
    first = JaxTrainer(settings, split, loud(settings))
    expected = step(first, split, 0, np.arange(6), 1e-2).fetched()
    for other in (trainer(split, one, loud(settings)) for one in (whole, settings)):
        assert_same_step(step(other, split, 0, np.arange(6), 1e-2).fetched(), expected)
        for name, tensor in first.masters().items():
            np.testing.assert_allclose(other.masters()[name], tensor, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(
    ("made", "scale"),
    [
        ("direct", 128.0),
        ("frames", None),
        *(pytest.param(*one, marks=pytest.mark.slow) for one in (("rate", 128.0), ("latency", None))),
    ],
)
def test_both_learn_from_the_same_augmented_and_encoded_images(made, scale, split, x64):
    plain = config({"dtype": "float64"}, encoding="direct" if made == "frames" else made, scale=scale)
    moved = replace(plain, data=DataConfig(augment=(2.0, 20.0, 0.1)))
    if made == "frames":
        split = data.Split(np.random.default_rng(1).integers(0, 256, (20, 6, 8, 8, 1), np.uint8), split.labels)
    sides = *both(split, moved), trainer(split, plain, loud(plain))
    metrics, expected, unmoved = (step(side, split, 2, [7, 3, 3, 11, 0], 1e-2) for side in sides)
    np.testing.assert_allclose(metrics.densities, expected.densities, rtol=1e-12)
    assert metrics.loss == pytest.approx(float(expected.loss), rel=1e-12) and metrics.loss != unmoved.loss


def test_a_step_can_be_undone_and_one_that_is_not_finite_changes_nothing(split):
    settings = config()
    weights = loud(settings)
    one = trainer(split, settings, weights)
    step(one, split, 0, np.arange(5), 1e-2)
    assert not equal(one.masters(), weights)
    one.roll_back()
    assert equal(one.masters(), weights)
    step(one, split, 0, np.arange(5), 1e-2)
    first = one.masters()
    step(one, split, 1, np.arange(5), 1e-2)
    one.roll_back()
    assert equal(one.masters(), first)
    weights["fc2.weight"][0, 0] = np.nan
    one = trainer(split, settings, weights)
    assert step(one, split, 0, np.arange(5), 1e-2).finite is False and equal(one.masters(), weights)


@pytest.mark.parametrize(
    "changes", [{"optimizer": "sgd", "momentum": 0.9}, {"ema": 0.8}, {"batch_norm": True, "ema": 0.8}], ids=str
)
@pytest.mark.parametrize(
    "model",
    [
        {},
        {"weight_bits": 3},
        {"neuron": "synaptic", "learn_alpha": True, "learn_beta": True},
        {"per_channel": ("beta", "threshold"), "output": "integrator"},
    ],
    ids=str,
)
def test_a_restored_trainer_continues_bit_for_bit(changes, model, split, tmp_path):
    bits = {"weight_bits": None} if "batch_norm" in changes else {}
    settings = config(changes, learn_threshold=True, **model | bits)
    weights = loud(settings)
    one, other = trainer(split, settings, weights), trainer(split, settings)
    for iteration in range(3):
        step(one, split, iteration, np.arange(5) + iteration, 1e-2)
    checkpoints.write(tmp_path, 3, one.snapshot(), b"")
    other.restore(checkpoints.restore(tmp_path, other.snapshot())[1])
    for side in (one, other):
        side.roll_back()
    for iteration in range(3, 5):
        metrics, expected = (step(side, split, iteration, np.arange(5), 1e-2) for side in (other, one))
        assert metrics.loss == expected.loss and metrics.gradients.tobytes() == expected.gradients.tobytes()
    assert equal(other.masters(), one.masters())
    assert not np.array_equal(one.masters()["fc1.weight"], weights["fc1.weight"])


@pytest.mark.parametrize("changes", [{}, {"ema": 0.6}], ids=str)
def test_exponents_are_chosen_for_a_tenth_of_training_and_kept(changes, split):
    settings = config({"epochs": 8, "batch_size": 5} | changes, weight_bits=3)  # 32 iterations
    sides = [trainer(split, settings)]
    if not changes:  # helpers/trained_digests.py has the bits of csnn_jax's training with an average
        sides.append(JaxTrainer(settings, split))
    for side in sides:
        best = []
        for iteration in range(8):
            step(side, split, iteration, np.arange(5) + iteration, 0.3)
            masters, own = side.masters(), [model.tensors(side.network)] if side is sides[0] else []
            chosen = [(held, layouts.with_bits(settings.model, held, 3)[1]) for held in (masters, *own)]
            names = "fc1.exponents", "fc2.exponents"
            best.append([np.array_equal(held[name], grids[name]) for held, grids in chosen for name in names])
            rounded = layouts.on_grid(settings.model, masters)
            assert all(np.array_equal(rounded[name], value) for name, value in side.tensors().items())
        assert np.all(best[:4]) and not np.all(best[4])


def test_the_average_is_evaluated_and_saved(split, x64):
    settings = config({"dtype": "float64", "ema": 0.6})
    weights = loud(settings)
    plain = trainer(split, replace(settings, train=replace(settings.train, ema=None)), weights)
    sides, average = both(split, settings), {name: tensor.copy() for name, tensor in weights.items()}
    for iteration in range(10):
        for side in (plain, *sides):
            step(side, split, iteration, np.arange(5), 3e-2)
        decay = min(0.6, (iteration + 2) / (iteration + 11))  # 0.6 from the 10th iteration on
        for name, tensor in plain.masters().items():
            average[name] = decay * average[name] + (1 - decay) * tensor
    expected = trainer(split, settings, average).evaluate(split).predictions
    for side in sides:
        for name, tensor in side.masters().items():
            np.testing.assert_allclose(tensor, average[name], rtol=1e-6, atol=1e-8)
        assert np.array_equal(side.evaluate(split).predictions, expected)
    assert not np.allclose(average["fc1.weight"], plain.masters()["fc1.weight"], rtol=1e-3)


def test_the_class_can_be_read_from_the_membranes(split, x64):
    settings = config({"dtype": "float64"}, readout="membrane")
    one, jax_side = both(split, settings)
    predictions = one.evaluate(split).predictions
    assert one.evaluate(split, lambda: False) is None
    np.testing.assert_array_equal(predictions, one.trace(split.images).membranes["lif3"].sum(0).argmax(1))
    spikes = trainer(split, replace(settings, model=replace(settings.model, readout="spikes")), loud(settings))
    assert not np.array_equal(predictions, spikes.evaluate(split).predictions)
    scan = JaxTrainer(replace(settings, train=replace(settings.train, engine="scan")), split, loud(settings))
    for side in (jax_side, scan):
        np.testing.assert_array_equal(side.evaluate(split).predictions, predictions)


STEPS = 10
LEARNED = {"surrogate": "atan", "learn_beta": True, "learn_threshold": True, "beta": 0.6}
JOBS: dict[str, dict] = {
    "sgd, momentum, L2": {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.1},
    "sgd, clipping, membranes": {"optimizer": "sgd", "clip_norm": 0.01, "loss": "ce_membrane"},
    "counts": {"loss": "mse_count", "label_smoothing": 0.2},
    "all": dict(optimizer="adamw", schedule="cosine", warmup=5, weight_decay=0.1, clip_norm=0.05)
    | dict(label_smoothing=0.1, rate_target=0.2, rate_weight=5),
}


def trained(split, changes, **model):
    """The parameters of `STEPS` iterations and their metrics in JAX, after checking that snnTorch's are the same."""
    settings = config({"dtype": "float64", "lr": 0.01, "schedule": "constant"} | changes, **LEARNED | model)
    torch_side, expected = both(split, settings, loud(settings, 0.9))
    metrics = []
    for number, rate in enumerate(plan.learning_rates(settings.train, STEPS)[:STEPS]):
        index = np.arange(5) + 5 * (number % 4)
        one, other = (step(side, split, number, index, float(rate)) for side in (torch_side, expected))
        assert_same_step(one, other)
        assert all(0.01 < density < 0.7 for density in one.densities[:-1])
        metrics.append(other)
    for name, tensor in expected.tensors().items():
        np.testing.assert_allclose(torch_side.tensors()[name], tensor, rtol=0, atol=1e-12, err_msg=name)
    return expected.tensors(), metrics


@pytest.mark.parametrize("jobs", [("counts", "all"), pytest.param((*JOBS,), marks=pytest.mark.slow)], ids=len)
def test_both_frameworks_have_the_same_parameters_after_several_steps(jobs, bands, x64):
    """Those of jobs that differ in their options differ."""
    ends = []
    for changes in map(JOBS.get, jobs):
        tensors, metrics = trained(bands, changes)
        assert np.mean([one.densities[-1] for one in metrics]) > 0.05
        ends.append(np.concatenate([tensor.ravel() for tensor in tensors.values()]))
    assert all(np.abs(one - other).max() > 1e-3 for one, other in itertools.combinations(ends, 2))


@pytest.mark.parametrize(
    "changes",
    [
        {"conv_channels": (3, 5), "residual": ("conv2",), "pool": ("avg", "max")},
        pytest.param(
            {"conv_channels": (4, 4), "residual": ("conv2",), "pool": "max", "pool_after": True}, marks=pytest.mark.slow
        ),
    ],
    ids=str,
)
def test_other_stacks_train_identically_with_dropout_too(changes, bands, x64):
    trained(bands, {"dropout": 0.4}, **changes)


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        {"conv_channels": (4, 6), "recurrent": ("fc1",), "pool": ("max", "avg")},
        {"conv_channels": (4, 4, 6), "pool": ("max", "none", "none"), "residual": ("conv2", "conv3")},
        {"network": NODES, "readout": "membrane"},
    ],
    ids=str,
)
def test_batch_normalization_trains_identically(model, bands, x64):
    """Starting from the seed's weights, because these normalize themselves."""
    changes = {"dtype": "float64", "batch_norm": True, "dropout": 0.3, "ema": 0.6, "init": "torch", "lr": 0.01}
    stack = {"input_shape": (8, 8, 1), "num_classes": 3, "time_steps": 6} | model
    settings = decided(Config(ModelConfig(**stack), train=TrainConfig(**changes)))
    sides = trainer(bands, settings), JaxTrainer(settings, bands)
    losses = []
    for number in range(20):
        one, other = (step(side, bands, number, np.arange(20), 0.01) for side in sides)
        assert_same_step(one, other)
        losses.append(float(one.loss))
    assert losses[-1] < losses[0] - 0.1 and min(one.densities) > 0.01
    masters, expected = (side.masters() for side in sides)
    for name, tensor in expected.items():
        np.testing.assert_allclose(masters[name], tensor, rtol=1e-9, atol=1e-11, err_msg=name)
    plain = replace(settings, train=replace(settings.train, batch_norm=False))
    expected = JaxTrainer(plain, bands, sides[1].tensors()).evaluate(bands)
    assert expected.accuracy > 0.5
    for side in sides:
        np.testing.assert_array_equal(side.evaluate(bands).predictions, expected.predictions)


def test_batch_normalization_starts_from_the_calibrated_network(bands, x64):
    train = {"batch_norm": True, "init": "calibrated", "dtype": "float64"}
    settings = config(train, conv_channels=(4, 6), time_steps=4)
    plain = JaxTrainer(replace(settings, train=replace(settings.train, batch_norm=False)), bands)
    sides = trainer(bands, settings), JaxTrainer(settings, bands)
    assert equal(*(side.masters() for side in sides))
    for name, tensor in plain.masters().items():
        np.testing.assert_allclose(sides[0].masters()[name], tensor, rtol=1e-12)
    before, *after = (step(side, bands, 0, range(20), 0.01) for side in (plain, *sides))
    for one in after:
        np.testing.assert_allclose(one.densities, before.densities, rtol=0.02)
    masters, expected = (side.masters() for side in sides)
    for name, tensor in expected.items():
        np.testing.assert_allclose(masters[name], tensor, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    "neurons",
    [
        dict(neuron="synaptic", alpha=0.3, learn_alpha=True, per_channel=("beta", "threshold"), output="integrator"),
        pytest.param(
            dict(per_channel=("beta", "threshold"), learn_beta=False, pool="avg", pool_after=True),
            marks=pytest.mark.slow,
        ),
    ],
    ids=str,
)
def test_neuron_parameters_train_identically_and_never_decay(neurons, bands, x64):
    """snnTorch stores those of a convolution's channels as [channels, 1, 1], with as many axes as a kernel."""
    tensors, _ = trained(bands, {"optimizer": "adamw", "weight_decay": 0.5, "clip_norm": 1.0}, **neurons)
    for node in config(**LEARNED | neurons).model.graph.neurons:
        for name, value in node.operation.initial.items():
            learned = name.partition(".")[2] in node.operation.learned
            assert tensors[name].shape == value.shape and np.array_equal(tensors[name], value) != learned


def test_clipping_reaches_the_limit_exactly_and_leaves_small_gradients_alone():
    gradients = [torch.tensor([3.0, 0.0], dtype=torch.float64), torch.tensor(4.0, dtype=torch.float64)]
    clip(gradients, 5.5)
    assert gradients[0].tolist() == [3.0, 0.0] and gradients[1] == 4.0
    clip(gradients, 1.0)
    assert gradients[0].tolist() == pytest.approx([0.6, 0.0], rel=1e-15)
    assert float(gradients[1]) == pytest.approx(0.8, rel=1e-15)


@pytest.mark.parametrize(
    ("settings", "device", "facts"),
    [
        ({"engine": "scan"}, "cpu", ("engine scan", "auto")),
        ({}, "gpu7", ("device gpu7", "auto", "cpu", "cuda")),
        ({}, "meta", ["device meta"]),
    ],
)
def test_unsupported_options_are_refused(settings, device, facts):
    with refusing(UserError, *facts):
        Trainer(config(settings), device=device)
