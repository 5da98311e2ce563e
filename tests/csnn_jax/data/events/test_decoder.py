"""Files that faery decodes, and damaged ones, which crash only faery's separate process."""

import contextlib
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from recordings import drawn, faerys_bytes
from refusals import refusing

from csnn_jax.data.events import decoder
from csnn_jax.data.events.decoder import Decoder
from csnn_jax.data.events.folder import open_recording
from csnn_jax.errors import UserError

SENSOR = (12, 16)
EVENTS = drawn(2, 300, SENSOR)
KINDS = [
    ("one.es", {}, True),
    ("one.aedat4", {}, True),
    ("zstd.aedat4", {"compression": ("zstd", 1)}, True),
    ("dat2.dat", {"version": "dat2"}, True),
    ("evt3.raw", {"version": "evt3"}, True),
    ("one.csv", {}, False),
]
"""Files, how they are written, and whether they state the sensor's size."""


@pytest.fixture
def child():
    """A decoder with its own process."""
    made = Decoder()
    yield made
    made.close()


@pytest.mark.parametrize(("name", "how", "tells"), KINDS)
def test_events_are_those_that_faery_wrote(tmp_path, name, how, tells):
    faerys_bytes(EVENTS, tmp_path / name, SENSOR, **how)
    expected = EVENTS._replace(t=EVENTS.t - EVENTS.t[0]) if name == "one.es" else EVENTS  # starts at the first event
    events, sensor = open_recording(tmp_path / name)
    assert sensor == (SENSOR if tells else None)
    for ours, theirs in zip(events, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("place", "facts"),
    [
        (14, ("SIGABRT",)),  # asks for more memory than there is
        (18, (4294967295, 692)),  # a panic
    ],
)
def test_a_file_that_crashes_the_decoder_is_one_error(tmp_path, child, place, facts):
    """And the next file is decoded."""
    good, bad = tmp_path / "good.aedat4", tmp_path / "bad.aedat4"
    data = bytearray(faerys_bytes(EVENTS, good, SENSOR))
    data[place : place + 4] = b"\xff\xff\xff\xff"
    bad.write_bytes(data)
    for _ in range(2):
        with refusing(UserError, bad, "damaged", *facts):
            child.read(bad)
        assert child._child is None or child._child.poll() is not None, "its state can't be relied on"
        assert len(child.read(good)[0].t) == 300


def test_threads_and_folders(tmp_path, child, monkeypatch):
    """Each thread gets its own file's events, and relative paths start in the caller's directory."""
    for number in range(8):
        faerys_bytes(drawn(number, 100 + number, SENSOR), tmp_path / f"{number}.dat", SENSOR)
    child.read(tmp_path / "0.dat")
    monkeypatch.chdir(tmp_path)
    with ThreadPoolExecutor(4) as pool:
        counts = pool.map(lambda number: len(child.read(Path(f"{number}.dat"))[0].t), range(8))
    assert list(counts) == [100 + number for number in range(8)]


@pytest.fixture
def long(tmp_path) -> Path:
    path = tmp_path / "long.csv"
    path.write_text("t,x,y,on\n" + "1,1,1,1\n" * 2_000_000)
    return path


def test_events_are_limited(long, child, monkeypatch):
    monkeypatch.setattr(decoder, "MOST_EVENTS", 2_000_000)
    assert len(child.read(long)[0].t) == 2_000_000
    monkeypatch.setattr(decoder, "MOST_EVENTS", 1_999_999)
    with refusing(UserError, "long.csv", "1,999,999"):
        child.read(long)


def test_time_is_limited(long, child, monkeypatch):
    """The limit is the CPU time used so far, in whole seconds, which is above 0 after a few files at the latest."""
    monkeypatch.setattr(decoder, "SECONDS", -1 - long.stat().st_size // 1_000_000)
    with refusing(UserError, "long.csv", "too long"):
        for _ in range(100):
            child.read(long)


def test_it_ends_with_its_parent(tmp_path):
    """Even if the parent exits abruptly, as it does here."""
    path = tmp_path / "one.raw"
    faerys_bytes(EVENTS, path, SENSOR)
    said = "import os; from pathlib import Path; from csnn_jax.data.events.decoder import DECODER as d;"
    said += f"d.read(Path({str(path)!r})); print(d._child.pid, flush=True); os._exit(0)"
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        while Path("/proc", done.stdout.strip(), "stat").read_text().split()[2] != "Z":
            time.sleep(0.01)
