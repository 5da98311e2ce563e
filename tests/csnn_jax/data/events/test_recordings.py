"""Recordings are images like others: rows and slices, training, resuming, both frameworks."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from bundles import make_run
from commands import ENVIRONMENT, call, refused, run
from recordings import bar, write_nmnist

from csnn_jax.config import ModelConfig
from csnn_jax.data import Augmentation, as_bytes, load
from csnn_jax.data.events.frames import Window
from export.c import program

SMALL = ("--time-steps", 5, "--input-shape", 17, 17, 2, "--conv-channels", 4, "--hidden", 16, "--batch-size", 10)


@pytest.fixture(scope="module")
def bars(tmp_path_factory) -> str:
    return write_nmnist(tmp_path_factory.mktemp("nmnist"), 6, 2)


def test_rows_and_slices(bars):
    images = load(bars, None, time_steps=5).train.images
    assert images.shape == (60, 5, 34, 34, 2) and images.ndim == 5 and images.dtype == np.uint8
    rows = images[np.array([7, 0, 7])]
    np.testing.assert_array_equal(rows[0], images[7])
    np.testing.assert_array_equal(rows[0], rows[2])
    part = images[5:8]
    assert len(part) == 3 and part.shape[0] == 3
    np.testing.assert_array_equal(np.asarray(part), images[np.array([5, 6, 7])])
    np.testing.assert_array_equal(images[-1], images[59])


def test_what_tells_recordings_apart(bars):
    first = as_bytes(load(bars, None, time_steps=5).train.images)
    assert first == as_bytes(load(bars, None, time_steps=5).train.images)
    for other in (
        load(bars, None, time_steps=6).train.images,
        load(bars, None, time_steps=5, frames="count").train.images,
        load(bars, None, time_steps=5).test.images,
    ):
        assert as_bytes(other) != first


def test_frames_of_a_recording_move_alike(bars):
    images = load(bars, None, time_steps=5).train.images
    moved = Augmentation(images, (0, 0, 0), 0, flip=True).batch(0, np.arange(60))
    plain = np.asarray(images)
    mirrored = (moved == plain[:, :, :, ::-1]).all((1, 2, 3, 4))
    assert mirrored.any() and (mirrored | (moved == plain).all((1, 2, 3, 4))).all()


def losses(out) -> list[float]:
    lines = map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines if line["kind"] == "train"]


@pytest.mark.slow
def test_a_network_learns_recordings_and_takes_the_sensors_shape(bars, tmp_path):
    flags = ("--time-steps", 5, "--conv-channels", 8, "--hidden", 16, "--batch-size", 10, "--epochs", 10)
    kept = ("--cache", tmp_path / "cache")
    done = run("csnn_jax.train", "--dataset", bars, *flags, *kept, "--eval-every", 0, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert "recordings as 5 frames of 34x34, by time, of counts up to 15" in done.stdout
    config = json.loads((tmp_path / "run/config.json").read_text())
    assert config["model"]["input_shape"] == [34, 34, 2] and config["model"]["scale"] == 1
    found = run("csnn_jax.evaluate", tmp_path / "run", env=kept_in(tmp_path))
    assert found.returncode == 0, found.stderr
    assert json.loads((tmp_path / "run/metrics.jsonl").read_text().splitlines()[-1])["accuracy"] > 0.5
    assert "event engine" in done.stdout
    check_all_the_way(tmp_path, Path(bars.removeprefix("nmnist:")))


def kept_in(folder: Path) -> dict[str, str]:
    """The environment of a user whose cache is in a folder."""
    return ENVIRONMENT | {"XDG_CACHE_HOME": str(folder / "home")}


def check_all_the_way(folder: Path, data: Path):
    """Compared, exported and verified; the C program says of each recording's events what is golden of its frames."""
    asked = ("--quick", "--questions", "network", "training", "--out", folder / "compared")
    compared = run("csnn_torch.compare", "--run", folder / "run", *asked, env=kept_in(folder))
    assert compared.returncode == 0, compared.stdout + compared.stderr
    for number in ("float64", "float32"):
        assert f"Spikes: run, scan, {number}: 0 of " in compared.stdout
    assert "Spikes: run, event, float32: 0 of " in compared.stdout
    bundle = folder / "bundle"
    verified = ("export.verify", bundle, "--dataset", f"nmnist:{data}")
    for command in (("export", folder / "run", "--quick", "--out", bundle), verified):
        done = run(*command, env=kept_in(folder))
        assert done.returncode == 0, done.stdout + done.stderr
    (folder / "built").mkdir()
    binary = program.build(bundle / "c", folder / "built").program
    golden = (bundle / "golden/c/expected.txt").read_text()
    recordings = sorted((data / "Test").rglob("*.bin"))[: len(golden.splitlines())]
    printed = [subprocess.run([binary, "--events", path], capture_output=True, text=True) for path in recordings]
    assert len(recordings) == 10 and "".join(done.stdout for done in printed) == golden
    assert len(set(golden.splitlines())) > 3


@pytest.mark.slow
@pytest.mark.numeric
def test_both_frameworks_learn_from_the_same_frames(bars, tmp_path):
    job = ("--dataset", bars, *SMALL, "--dtype", "float64", "--max-iters", 4, "--eval-every", 0, "--cache", "off")
    changes = ("--augment", 1, 5, 0, "--flip", "--event-drop", 0.2)
    for module in ("csnn_jax.train", "csnn_torch.train"):
        done = call(module, *job, *changes, "--frames", "count", "--out", tmp_path / module)
        assert done.returncode == 0, done.stderr
    ours, theirs = (losses(tmp_path / module) for module in ("csnn_jax.train", "csnn_torch.train"))
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)


def test_a_damaged_recording_is_found_before_the_training(tmp_path):
    name = write_nmnist(tmp_path / "data", 2, 1)
    path = tmp_path / "data/Train/9/00001.bin"
    path.write_bytes(path.read_bytes()[:-1])
    for place in ("off", tmp_path / "cache"):
        job = ("--dataset", name, *SMALL, "--cache", place, "--max-iters", 1, "--out", tmp_path / "run")
        done = call("csnn_jax.train", *job)
        assert done.returncode == 2 and done.stderr.startswith(f"error: {path}: 1999 bytes, expected a multiple of 5")
        assert ("Data: checks 20 recordings\n" in done.stdout) == (place == "off")
    assert not (tmp_path / "run").exists()


def test_a_run_that_was_received_names_no_place_to_write_to(tmp_path):
    """A cache is the affair of the command that runs."""
    name = write_nmnist(tmp_path / "data", 1, 1)
    made = make_run(tmp_path / "run", ModelConfig(input_shape=(34, 34, 2), conv_channels=(2,), time_steps=5), name)
    config = json.loads((made / "config.json").read_text())
    assert "cache" not in config["data"] and "cache_limit" not in config["data"]
    config["data"] |= {"cache": str(tmp_path / "named"), "cache_limit": 0.0}
    (made / "config.json").write_text(json.dumps(config))
    (tmp_path / "named/sets/mine").mkdir(parents=True)
    assert "config.json: cache: DataConfig has no such field" in refused("csnn_jax.evaluate", made)
    assert [path.name for path in (tmp_path / "named").rglob("*")] == ["sets", "mine"]


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (("--cache", "here"), "--cache here: expected a data set of recordings, and mnist is one of images"),
        (("--cache", ""), "--cache '': expected a folder, or off"),
    ],
)
def test_flags_of_a_cache(tmp_path, flags, line):
    assert line in refused("csnn_jax.train", *flags, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_recording_is_named_where_frames_fail():
    from csnn_jax.data.events.recordings import Recordings
    from csnn_jax.errors import UserError

    images = Recordings(["there.bin"], lambda place: bar(0, 0), Window(5, (8, 8), (8, 8)))
    with pytest.raises(UserError, match=r"^there\.bin: has an event at y = "):
        images[0]
