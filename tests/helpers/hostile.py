"""Files that someone could send, for every reader: each command refuses them in one line, soon and in little memory.

`READERS` has a function for each reader. It prepares what the reader needs in an empty folder, and returns the path at
which it expects a file, and the command that reads it. `FOR_ANY` makes hostile files for all readers, `OWN` those for
each.
"""

import json
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import torch
from bundles import drawn, make_checkpoint, make_run
from hostile_nir import NIR, TITLE
from hostile_packed import LARGE, Make, deflated, gz, larger_than_memory, many_members, npz
from PIL import Image
from recordings import aedat31_bytes
from recordings import drawn as events

from csnn_jax.config import Config, ModelConfig
from csnn_jax.config.job import job_to_json
from csnn_jax.options import to_json

Words = tuple[object, ...]
Prepare = Callable[[Path], tuple[Path, Words]]

FLAT = ModelConfig(input_shape=(28, 28, 1), conv_channels=(), hidden=(8,), time_steps=3)


def _run(folder: Path) -> Path:
    return make_run(folder / "run", FLAT)


def _evaluated(folder: Path, dataset: str) -> Words:
    return "csnn_jax.evaluate", _run(folder), "--dataset", dataset


def _trained(folder: Path, dataset: str) -> Words:
    cache = ("--cache", "off") if dataset.startswith(("nmnist", "dvsgesture", "events")) else ()
    return "csnn_jax.train", "--dataset", dataset, *cache, "--out", folder / "out"


def _arrays(folder: Path) -> tuple[Path, Words]:
    return folder / "own.npz", _evaluated(folder, f"arrays:{folder / 'own.npz'}")


def _idx(folder: Path) -> tuple[Path, Words]:
    data = folder / "data"
    data.mkdir()
    for name in ("train-labels-idx1", "t10k-labels-idx1"):
        (data / f"{name}-ubyte").write_bytes(struct.pack(">II", 0x801, 100) + bytes(range(10)) * 10)
    (data / "t10k-images-idx3-ubyte").write_bytes(struct.pack(">4I", 0x803, 100, 28, 28) + bytes(100 * 784))
    return data / "train-images-idx3-ubyte", _trained(folder, f"idx:{data}")


def _in_class(folder: Path, name: str) -> Path:
    for part in ("train", "test"):
        for label in ("a", "b"):
            (folder / "data" / part / label).mkdir(parents=True)
            Image.new("L", (28, 28)).save(folder / "data" / part / label / "0.png")
    return folder / "data" / "train" / "b" / name


def _images(folder: Path) -> tuple[Path, Words]:
    return _in_class(folder, "1.png"), _evaluated(folder, f"images:{folder / 'data'}")


def _events(suffix: str) -> Prepare:
    def prepare(folder: Path) -> tuple[Path, Words]:
        path = _in_class(folder, f"1{suffix}")
        for png in folder.rglob("*.png"):
            np.savez(png.with_suffix(".npz"), x=[1, 2], y=[1, 2], t=[0, 900], p=[0, 1])
        return path, _trained(folder, f"events:{folder / 'data'}")

    return prepare


def _nmnist(folder: Path) -> tuple[Path, Words]:
    for part in ("Train", "Test"):
        for label in range(10):
            (folder / "data" / part / str(label)).mkdir(parents=True)
            (folder / "data" / part / str(label) / "0.bin").write_bytes(bytes(5) + bytes([1, 1, 0, 9, 9]))
    path = folder / "data" / "Train" / "0" / "0.bin"
    path.unlink()
    return path, _trained(folder, f"nmnist:{folder / 'data'}")


def _gestures(name: str) -> Prepare:
    def prepare(folder: Path) -> tuple[Path, Words]:
        data = folder / "data"
        data.mkdir()
        for part in ("train", "test"):
            (data / f"trials_to_{part}.txt").write_text("user01_led.aedat\n")
        (data / "user01_led_labels.csv").write_text("class,startTime_usec,endTime_usec\n1,0,9\n")
        (data / "user01_led.aedat").write_bytes(aedat31_bytes(events(0)))
        (data / name).unlink(missing_ok=True)
        return data / name, _trained(folder, f"dvsgesture:{data}")

    return prepare


def _in_run(name: str, module: str, *flags: object) -> Prepare:
    def prepare(folder: Path) -> tuple[Path, Words]:
        path = _run(folder) / name
        path.unlink()
        out = ("--out", folder / "out") if module == "export" else ()
        return path, (module, folder / "run", *flags, *out)

    return prepare


def _checkpoint(name: str) -> Prepare:
    def prepare(folder: Path) -> tuple[Path, Words]:
        path = make_checkpoint(_run(folder), 60) / name
        path.unlink()
        return path, ("csnn_jax.evaluate", folder / "run", "--checkpoint", "60")

    return prepare


def _initial(folder: Path) -> tuple[Path, Words]:
    path = folder / "weights.safetensors"
    return path, ("csnn_jax.train", "--init-from", path, "--out", folder / "out")


def _converted(name: str) -> Prepare:
    return lambda folder: (folder / name, ("csnn_torch.convert", folder / name, "--out", folder / "out"))


def _predicted(name: str) -> Prepare:
    return lambda folder: (folder / name, ("csnn_jax.predict", _run(folder), folder / name))


def _compared(name: str, program: str = "") -> Prepare:
    def prepare(folder: Path) -> tuple[Path, Words]:
        return folder / name, ("csnn_torch.first_difference", f"{program}{folder / name}", _run(folder))

    return prepare


READERS: dict[str, Prepare] = {
    "arrays": _arrays,
    "trained arrays": lambda folder: (folder / "own.npz", _trained(folder, f"arrays:{folder / 'own.npz'}")),
    "idx": _idx,
    "images": _images,
    "events npz": _events(".npz"),
    "events bin": _events(".bin"),
    "events faery": _events(".csv"),
    "nmnist": _nmnist,
    "dvsgesture trials": _gestures("trials_to_train.txt"),
    "dvsgesture table": _gestures("user01_led_labels.csv"),
    "dvsgesture": _gestures("user01_led.aedat"),
    "config.json": _in_run("config.json", "csnn_jax.evaluate"),
    "weights": _in_run("weights.safetensors", "csnn_jax.evaluate"),
    "metrics.jsonl": _in_run("metrics.jsonl", "export"),
    "checkpoint": _checkpoint("weights.safetensors"),
    "state": _checkpoint("state.safetensors"),
    "init-from": _initial,
    "state_dict": _converted("net.pt"),
    "safetensors": _converted("net.safetensors"),
    "nir": _converted("net.nir"),
    "picture": _predicted("digit.png"),
    "recording": _predicted("recording.bin"),
    "first_difference onnx": _compared("step.onnx"),
    "first_difference nir": _compared("net.nir"),
    "first_difference snntorch": _compared("net.nir", "snntorch:"),
}


def pipe(path: Path) -> None:
    os.mkfifo(path)


def zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


def folder(path: Path) -> None:
    path.mkdir()


def terabyte(path: Path) -> None:
    path.touch()
    os.truncate(path, 2**40)


FOR_ANY: tuple[Make, ...] = (pipe, zeros, folder, terabyte)


IMAGES, LABELS = np.zeros((20, 28, 28, 1), np.uint8), np.arange(20) % 10
TRAINED = {"images": IMAGES, "labels": LABELS, "train_images": IMAGES, "train_labels": LABELS}


def _labels(path: Path) -> None:
    """Images whose labels skip from 9 to 255."""
    path.write_bytes(struct.pack(">4I", 0x803, 100, 28, 28) + bytes(100 * 784))
    labels = path.with_name("train-labels-idx1-ubyte")
    labels.write_bytes(labels.read_bytes()[:-1] + b"\xff")


def _large(path: Path) -> None:
    Image.new("1", (12_000, 9_000)).save(path)


def _postscript(path: Path) -> None:
    path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n{} loop\n")


def _changed(**parts: dict[str, Any]) -> Make:
    """A config.json with other values."""

    def make(path: Path) -> None:
        job = json.loads(job_to_json(Config(FLAT)))
        for part, values in parts.items():
            job[part] |= values
        path.write_text(json.dumps(job))

    return make


def _tensors(**given: np.ndarray) -> Make:
    """A weights.safetensors for `FLAT`, with other tensors."""

    def make(path: Path) -> None:
        path.write_bytes(safetensors.numpy.save(drawn(FLAT) | given, {"config": to_json(FLAT)}))

    return make


def _header(text: str, size: int = 0) -> Make:
    """A safetensors file with this header, followed by zeros that take no space on disk."""

    def make(path: Path) -> None:
        path.write_bytes(struct.pack("<Q", len(text)) + text.encode())
        os.truncate(path, 8 + len(text) + size)

    return make


EVENTS = dict.fromkeys("ytp", np.zeros(20, np.uint8))
OWN: dict[str, dict[str, Make]] = {
    "arrays": {
        "bomb": npz(images=("(5000000, 800, 1, 1)", LARGE), labels=LABELS),
        "lying header": npz(images=("(1000000000, 784, 1, 1)", 9), labels=LABELS),
        "more than memory": larger_than_memory,
        "many classes": npz(images=IMAGES, labels=LABELS, classes=np.array(10**12)),
        "long names": npz(images=IMAGES, labels=LABELS, classes=np.array(["x" * 200_000, "y"])),
        "many members": many_members,
        "escape in a name": npz(**{TITLE: IMAGES}),
    },
    "trained arrays": {"right-to-left class": npz(**TRAINED, classes=np.array([*"abcdefghi", "\u202e"]))},
    "idx": {
        "bomb": gz((0x803, 100, 28, 28), LARGE),
        "large shape": gz((0x803, 100, 2**31, 2**31), 100),
        "more images than labels": gz((0x803, 5_000_000, 28, 28), LARGE),
        "label 255": _labels,
    },
    "images": {"bomb": _large, "postscript": _postscript},
    "events npz": {"bomb": npz(x=(f"({LARGE},)", LARGE), **EVENTS)},
    "dvsgesture": {
        "no packets": lambda path: (path.write_bytes(b"#!AER-DAT3.1\n"), os.truncate(path, 2**31)),
        "long line": lambda path: (path.write_bytes(b"#!AER-DAT3.1\n#"), os.truncate(path, 2**31 - 1)),
    },
    "config.json": {
        "arrays:/dev/zero": _changed(data={"dataset": "arrays:/dev/zero"}),
        "escape in data set": _changed(data={"dataset": f"idx:{TITLE}"}),
        "many classes": _changed(model={"num_classes": 10**12}),
        "many layers": _changed(model={"hidden": [8] * 100_000}),
        "wide layer": _changed(model={"hidden": [10**12], "per_channel": ["beta"]}),
        "large images": _changed(model={"input_shape": [10**5, 10**5, 1]}),
        "deep": lambda path: path.write_text("[" * 10**6),
    },
    "weights": {
        "escape in a name": _tensors(**{TITLE: np.zeros(3, np.float32)}),
        "large tensor": _header(
            '{"__metadata__":{"config":"{}"},"fc1.weight":{"dtype":"F32","shape":[1000000000],"data_offsets":[0,4000000000]}}',
            LARGE,
        ),
        "large header": _header("x" * 9, 9),
    },
    "metrics.jsonl": {
        "long line": lambda path: (path.touch(), os.truncate(path, 10**9)),
        "escape": lambda path: path.write_text(json.dumps({"kind": TITLE, "iter": TITLE}) + "\n"),
    },
    "state_dict": {
        "deflated": deflated,
        "code": lambda path: path.write_bytes(pickle.dumps(os.getcwd)),
        "escape in a name": lambda path: torch.save({TITLE: torch.zeros(3, 3)}, path),
        "repeated": lambda path: torch.save({"fc1.weight": torch.zeros(1).expand(10, 10**9)}, path),
    },
    "safetensors": {"escape in a name": lambda path: path.write_bytes(safetensors.numpy.save({TITLE: IMAGES[0]}))},
    "nir": NIR,
    "first_difference snntorch": {name: NIR[name] for name in ("link to a pipe", "nested hard links", "bomb")},
    "picture": {"bomb": _large, "postscript": _postscript},
}
