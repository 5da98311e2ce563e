"""Training on arrays gives the same network as the command on the same images."""

import functools
from dataclasses import replace

import numpy as np
import pytest
import torch
from commands import passed
from idx_files import write_folder
from refusals import refusing

import csnn_jax
from csnn_jax import Config, DataConfig, ModelConfig, TrainConfig, UserError

RANDOM = np.random.default_rng(0)
LABELS = np.arange(60) % 3
IMAGES = (RANDOM.integers(0, 100, (60, 8, 8, 1)) + 70 * LABELS[:, None, None, None]).astype(np.uint8)
BINARY = (IMAGES > 120).astype(np.uint8)
FRAMES = np.tile(IMAGES[:, None] // 100, (1, 6, 1, 1, 1))
FLOATS = (IMAGES / 255 * 0.0018).astype(np.float32)
"""As bytes, all of these would be black."""
CONFIG = Config(
    ModelConfig(conv_channels=(4,), hidden=(), time_steps=4),
    DataConfig(augment=(1.0, 0.0, 0.0)),
    TrainConfig(batch_size=20, epochs=3, eval_every=4),
)
PLAIN = replace(CONFIG, data=DataConfig())
PAIR = (IMAGES, LABELS)


def fit(config, train=PAIR, test=PAIR, **options):
    return csnn_jax.fit(config, train, test, **{"log": None, **options})


@functools.cache
def plain() -> csnn_jax.Trained:
    """A fit of `PLAIN`, with class names."""
    return fit(PLAIN, classes=["cat", "dog", "cow"])


@functools.cache
def on_floats() -> csnn_jax.Trained:
    """A fit of an epoch of `FLOATS`."""
    return fit(changed("train", epochs=1), (FLOATS, LABELS), (FLOATS, LABELS))


def changed(part: str, **values) -> Config:
    return replace(PLAIN, **{part: replace(getattr(PLAIN, part), **values)})


@pytest.mark.numeric
def test_the_network_matches_the_commands(tmp_path, capsys):
    folder = write_folder(tmp_path, (IMAGES[..., 0], LABELS), (IMAGES[:9, ..., 0], LABELS[:9]))
    flags = ("--input-shape", 8, 8, 1, "--conv-channels", 4, "--hidden", "--time-steps", 4, "--batch-size", 20)
    more = ("--epochs", 3, "--eval-every", 4, "--augment", 1, 0, 0, "--out", tmp_path / "run")
    printed = passed("csnn_jax.train", "--dataset", f"idx:{folder}", *flags, *more)
    heard = []
    model = csnn_jax.fit(
        CONFIG, PAIR, (IMAGES[:9], LABELS[:9]), on_evaluation=lambda *what: heard.append(what), classes=3
    )
    theirs = csnn_jax.load(str(tmp_path / "run"))
    assert model.config.model == theirs.config.model and model.config.model.num_classes == 3
    assert [done for done, _ in heard] == [0, 4, 8, 9] and all(result.accuracy <= 1 for _, result in heard)
    ours, expected = model.trace(IMAGES), theirs.trace(IMAGES)
    for node, membranes in ours.membranes.items():
        np.testing.assert_allclose(membranes, expected.membranes[node], atol=1e-4)
    said = capsys.readouterr().out
    assert said.startswith("Data: arrays, 60 training and 9 test images, 3 classes\n")
    assert "Inferred from the arrays: input_shape 8 8 1, num_classes 3, scale 256\n" in said
    assert "Chosen for this network: surrogate atan, init calibrated, lr 0.005\n" in said
    assert "Initial weights: calibrated" in said and f"Final Test Accuracy: {heard[-1][1].accuracy:.2%}\n" in said
    evaluations = [line for line in printed.splitlines() if "Acc" in line]
    assert evaluations and [line for line in said.splitlines() if "Acc" in line] == evaluations
    assert "--" not in said


def test_health_messages():
    heard = []
    silent = changed("model", threshold=50.0)
    fit(replace(silent, train=replace(PLAIN.train, init="torch", epochs=6, eval_every=0)), log=heard.append)
    lines = [line for line in heard if line.startswith("Health: ")]
    assert lines and lines[0].startswith("Health: silent layers: lif1, lif2 (density 0, 0 %)")
    assert "try a lower threshold (now 50)" in lines[0] and "--" not in " ".join(heard)


@pytest.mark.numeric
def test_floats_have_their_own_scale():
    model = on_floats()
    scale, bits = model.config.model.scale, model.config.model.input_bits
    assert bits == 11 and 500 < FLOATS.max() * scale <= 2**bits
    with refusing(ValueError, f"{2**bits / scale:g}"):
        model.classify(FLOATS * 4)
    fired = model.evaluate((FLOATS, LABELS)).densities
    assert 0 < fired["lif1"] < 1
    assert model.records[-1]["density"] == fired
    assert np.asarray(model.trace(FLOATS).membranes["lif1"]).std() > 0.01


def test_frames():
    heard, floats = [], (FRAMES / 1.0, LABELS)
    config = fit(changed("model", time_steps=100), floats, floats, log=heard.append).config.model
    assert (config.time_steps, config.scale) == (6, 1) and any("time_steps 6" in line for line in heard)
    assert any("counts are used unscaled (scale 1)" in line for line in heard)


def test_frames_beyond_counts_need_a_scale():
    frames = FRAMES * np.uint8(127)
    with refusing(UserError, "scale", 254):
        fit(PLAIN, (frames, LABELS), (frames, LABELS))
    config = fit(changed("model", scale=128, time_steps=6), (frames, LABELS), (frames, LABELS)).config.model
    assert (config.time_steps, config.scale) == (6, 128)


def test_class_names_are_kept(tmp_path):
    csnn_jax.save(plain(), tmp_path / "run")
    assert csnn_jax.load(tmp_path / "run").config.class_names == ("cat", "dog", "cow")
    with refusing(UserError, r"classes cat dog c\now"):
        fit(PLAIN, classes=["cat", "dog", "c\now"])


@pytest.mark.numeric
def test_a_decided_job_can_be_used_again():
    """Without its class names, which belong to the data. So can multiples of one 255th, which are bytes."""
    first = plain()
    again = fit(first.config, (IMAGES / 255, LABELS), (torch.tensor(IMAGES).div(255), LABELS))
    assert again.config == replace(first.config, data=replace(first.config.data, classes=None))
    assert again.records[-1]["density"] == first.records[-1]["density"]
    ours, theirs = first.trace(IMAGES).membranes, again.trace(IMAGES / 255).membranes
    for node in ours:
        np.testing.assert_array_equal(ours[node], theirs[node])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("which", ["train", "test"])
def test_a_value_that_is_not_finite_is_refused_with_its_position(which, value):
    broken = FLOATS.copy()
    broken[3, 5, 7, 0] = broken[4, 0, 0, 0] = value
    pairs = {"train": (FLOATS, LABELS), "test": (FLOATS, LABELS)} | {which: (broken, LABELS)}
    with refusing(ValueError, f"{which} images", value, [3, 5, 7, 0]):
        fit(PLAIN, pairs["train"], pairs["test"])
    if which == "test":
        with refusing(ValueError, "images", value, [3, 5, 7, 0]):
            on_floats().classify(broken)


@pytest.mark.numeric
def test_weights_that_grow_out_of_range_are_refused_after_training():
    with refusing(UserError, "after training", "magnitudes"):
        fit(changed("train", lr=2.0**29, epochs=3))


def test_more_iterations_than_the_epochs_have_are_noted_as_by_the_command():
    heard = []
    model = fit(changed("train", max_iters=10), log=heard.append)
    assert model.records[-1]["iter"] == 9
    (line,) = (line for line in heard if "max_iters" in line)
    assert line.startswith("Ends after 9 iterations") and "epochs 3" in line


DIM = (IMAGES / 256, LABELS)
MOVING = (FRAMES, LABELS)


@pytest.mark.parametrize(
    ("error", "facts", "config", "train", "test"),
    [
        (ValueError, ("train", 5, 60), PLAIN, (IMAGES, LABELS[:5]), PAIR),
        (ValueError, ("test images", [60, 4, 8, 1], "[N, 8, 8, 1]"), PLAIN, PAIR, (IMAGES[:, :4], LABELS)),
        (ValueError, ("test labels", 1, 3, "0 to 2"), PLAIN, PAIR, (IMAGES, LABELS + 1)),
        (ValueError, ("train images", "test images", 1, 239), PLAIN, (BINARY, LABELS), PAIR),
        (ValueError, ("train labels", "1, 2, 3", "0 to 2", "classes"), PLAIN, (IMAGES, LABELS + 1), PAIR),
        (UserError, ("data.validation 10", 0), changed("data", validation=10), PAIR, PAIR),
        (UserError, ("data.dataset idx:x", "no effect"), changed("data", dataset="idx:x"), PAIR, PAIR),
        (UserError, ("data.frames count", "time"), changed("data", frames="count"), PAIR, PAIR),
        (UserError, ("event_drop 0.5", "recordings"), changed("data", event_drop=0.5), PAIR, PAIR),
        (UserError, ("train.checkpoint_every 5", 0), changed("train", checkpoint_every=5), PAIR, PAIR),
        (UserError, ("batch_size 61", "1 to 60"), changed("train", batch_size=61), PAIR, PAIR),
        (UserError, ("eval_images 61", "1 to 60"), changed("train", eval_images=61), PAIR, PAIR),
        (ValueError, ("[N, 9, 9, 1]", "model.input_shape"), changed("model", input_shape=(9, 9, 1)), PAIR, PAIR),
        (UserError, ("time_steps 5", 6), changed("model", time_steps=5), MOVING, MOVING),
        (UserError, ("encoding rate", "time axis"), changed("model", encoding="rate", time_steps=6), MOVING, MOVING),
        (UserError, ("encoding rate", "floats", "direct", "bytes"), changed("model", encoding="rate"), DIM, DIM),
        (UserError, ("augment", "float32", "bytes"), CONFIG, DIM, DIM),
        (ValueError, ("config", "ModelConfig", "Config"), PLAIN.model, PAIR, PAIR),
    ],
)
def test_what_does_not_fit_or_has_no_effect_is_refused(error, facts, config, train, test):
    with refusing(error, *facts):
        fit(config, train, test)


@pytest.mark.parametrize("argument", ["on_evaluation", "log"])
def test_an_argument_that_is_no_function_is_refused(argument):
    with refusing(ValueError, argument, 3, "function", None):
        fit(PLAIN, **{argument: 3})


@pytest.mark.numeric
def test_a_saved_network_is_evaluated_on_its_own_data(tmp_path):
    model, run = plain(), tmp_path / "run"
    csnn_jax.save(model, run)
    np.savez(tmp_path / "test.npz", images=IMAGES, labels=LABELS)
    np.savez(tmp_path / "other.npz", images=IMAGES[:9] / 255, labels=LABELS[:9])
    loaded = csnn_jax.load(run)
    assert loaded.config == model.config and loaded.config.data.dataset == "arrays"
    printed = passed("csnn_jax.evaluate", run, "--dataset", f"arrays:{tmp_path / 'test.npz'}")
    accuracy = model.evaluate(PAIR).accuracy
    assert model.records[-1]["accuracy"] == accuracy
    assert f"Test Accuracy: {accuracy:.2%} (60 images of arrays:{tmp_path / 'test.npz'})" in printed
    assert "Note: the network was trained on these images" in printed
    printed = passed("csnn_jax.evaluate", run, "--dataset", f"arrays:{tmp_path / 'other.npz'}")
    assert f"Test Accuracy: {model.evaluate((IMAGES[:9], LABELS[:9])).accuracy:.2%}" in printed
    assert "Note: csnn_jax.fit evaluated the network on other images" in printed
    kinds = [record["kind"] for record in csnn_jax.runs.rundir.RunDir(run).records()]
    assert kinds.count("train") == 9 and kinds.count("test") == 3 and kinds[-1] == "end"


@pytest.mark.numeric
def test_the_command_trains_on_floats_like_fit(tmp_path):
    values = np.float64(FLOATS)
    np.savez(tmp_path / "all.npz", images=values, labels=LABELS, train_images=values, train_labels=LABELS)
    flags = ("--conv-channels", 4, "--hidden", "--time-steps", 4, "--batch-size", 20, "--eval-every", 4)
    passed("csnn_jax.train", "--dataset", f"arrays:{tmp_path / 'all.npz'}", *flags, "--out", tmp_path / "run")
    theirs, ours = csnn_jax.load(tmp_path / "run"), on_floats()
    assert theirs.config.model == ours.config.model and ours.config.model.input_bits == 11
    membranes, expected = ours.trace(FLOATS).membranes, theirs.trace(FLOATS).membranes
    for node in membranes:
        np.testing.assert_allclose(membranes[node], expected[node], atol=1e-4)
