"""csnn_torch's trainer has the same initial weights, batches, steps and optimizers as csnn_jax's."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from refusals import refusing
from stepping import step

from csnn_jax import data
from csnn_jax.config import Config, DataConfig, ModelConfig, TrainConfig, decided
from csnn_jax.errors import UserError
from csnn_jax.runs import checkpoints, layouts
from csnn_jax.runs.equality import differ
from csnn_jax.training import plan
from csnn_jax.update import trainer as jax_trainer
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


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_initial_weights_of_a_seed_match_csnn_jax(dtype, split, x64):
    settings = config({"seed": 3, "dtype": dtype})
    ours = jax_trainer.Trainer(settings, split).tensors()
    theirs = trainer(split, settings).tensors()
    assert list(ours) == list(theirs)
    for name, tensor in ours.items():
        assert tensor.dtype == dtype and tensor.tobytes() == theirs[name].tobytes()


def test_the_health_check_matches_csnn_jax(split, x64):
    settings = config({"dtype": "float64"}, encoding="rate", learn_threshold=True, threshold=(0.5, 1.0, 2.0))
    weights = loud(settings)
    mine = trainer(split, settings, weights).summarize_neurons(split.images)
    theirs = jax_trainer.Trainer(settings, split, weights).summarize_neurons(split.images)
    assert list(mine) == list(theirs) == ["lif1", "lif2", "lif3"]
    for one, other in zip(mine.values(), theirs.values(), strict=True):
        assert list(one) == pytest.approx(list(other), rel=5e-3) and one.highest > one.threshold


def test_rounded_weights_are_run_and_saved(split):
    settings = config()
    weights = loud(settings)
    one = trainer(split, settings, weights)
    rounded = layouts.on_grid(settings.model, weights)
    for name, tensor in one.masters().items():
        np.testing.assert_array_equal(tensor, weights[name])
        np.testing.assert_array_equal(one.tensors()[name], rounded[name])
    assert not np.array_equal(rounded["fc1.weight"], weights["fc1.weight"])
    bare = trainer(split, settings, rounded)
    bare.network.grids = ()
    found, expected = (side.trace(split.images).membranes for side in (one, bare))
    for node, membranes in found.items():
        np.testing.assert_array_equal(membranes, expected[node])


def test_floats_are_rounded_to_whole_multiples_as_in_csnn_jax(split):
    settings = config()
    floats = np.random.default_rng(3).random((20, 8, 8, 1), np.float32)
    mine, theirs = trainer(None, settings, loud(settings)), jax_trainer.Trainer(settings, split, loud(settings))
    entered = mine.input(floats, np.arange(20), (1, 0)).numpy() * 256
    np.testing.assert_array_equal(entered, np.rint(256 * np.moveaxis(floats, -1, 1)))
    ours, others = (side.trace(floats).membranes for side in (mine, theirs))
    assert {node: differ(ours[node], others[node]) for node in others} == {"lif1": 0, "lif2": 0, "lif3": 0}
    np.testing.assert_array_equal(mine.input(split.images, [4], (1, 0)).numpy()[0, 0], split.images[4, ..., 0] / 256)


def test_images_are_drawn_as_spikes_as_in_csnn_jax(split):
    settings = config(encoding="rate")
    weights = loud(settings)
    sides = (trainer(split, settings, weights), jax_trainer.Trainer(settings, split, weights))
    mine, theirs = (side.trace(split.images).spikes for side in sides)
    assert {node: differ(mine[node], theirs[node]) for node in theirs} == {"lif1": 0, "lif2": 0, "lif3": 0}


def test_images_with_a_time_axis_are_sequences(split):
    settings = config()
    frames = np.random.default_rng(1).integers(0, 256, (5, 7, 8, 8, 1), np.uint8)
    one = trainer(data.Split(frames, split.labels[:5]), settings, loud(settings))
    spikes, shorter = (one.trace(some).spikes["lif1"] for some in (frames, frames[:, :4]))
    assert spikes.shape == (7, 5, 4, 4, 4)
    np.testing.assert_array_equal(spikes[3, :, 0, 0], shorter[3, :, 0, 0])
    assert np.isfinite(step(one, data.Split(frames, split.labels[:5]), 0, range(5), 1e-2).loss)
    with refusing(UserError, "encoding rate", "time axis"):
        trainer(None, config(encoding="rate")).trace(frames)


def test_a_step_in_micro_batches_equals_one_on_the_whole_batch(split, x64):
    settings = config({"dtype": "float64", "batch_size": 6, "microbatch": 2}, encoding="rate")
    whole = replace(settings, train=replace(settings.train, microbatch="off"))
    weights, index = loud(settings), np.arange(6)
    sides = [
        jax_trainer.Trainer(settings, split, weights),
        *(trainer(split, one, weights) for one in (whole, settings)),
    ]
    first = step(sides[0], split, 0, index, 1e-2).fetched()
    for other in sides[1:]:
        found = step(other, split, 0, index, 1e-2).fetched()
        assert found.loss == pytest.approx(first.loss, rel=1e-12)
        np.testing.assert_allclose(found.densities, first.densities, rtol=1e-12)
        np.testing.assert_allclose(found.gradients, first.gradients, rtol=1e-9)
        for name, tensor in sides[0].masters().items():
            np.testing.assert_allclose(other.masters()[name], tensor, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(("made", "scale"), [("direct", 128.0), ("rate", 128.0), ("latency", None), ("frames", None)])
def test_both_learn_from_the_same_augmented_and_encoded_images(made, scale, split, x64):
    plain = config({"dtype": "float64"}, encoding="direct" if made == "frames" else made, scale=scale)
    moved = replace(plain, data=DataConfig(augment=(2.0, 20.0, 0.1)))
    if made == "frames":
        split = data.Split(np.random.default_rng(1).integers(0, 256, (20, 6, 8, 8, 1), np.uint8), split.labels)
    weights, index = loud(plain), [7, 3, 3, 11, 0]
    ours = step(jax_trainer.Trainer(moved, split, weights), split, 2, index, 1e-2)
    theirs, without = (step(trainer(split, one, weights), split, 2, index, 1e-2) for one in (moved, plain))
    np.testing.assert_allclose(ours.densities, theirs.densities, rtol=1e-12)
    assert theirs.loss == pytest.approx(float(ours.loss), rel=1e-12) and theirs.loss != without.loss


def test_a_step_can_be_undone_and_one_that_is_not_finite_changes_nothing(split):
    settings = config()
    weights = loud(settings)
    one = trainer(split, settings, weights)
    step(one, split, 0, np.arange(5), 1e-2)
    assert any(not np.array_equal(weights[name], tensor) for name, tensor in one.masters().items())
    one.roll_back()
    assert all(np.array_equal(weights[name], tensor) for name, tensor in one.masters().items())
    weights["fc2.weight"][0, 0] = np.nan
    one = trainer(split, settings, weights)
    assert step(one, split, 0, np.arange(5), 1e-2).finite is False
    for name, tensor in one.masters().items():
        np.testing.assert_array_equal(tensor, weights[name])


@pytest.mark.parametrize("changes", [{"optimizer": "sgd", "momentum": 0.9}, {"ema": 0.8}], ids=str)
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
    settings = config(changes, learn_threshold=True, **model)
    weights = loud(settings)
    one = trainer(split, settings, weights)
    for iteration in range(3):
        step(one, split, iteration, np.arange(5) + iteration, 1e-2)
    checkpoints.write(tmp_path, 3, one.snapshot(), b"")
    other = trainer(split, settings)
    other.restore(checkpoints.restore(tmp_path, other.snapshot())[1])
    other.roll_back()
    one.roll_back()
    for iteration in range(3, 5):
        mine, theirs = (step(side, split, iteration, np.arange(5), 1e-2) for side in (one, other))
        assert mine.loss == theirs.loss and mine.gradients.tobytes() == theirs.gradients.tobytes()
    for name, tensor in one.masters().items():
        assert tensor.tobytes() == other.masters()[name].tobytes()
    assert not np.array_equal(one.masters()["fc1.weight"], weights["fc1.weight"])


@pytest.mark.parametrize("changes", [{}, {"ema": 0.6}], ids=str)
def test_exponents_are_chosen_for_a_tenth_of_training_and_kept(changes, split):
    settings = config({"epochs": 8, "batch_size": 5} | changes, weight_bits=3)  # 32 iterations
    sides = [trainer(split, settings)]
    if not changes:  # helpers/trained_digests.py has the bits of csnn_jax's training with an average
        sides.append(jax_trainer.Trainer(settings, split))
    for side in sides:
        seen = []
        for iteration in range(8):
            step(side, split, iteration, np.arange(5) + iteration, 0.3)
            masters = side.masters()
            best = layouts.with_bits(settings.model, masters, 3)[1]
            seen.append(
                [np.array_equal(masters[f"{name}.exponents"], best[f"{name}.exponents"]) for name in ("fc1", "fc2")]
            )
            kept = layouts.on_grid(settings.model, masters)
            assert all(np.array_equal(kept[name], value) for name, value in side.tensors().items())
        assert np.all(seen[:4]) and not np.all(seen[4:])


def test_the_average_is_evaluated_and_saved(split, x64):
    settings = config({"dtype": "float64", "ema": 0.6})
    weights = loud(settings)
    plain = trainer(split, replace(settings, train=replace(settings.train, ema=None)), weights)
    sides = trainer(split, settings, weights), jax_trainer.Trainer(settings, split, weights)
    average = {name: tensor.copy() for name, tensor in weights.items()}
    for iteration in range(10):
        for side in (plain, *sides):
            step(side, split, iteration, np.arange(5), 3e-2)
        decay = min(0.6, (iteration + 2) / (iteration + 11))  # 0.6 from the 10th iteration on
        for name, tensor in plain.masters().items():
            average[name] = decay * average[name] + (1 - decay) * tensor
    kept = trainer(split, settings, average)
    for side in sides:
        for name, tensor in side.masters().items():
            np.testing.assert_allclose(tensor, average[name], rtol=1e-6, atol=1e-8)
        assert np.array_equal(side.evaluate(split).predictions, kept.evaluate(split).predictions)
    assert not np.allclose(average["fc1.weight"], plain.masters()["fc1.weight"], rtol=1e-3)


def test_the_class_can_be_read_from_the_membranes(split, x64):
    settings = config({"dtype": "float64"}, readout="membrane")
    weights = loud(settings)
    one = trainer(split, settings, weights)
    found = one.evaluate(split)
    assert one.evaluate(split, lambda: False) is None
    membranes = one.trace(split.images).membranes["lif3"].sum(0)
    np.testing.assert_array_equal(found.predictions, membranes.argmax(1))
    spikes = trainer(split, replace(settings, model=replace(settings.model, readout="spikes")), weights)
    assert not np.array_equal(found.predictions, spikes.evaluate(split).predictions)
    for engine in ("scan", "auto"):
        ours = jax_trainer.Trainer(replace(settings, train=replace(settings.train, engine=engine)), split, weights)
        np.testing.assert_array_equal(ours.evaluate(split).predictions, found.predictions)


STEPS = 30
LEARNED = {"surrogate": "atan", "learn_beta": True, "learn_threshold": True, "beta": 0.6}
BASE = {"dtype": "float64", "lr": 0.01, "schedule": "constant"}
JOBS: dict[str, dict] = {
    "sgd, momentum, L2": {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.1},
    "sgd, clipping, membranes": {"optimizer": "sgd", "clip_norm": 0.01, "loss": "ce_membrane"},
    "counts": {"loss": "mse_count", "label_smoothing": 0.2},
    "all": dict(optimizer="adamw", schedule="cosine", warmup=5, weight_decay=0.1, clip_norm=0.05)
    | dict(label_smoothing=0.1, rate_target=0.2, rate_weight=5),
}

ENDS: list[np.ndarray] = []
"""The final parameters of the jobs so far, which must all differ."""


def steps(one, split):
    """Runs a whole job of 30 iterations: (final parameters, metrics of each step)."""
    rates = plan.learning_rates(one.config.train, STEPS)
    metrics = [step(one, split, i, np.arange(5) + 5 * (i % 4), float(rates[i])) for i in range(STEPS)]
    return one.tensors(), metrics


def same_steps(split, changes, **model):
    """`steps` in JAX, after checking that snnTorch's are the same."""
    settings = config(BASE | changes, **LEARNED | model)
    weights = loud(settings, 0.9)
    ours, mine = steps(jax_trainer.Trainer(settings, split, weights), split)
    theirs, other = steps(trainer(split, settings, weights), split)
    for name, tensor in ours.items():
        np.testing.assert_allclose(theirs[name], tensor, rtol=0, atol=1e-12, err_msg=name)
    for a, b in zip(mine, other, strict=True):
        assert a.loss == pytest.approx(b.loss, rel=1e-12)
        np.testing.assert_allclose(a.densities, b.densities, rtol=1e-12)
        np.testing.assert_allclose(a.gradients, b.gradients, rtol=1e-9)
        assert all(0.01 < density < 0.7 for density in a.densities[:-1])
    return ours, mine


@pytest.mark.parametrize("changes", JOBS.values(), ids=JOBS.keys())
def test_both_frameworks_have_the_same_parameters_after_thirty_steps(changes, bands, x64):
    ours, mine = same_steps(bands, changes)
    assert np.mean([step.densities[-1] for step in mine]) > 0.05
    end = np.concatenate([tensor.ravel() for tensor in ours.values()])
    assert all(np.abs(end - other).max() > 1e-3 for other in ENDS)
    ENDS.append(end)


NEURONS: dict[str, dict] = {
    "synaptic integrator, learned per channel": dict(neuron="synaptic", alpha=0.3, learn_alpha=True)
    | dict(per_channel=("beta", "threshold"), output="integrator"),
    "fixed per channel, averages after": dict(per_channel=("beta", "threshold"), learn_beta=False)
    | dict(pool="avg", pool_after=True),
}


def test_pools_after_neurons_train_identically_with_dropout_too(bands, x64):
    same_steps(bands, {"dropout": 0.4}, pool="max", pool_after=True)


@pytest.mark.parametrize("neurons", NEURONS.values(), ids=NEURONS)
def test_neuron_parameters_train_identically_and_never_decay(neurons, bands, x64):
    """snnTorch stores those of a convolution's channels as [channels, 1, 1], with as many axes as a kernel."""
    changes = {"optimizer": "adamw", "weight_decay": 0.5, "clip_norm": 1.0}
    ours, _ = same_steps(bands, changes, **neurons)
    for node in config(**LEARNED | neurons).model.graph.neurons:
        for name, value in node.operation.initial.items():
            learned = name.partition(".")[2] in node.operation.learned
            assert ours[name].shape == value.shape and np.array_equal(ours[name], value) != learned


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
