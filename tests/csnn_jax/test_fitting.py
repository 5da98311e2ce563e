"""A network that is trained on arrays is the one that the command trains on the same images."""

from dataclasses import replace

import numpy as np
import pytest
from commands import call
from idx_files import write_folder

import csnn_jax
from csnn_jax import Config, DataConfig, ModelConfig, TrainConfig

RANDOM = np.random.default_rng(0)
LABELS = np.arange(60) % 3
IMAGES = (RANDOM.integers(0, 100, (60, 8, 8, 1)) + 70 * LABELS[:, None, None, None]).astype(np.uint8)
CONFIG = Config(
    ModelConfig(conv_channels=(4,), hidden=(8,), time_steps=4),
    DataConfig(augment=(1.0, 0.0, 0.0)),
    TrainConfig(batch_size=20, epochs=3, eval_every=4),
)


@pytest.mark.numeric
def test_the_network_is_the_commands(tmp_path):
    folder = write_folder(tmp_path, (IMAGES[..., 0], LABELS), (IMAGES[:9, ..., 0], LABELS[:9]))
    flags = ("--input-shape", 8, 8, 1, "--conv-channels", 4, "--hidden", 8, "--time-steps", 4, "--batch-size", 20)
    more = ("--epochs", 3, "--eval-every", 4, "--augment", 1, 0, 0, "--out", tmp_path / "run")
    done = call("csnn_jax.train", "--dataset", f"idx:{folder}", *flags, *more)
    assert done.returncode == 0, done.stderr
    heard = []
    model = csnn_jax.fit(CONFIG, (IMAGES, LABELS), (IMAGES[:9], LABELS[:9]), lambda *what: heard.append(what))
    theirs = csnn_jax.load(str(tmp_path / "run"))
    assert model.config.model == theirs.config.model and model.config.model.num_classes == 3
    assert [done for done, _ in heard] == [0, 4, 8, 9] and all(result.accuracy <= 1 for _, result in heard)
    ours, found = model.trace(IMAGES), theirs.trace(IMAGES)
    for one, other in zip(ours.membranes, found.membranes, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_floats_and_frames():
    floats = csnn_jax.fit(CONFIG, (IMAGES / 255, LABELS), (IMAGES / 255, LABELS))
    assert floats.config.model.scale == 255 and floats.config.model.input_shape == (8, 8, 1)
    frames = np.tile(IMAGES[:, None] // 100, (1, 6, 1, 1, 1))
    config = replace(CONFIG, model=replace(CONFIG.model, time_steps=6))
    found = csnn_jax.fit(config, (frames, LABELS), (frames, LABELS)).config.model
    assert (found.time_steps, found.scale) == (6, 1)


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ((IMAGES, LABELS[:5]), (IMAGES, LABELS), "5 labels for 60 images"),
        ((IMAGES, LABELS / 2), (IMAGES, LABELS), "labels are float64"),
        ((IMAGES, LABELS), (IMAGES[:, :4], LABELS), r"images are \[60, 4, 8, 1\], expected \[N, 8, 8, 1\]"),
        ((IMAGES, LABELS), (IMAGES, LABELS + 1), "labels go from 1 to 3, expected 0 to 2"),
    ],
)
def test_arrays_that_do_not_belong_together(train, test, message):
    with pytest.raises(ValueError, match=message):
        csnn_jax.fit(CONFIG, train, test)
