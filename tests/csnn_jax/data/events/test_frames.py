"""Recordings become frames by tonic's rules, and behave like images: in training, comparisons and exports."""

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tonic.functional
from commands import ENVIRONMENT, passed, passed_by_process
from recordings import drawn, write_nmnist
from refusals import refused, refusing
from tonic.io import make_structured_array
from trainings import losses, records

from csnn_jax.data import as_bytes, load
from csnn_jax.data.events.frames import Window
from csnn_jax.data.events.recording import Events
from csnn_jax.data.images import MOST_COUNT
from export.c import program

SENSOR = (12, 10)


def window(steps: int = 7, shape: tuple[int, int] = SENSOR, by: str = "time") -> Window:
    return Window(steps, SENSOR, shape, by)


@pytest.mark.parametrize(("by", "name"), [("time", "n_time_bins"), ("count", "n_event_bins")])
@pytest.mark.parametrize("seed", range(5))
def test_frames_match_tonic(by, name, seed):
    events = drawn(seed, 500 + seed, SENSOR, 10_000 + seed)
    array = make_structured_array(events.x, events.y, events.t, events.p)
    theirs = tonic.functional.to_frame_numpy(array, (SENSOR[1], SENSOR[0], 2), **{name: 7})
    ours = window(by=by).frames(events)
    assert ours.dtype == np.uint8
    np.testing.assert_array_equal(ours, np.minimum(np.moveaxis(theirs, 1, 3), MOST_COUNT))


@pytest.mark.parametrize("by", ["time", "count"])
def test_the_worked_example(by):
    t = np.array([10, 12, 15, 16, 19])
    events = Events(t, np.arange(5), np.zeros(5, int), np.array([0, 1, 0, 1, 1]))
    frames = Window(2, (1, 5), (1, 5), by).frames(events)
    assert [[tuple(one) for one in np.argwhere(frame[0])] for frame in frames] == [[(0, 0), (1, 1)], [(2, 0), (3, 1)]]


def test_pixels_of_a_frame_hold_whole_blocks_of_the_sensor():
    events = drawn(4, 500, SENSOR)
    small, large = window(shape=(4, 5)).frames(events), window().frames(events)
    blocks = large.reshape(7, 4, 3, 5, 2, 2).sum((2, 4))
    assert small.max() < MOST_COUNT
    np.testing.assert_array_equal(small, blocks)


def test_values_are_counts_up_to_fifteen():
    events = Events(np.arange(40), np.zeros(40, int), np.zeros(40, int), (np.arange(40) >= 37).astype(int))
    assert Window(1, (1, 1), (1, 1), "count").frames(events).ravel().tolist() == [15, 3]


def test_recordings_that_are_too_short():
    events = drawn(5, 6, SENSOR, 1000)
    with refusing(ValueError, "6 events", "time_steps 7"):
        window(by="count").frames(events)
    with refusing(ValueError, "5 us", "time_steps 7"):
        window().frames(events._replace(t=np.arange(6)))


SMALL = ("--time-steps", 5, "--input-shape", 17, 17, 2, "--conv-channels", 4, "--hidden", 16, "--batch-size", 10)


@pytest.fixture(scope="module")
def bars(tmp_path_factory) -> str:
    return write_nmnist(tmp_path_factory.mktemp("nmnist"), 6, 2)


def test_rows_and_slices(bars):
    images = load(bars, None, time_steps=5).train.images
    whole = np.asarray(images)
    assert whole.shape == images.shape == (60, 5, 34, 34, 2) and whole.dtype == images.dtype and images.ndim == 5
    np.testing.assert_array_equal(images[np.array([7, 0, 7])], whole[[7, 0, 7]])
    np.testing.assert_array_equal(np.asarray(images[5:9][1:]), whole[6:9])
    np.testing.assert_array_equal(images[-1], whole[-1])
    by_step = images[np.arange(3)].swapaxes(0, 1)  # as JAX takes it without a copy
    assert by_step.flags.c_contiguous and by_step.ctypes.data % 64 == 0


def test_bytes_tell_recordings_apart(bars):
    first = as_bytes(load(bars, None, time_steps=5).train.images)
    assert first == as_bytes(load(bars, None, time_steps=5).train.images)
    for other in (
        load(bars, None, time_steps=6).train.images,
        load(bars, None, time_steps=5, frames="count").train.images,
        load(bars, None, time_steps=5).test.images,
    ):
        assert as_bytes(other) != first


@pytest.mark.slow
def test_a_network_learns_recordings_and_takes_the_sensors_shape(bars, tmp_path):
    flags = ("--time-steps", 5, "--conv-channels", 8, "--hidden", 16, "--batch-size", 10, "--epochs", 10)
    folders = ("--cache", tmp_path / "cache", "--out", tmp_path / "run")
    said = passed_by_process("csnn_jax.train", "--dataset", bars, *flags, *folders, "--eval-every", 0)
    assert "recordings as 5 frames of 34x34, by time, of counts up to 15" in said and "event engine" in said
    config = json.loads((tmp_path / "run/config.json").read_text())
    assert config["model"]["input_shape"] == [34, 34, 2] and config["model"]["scale"] == 1
    passed_by_process("csnn_jax.evaluate", tmp_path / "run", env=kept_in(tmp_path))
    assert records(tmp_path / "run", "end")[-1]["accuracy"] > 0.5
    check_all_the_way(tmp_path, Path(bars.removeprefix("nmnist:")))


def kept_in(folder: Path) -> dict[str, str]:
    """An environment with the user's cache in this folder."""
    return ENVIRONMENT | {"XDG_CACHE_HOME": str(folder / "home")}


def check_all_the_way(folder: Path, data: Path):
    """Compares, exports and verifies; from each recording's events, the C program gets its frames' golden output."""
    asked = ("--quick", "--questions", "network", "training", "--out", folder / "compared")
    compared = passed_by_process("csnn_torch.compare", folder / "run", *asked, env=kept_in(folder))
    for engine in ("scan", "event"):
        equal = rf"Network: run, {engine}: 0 of [1-9][\d,]* spikes, 0 of [1-9][\d,]* membranes and 0 of 20 predictions"
        assert re.search(equal, compared)
    bundle = folder / "bundle"
    verified = ("export.verify", bundle, "--dataset", f"nmnist:{data}")
    for command in (("export", folder / "run", "--quick", "--out", bundle), verified):
        passed_by_process(*command, env=kept_in(folder))
    (folder / "built").mkdir()
    binary = program.build(bundle / "c", folder / "built").program
    golden = (bundle / "golden/c/expected.txt").read_text()
    in_turn = sorted((data / "Test").rglob("*.bin"), key=lambda path: (path.name, path.parent.name))  # classes in turn
    recordings = in_turn[: len(golden.splitlines())]
    printed = [subprocess.run([binary, "--events", path], capture_output=True, text=True) for path in recordings]
    assert len(recordings) == 10 and "".join(done.stdout for done in printed) == golden
    assert len(set(golden.splitlines())) > 3


@pytest.mark.slow
@pytest.mark.numeric
def test_both_frameworks_learn_from_the_same_frames(bars, tmp_path):
    job = ("--dataset", bars, *SMALL, "--dtype", "float64", "--max-iters", 4, "--eval-every", 0, "--cache", "off")
    changes = ("--augment", 1, 5, 0, "--flip", "--event-drop", 0.2)
    for module in ("csnn_jax.train", "csnn_torch.train"):
        passed(module, *job, *changes, "--frames", "count", "--out", tmp_path / module)
    ours, theirs = (losses(tmp_path / module) for module in ("csnn_jax.train", "csnn_torch.train"))
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)


@pytest.mark.parametrize(
    ("flags", "facts"),
    [
        (("--cache", "here"), ("--cache here", "mnist")),
        (("--cache", ""), ("--cache ''", "folder", "off")),
    ],
)
def test_bad_cache_flags(tmp_path, flags, facts):
    refused("csnn_jax.train", *flags, "--out", tmp_path / "run", names=facts)


@pytest.mark.parametrize("inside", ["", "/deeper"])
def test_a_cache_that_is_a_file_is_refused(tmp_path, inside):
    (tmp_path / "file").touch()
    flags = ("--dataset", "saccades", "--cache", f"{tmp_path}/file{inside}", "--out", tmp_path / "run")
    refused("csnn_jax.train", *flags, names=(f"--cache {tmp_path}/file{inside}", f"{tmp_path}/file", "a folder"))
