"""DVS Gesture files against tonic's reader, and malformed files."""

import struct

import numpy as np
import pytest
from recordings import COLUMNS, aedat31_bytes, drawn, write_dvsgesture
from refusals import refusing
from tonic.io import get_aer_events_from_file, read_aedat_header_from_file

from csnn_jax.data import load
from csnn_jax.data.events.dvsgesture import Gesture, index, read_gesture
from csnn_jax.errors import UserError

OTHER = struct.pack("<HH6I", 2, 1, 4, 0, 0, 3, 3, 3) + bytes(12)
"""A packet of another type: three empty frames."""


def test_events_match_tonic(tmp_path):
    path = tmp_path / "one.aedat"
    path.write_bytes(aedat31_bytes(drawn(1, 777, (128, 128))))
    version, start, _ = read_aedat_header_from_file(str(path))
    raw = get_aer_events_from_file(str(path), version, start)
    address = raw["address"]  # tonic 1.7's `read_dvs_ibm` fails on its own header; this would be its next step
    theirs = {"t": raw["timeStamp"], "x": address >> 17 & 0x1FFF, "y": address >> 2 & 0x1FFF, "p": address >> 1 & 1}
    ours = read_gesture(Gesture(path, 0, len(index(path)), 0, 2**31))
    for name in ("t", "x", "y", "p"):
        np.testing.assert_array_equal(getattr(ours, name), theirs[name])
    assert len(ours.t) == 777 and len(index(path)) == 16


def test_a_gesture_includes_its_start_but_not_its_end(tmp_path):
    """Regardless of the packets; those outside its time or of another type aren't read."""
    gestures = load(write_dvsgesture(tmp_path), None, time_steps=4)
    assert gestures.train.images.shape == (3, 4, 128, 128, 2) and gestures.train.labels.tolist() == [0, 3, 10]
    assert gestures.names[3] == "right arm clockwise" and gestures.num_classes == 11
    events = drawn(0, 3000, (128, 128), 3_000_000)
    path = tmp_path / "user01_led.aedat"
    data = aedat31_bytes(events)
    path.write_bytes(data + OTHER)
    index.cache_clear()
    gesture = load(f"dvsgesture:{tmp_path}", None).train.images.places[1]
    assert str(gesture) == f"{path} from 1000000 to 1900000 us"
    inside = (events.t >= 1_000_000) & (events.t < 1_900_000)
    ours = read_gesture(gesture)
    for name, values in events._asdict().items():
        np.testing.assert_array_equal(getattr(ours, name), values[inside])
    assert len(index(path)) == 60 and gesture.stop - gesture.first < 22
    path.write_bytes(aedat31_bytes(events._replace(t=np.arange(3000)), 1))
    (tmp_path / "user01_led_labels.csv").write_text(f"{COLUMNS}\n1,10,20\n")
    index.cache_clear()
    (gesture,) = load(f"dvsgesture:{tmp_path}", None, time_steps=4).train.images.places
    assert read_gesture(gesture).t.tolist() == [*range(10, 20)] and (gesture.first, gesture.stop) == (10, 20)


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        (lambda data: b"#!AER-DAT2.0" + data[12:], ("AER-DAT2.0", "AER-DAT3.1")),
        (lambda data: data[:-3], ("within a packet",)),
    ],
)
def test_malformed_aedat_files(tmp_path, change, facts):
    name, path = write_dvsgesture(tmp_path), tmp_path / "user01_led.aedat"
    index.cache_clear()
    path.write_bytes(change(path.read_bytes()))
    with refusing(UserError, path, *facts):
        load(name, None)


@pytest.mark.parametrize(
    ("file", "text", "facts"),
    [
        ("trials_to_test.txt", "", ("no trials",)),
        ("trials_to_train.txt", "../user01_led.aedat", ("'../user01_led.aedat'",)),
        ("user02_led_labels.csv", f"{COLUMNS}\n1,2,{'3' * 200_000}", ("user02_led_labels.csv", "three")),
        ("trials_to_train.txt", "user09_led.aedat", ("trials_to_train.txt", "user09_led.aedat")),
        ("user02_led_labels.csv", COLUMNS, ("no gestures",)),
        ("user02_led_labels.csv", "a,b", (COLUMNS,)),
        *(("user02_led_labels.csv", f"{COLUMNS}\n{row}", (f"'{row}'", 1, 11)) for row in ("12,1,2", "0,1,2", "1,2,2")),
    ],
)
def test_malformed_and_missing_tables(tmp_path, file, text, facts):
    name = write_dvsgesture(tmp_path)
    (tmp_path / file).write_text(text)
    with refusing(UserError, *facts):
        load(name, None)
    (tmp_path / file).unlink()
    with refusing(UserError, file):
        load(name, None)
