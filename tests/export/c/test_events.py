"""`csnn --events`: frames that C makes of a camera's events are compared with Python's."""

import re
import subprocess
from dataclasses import replace

import bundles
import numpy as np
import pytest
from compilers import COMPILERS, SANITIZE, STRICT
from recordings import drawn, nmnist_bytes
from refusals import assert_line

from csnn_jax.config import ModelConfig
from csnn_jax.data.events.frames import Window
from csnn_jax.data.events.recording import Events
from export.c import program

CONFIG = ModelConfig(
    input_shape=(12, 10, 2), conv_channels=(5, 7), hidden=(20,), num_classes=6, time_steps=8, scale=1.0
)
SENSOR = (24, 20)
RULES = ("time", "count")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The program of one network per framing rule, built once."""
    made = {}

    def make(name):
        if name not in made:
            window = Window(CONFIG.time_steps, SENSOR, (12, 10), name)
            made[name] = tmp_path_factory.mktemp("c")
            program.write_sources(made[name], CONFIG, bundles.drawn(CONFIG), CONFIG.time_steps, window)
            program.build(made[name], made[name])
        return made[name] / "csnn"

    return make


def printed(binary, content: bytes, *flags) -> str:
    done = subprocess.run([binary, "--events", *map(str, flags)], input=content, capture_output=True, check=True)
    assert done.stderr == b""
    return done.stdout.decode()


def test_a_recording_is_classified_by_a_network_read_from_membranes(tmp_path):
    config = replace(CONFIG, conv_channels=(), hidden=(), output="integrator", beta=0.9)
    window, events = Window(CONFIG.time_steps, SENSOR, (12, 10), "time"), drawn(1, 700, SENSOR)
    program.write_sources(tmp_path, config, bundles.drawn(config), CONFIG.time_steps, window)
    binary = program.build(tmp_path, tmp_path).program
    line = printed(binary, nmnist_bytes(events))
    assert line == program.printed(binary, window.frames(events))
    assert re.fullmatch(r"class \d, scores( -?\d+\.\d+(e-\d+)?){6}\n", line)
    near = drawn(3, 2000, SENSOR)
    near = near._replace(x=near.x % 4, y=near.y % 4)
    frames = window.frames(near)
    assert (frames == 15).sum() > 50 and frames.max() == 15  # counts saturate
    assert printed(binary, nmnist_bytes(near)) == program.printed(binary, frames)


def shifted(events: Events, start_us: int) -> Events:
    return events._replace(t=events.t + start_us)


@pytest.mark.parametrize("name", RULES)
def test_a_recording_gives_the_same_output_as_its_frames(built, name):
    window = Window(CONFIG.time_steps, SENSOR, (12, 10), name)
    answers = set()
    for seed, count in ((1, 700), (2, 5003)):
        events = shifted(drawn(seed, count, SENSOR), 12_345)
        answers.add(printed(built(name), nmnist_bytes(events)))
        assert printed(built(name), nmnist_bytes(events)) == program.printed(built(name), window.frames(events))
    assert len(answers) == 2


def of_window(events: Events, start: int, each: int) -> np.ndarray:
    """The frames of the window that starts at `start`, one event at a time."""
    frames = np.zeros((CONFIG.time_steps, 12, 10, 2), np.uint8)
    for t, x, y, p in zip(*events, strict=True):
        number = (t - start) // each
        if number < CONFIG.time_steps:
            frames[number, y // 2, x // 2, p] = min(frames[number, y // 2, x // 2, p] + 1, 15)
    return frames


def test_windows_of_a_stream(built):
    """They follow each other from the first event on; two have no events, and the last one is incomplete."""
    first, late = drawn(3, 4000, SENSOR, 90_000), shifted(drawn(4, 900, SENSOR, 20_000), 210_000)
    events = Events(*map(np.concatenate, zip(first, late, strict=True)))
    length, start = 41_005, int(events.t[0])
    windows = []
    for begin in range(start, int(events.t[-1]) + 1, length):
        inside = (events.t >= begin) & (events.t < begin + length)
        part = Events(*(values[inside] for values in events))
        windows.append(of_window(part, begin, length // CONFIG.time_steps))
    assert len(windows) == 6 and [window.any() for window in windows] == [True, True, True, False, False, True]
    lines = printed(built("time"), nmnist_bytes(events), "--window-us", length).splitlines()
    every = program.printed(built("time"), np.stack(windows)).splitlines()
    assert every[3] == every[4] and len(set(every)) > 3
    assert lines == [*every[:4], "1 more without events: the same", every[5]]


OVERFLOW = bytes([0, 240, 0, 0, 0])


def test_windows_that_the_clock_jumps_over_are_not_run(built):
    """200 overflows are 163,840 windows of 10 us without events."""
    event = nmnist_bytes(drawn(9, 1, SENSOR, 1000))
    lines = printed(built("time"), event + 200 * OVERFLOW + event, "--window-us", 10).splitlines()
    assert [line[:6] for line in lines] == ["class ", "class ", "163838", "class "]
    assert lines[2] == "163838 more without events: the same" and lines[0] == lines[3]


def test_the_clock_may_overflow(built):
    """Row 240 advances the clock, as in N-MNIST's files."""
    events = drawn(5, 600, SENSOR, 8000)
    half = Events(*(values[300:] for values in events))
    later = half._replace(t=half.t + 8192)
    whole = Events(*(np.concatenate([values[:300], moved]) for values, moved in zip(events, later, strict=True)))
    stream = nmnist_bytes(Events(*(values[:300] for values in events))) + OVERFLOW + nmnist_bytes(half)
    assert printed(built("time"), stream) == printed(built("time"), nmnist_bytes(whole))


def test_a_window_is_printed_as_soon_as_it_is_over(built):
    """A stream has no end: the first later event prints a window's line while the pipe is still open."""
    events = drawn(6, 2000, SENSOR, 100_000)
    command = [built("time"), "--events", "--window-us", "30000"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin and process.stdout
        process.stdin.write(nmnist_bytes(events))
        process.stdin.flush()
        lines = [process.stdout.readline() for _ in range(3)]
        process.stdin.close()
        lines += process.stdout.readlines()
    assert b"".join(lines).decode() == printed(built("time"), nmnist_bytes(events), "--window-us", 30_000)
    assert len(lines) == 4


def test_a_window_is_answered_as_soon_as_its_other_frames_cannot_change_the_class(built):
    events = drawn(3, 4000, SENSOR, 90_000)
    whole = printed(built("time"), nmnist_bytes(events), "--window-us", 15_000).splitlines()
    until_last = events.t - events.t[0] < 15_000 - 15_000 // CONFIG.time_steps
    begun = nmnist_bytes(Events(*(values[until_last] for values in events)))
    command = [built("time"), "--early", "--events", "--window-us", "15000"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin and process.stdout
        process.stdin.write(begun)
        process.stdin.flush()
        lines = [process.stdout.readline()]  # before the last frame of the first window
        process.stdin.write(nmnist_bytes(events)[len(begun) :])
        process.stdin.close()
        lines += process.stdout.readlines()
    steps = [re.fullmatch(r"(class .), spike counts [\d ]+, after (\d) of 8 steps\n", one.decode()) for one in lines]
    assert [one[1] for one in steps if one] == [line.partition(",")[0] for line in whole]
    assert [int(one[2]) for one in steps if one] == [6, 7, 6, 5, 6, 7]


EVENTS = drawn(7, 50, SENSOR)
CUT = nmnist_bytes(EVENTS)[:-2]
BAD = {
    "cut": (CUT, (), ("middle of an event", 49)),
    "cut stream": (CUT, ("--window-us", "9999999"), ("middle of an event", 49)),
    "empty": (b"", (), ("no events",)),
    "empty stream": (b"", ("--window-us", "1000"), ("no events",)),
    "short": (nmnist_bytes(EVENTS._replace(t=EVENTS.t // 50_000)), (), ("5 us", "at least 8")),
    "order": (nmnist_bytes(EVENTS._replace(t=np.arange(50)[::-1] + 7)), (), ("55 us", 56)),
    "sensor": (bytes([20, 23, 0, 0, 0]), (), ("x = 20, y = 23", "24 by 20 pixels")),
    "rows": (bytes([19, 24, 0, 0, 0]), (), ("x = 19, y = 24", "24 by 20 pixels")),
}


@pytest.mark.parametrize(("content", "flags", "facts"), BAD.values(), ids=BAD.keys())
def test_unusable_recordings_are_refused(built, content, flags, facts):
    done = subprocess.run([built("time"), "--events", *flags], input=content, capture_output=True, check=False)
    assert done.returncode == 2 and done.stdout == b""
    assert_line(done.stderr.decode().removesuffix("\n"), "csnn: standard input", *facts)


@pytest.mark.parametrize(
    ("name", "values", "facts"),
    [
        *(("time", [value], (f"--window-us {value}", 8)) for value in ("7", "1e6", "", f"{10**15 + 1}")),
        ("time", [], ("usage: csnn", "--window-us N")),
        ("count", ["1000"], ("--window-us", "equally many events")),
    ],
)
def test_unusable_windows_are_refused(built, name, values, facts):
    command = [built(name), "--events", "--window-us", *values]
    done = subprocess.run(command, input="", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert_line(done.stderr.removesuffix("\n"), *facts)


@pytest.mark.parametrize("length", [8, 10**15])
def test_a_window_lasts_a_microsecond_for_each_frame_to_31_years(built, length):
    assert len(printed(built("time"), bytes([19, 23, 0, 0, 0]), "--window-us", length).splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("compiler", COMPILERS)
def test_it_compiles_without_warnings_everywhere_and_sanitizers_find_nothing(built, tmp_path, compiler):
    folder, binary = built("time").parent, tmp_path / "sanitized"
    sources = [folder / name for name in ("main.c", "events.c", "csnn.c")]
    command = [*compiler, *STRICT, *SANITIZE, "-O1", *sources, "-o", binary]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    content = nmnist_bytes(drawn(8, 9000, SENSOR))
    for flags in ([], ["--window-us", "50000"]):
        assert printed(binary, content, *flags) == printed(built("time"), content, *flags)
