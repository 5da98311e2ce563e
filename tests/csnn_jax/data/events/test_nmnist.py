"""N-MNIST folders as published, and malformed ones."""

import numpy as np
from recordings import write_nmnist
from refusals import refusing

from csnn_jax.config import ModelConfig
from csnn_jax.data import fit_model, load
from csnn_jax.errors import UserError


def test_a_folder_as_published(tmp_path):
    found = load(write_nmnist(tmp_path, 2, 1), None, time_steps=5)
    assert found.train.images.shape == (20, 5, 34, 34, 2) and found.test.images.shape == (10, 5, 34, 34, 2)
    assert found.train.labels.tolist() == 2 * list(range(10))
    assert found.frames == 5 and found.pixels == (1, 4) and found.names == tuple("0123456789")
    columns = [np.flatnonzero(found.train.images[row].sum((0, 1, 3))) for row in (0, 19)]
    assert columns[0].tolist() == [0, 1, 2, 3] and columns[1].tolist() == [27, 28, 29, 30]
    fitted = fit_model(ModelConfig(time_steps=5), found)
    assert fitted.input_shape == (34, 34, 2) and (fitted.scale, fitted.input_bits) == (1, 4)
    assert found.notes == (f"{tmp_path}: recordings as 5 frames of 34x34, by time, of counts up to 15",)


def test_the_input_may_be_a_whole_fraction_of_the_sensor(tmp_path):
    name = write_nmnist(tmp_path, 1, 1)
    assert load(name, (17, 17, 2), time_steps=5).train.images.shape == (10, 5, 17, 17, 2)
    for shape, expected in (
        ((28, 28, 2), "a size that divides the sensor's 34 by 34 pixels"),
        ((68, 34, 2), "a size that divides"),
        ((34, 34, 1), "2 channels, OFF and ON events"),
    ):
        with refusing(UserError, f"input_shape {' '.join(map(str, shape))}", expected):
            load(name, shape)


def test_malformed_folders(tmp_path):
    for name, facts in (("", ("Train",)), ("Train", (0,))):
        (tmp_path / name).mkdir(exist_ok=True)
        with refusing(UserError, *facts):
            load(f"nmnist:{tmp_path}", None)
    for label in range(10):
        (tmp_path / "Train" / str(label)).mkdir()
    with refusing(UserError, "Train/0", "00002.bin"):
        load(f"nmnist:{tmp_path}", None)


def test_malformed_files(tmp_path):
    name = write_nmnist(tmp_path, 1, 1)
    path = tmp_path / "Train" / "3" / "00000.bin"
    path.write_bytes(b"\x22" + path.read_bytes()[1:])
    with refusing(UserError, path, "x = 34", "0 to 33"):
        load(name, None).train.images[3]
    path.unlink()
    path.mkdir()
    with refusing(UserError, path, "directory"):
        load(name, None).train.images[3]
