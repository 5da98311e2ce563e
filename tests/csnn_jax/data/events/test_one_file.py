"""A recording becomes frames like those in the network's training, or is refused in one line."""

import numpy as np
import pytest
from recordings import drawn, nmnist_bytes
from refusals import refusing

from csnn_jax.config import Config, DataConfig, ModelConfig
from csnn_jax.data.events.folder import frames_and_notes
from csnn_jax.errors import UserError

MODEL = ModelConfig(input_shape=(34, 34, 2), conv_channels=(4,), time_steps=6, scale=1.0)
CONFIG = Config(MODEL, DataConfig("nmnist:nowhere", frames="count"))


def test_events_of_a_larger_sensor_are_added_up(tmp_path):
    np.savez(tmp_path / "one.npz", **drawn(8, sensor=(68, 68))._asdict(), height=68, width=68)
    frames, notes = frames_and_notes(str(tmp_path / "one.npz"), Config(MODEL, DataConfig("events:nowhere")))
    assert frames.shape == (6, 34, 34, 2)
    assert notes == ("events of 68 by 68 pixels were summed to 34 by 34",)


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("cut.bin", (1998, "a multiple of 5")),
        ("other.npz", (128, 34)),
        ("empty.bin", ("no events",)),
        ("nowhere.npz", ("no such file",)),
    ],
)
def test_recordings_that_do_not_fit(name, facts, tmp_path):
    (tmp_path / "cut.bin").write_bytes(nmnist_bytes(drawn(7))[:-2])
    (tmp_path / "empty.bin").touch()
    np.savez(tmp_path / "other.npz", **drawn(8, sensor=(128, 128))._asdict(), height=128, width=128)
    with refusing(UserError, tmp_path / name, *facts):
        frames_and_notes(str(tmp_path / name), CONFIG)
