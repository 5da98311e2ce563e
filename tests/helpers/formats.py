"""Every format that's read from a user's file: how to make a good file, and how the product reads it."""

import gzip
import math
import operator
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.torch
import torch
from bundles import drawn, make_checkpoint, make_run
from changed_bytes import copies
from idx_files import idx
from nir_files import affine, chained, conv, flatten, lif, pool, sixteenths
from nir_files import write as write_nir
from PIL import Image
from recordings import aedat31_bytes, faerys_bytes, nmnist_bytes, write_dvsgesture
from recordings import drawn as events
from two_sides import step_of

from csnn_jax.config import ModelConfig, nodes
from csnn_jax.data import load, pictures
from csnn_jax.data.arrays import read_arrays
from csnn_jax.data.events import dvsgesture
from csnn_jax.data.events.cache import Cache
from csnn_jax.data.events.folder import open_recording, read_recording
from csnn_jax.data.events.frames import Recordings, Window
from csnn_jax.data.events.recording import read_bin
from csnn_jax.data.folders import read_picture
from csnn_jax.data.idx import read_folder
from csnn_jax.data.source import Wanted
from csnn_jax.errors import UserError
from csnn_jax.runs import checkpoints, rundir, tensorboard, weights
from csnn_jax.runs.rundir import RunDir
from csnn_torch.first_difference.sides import OnnxStep
from csnn_torch.foreign import nir_network, saved

Read = dict[str, Any]
"""What a file holds by name: arrays, or anything else that can be compared."""

SAME, SHAPES, ANY = "same", "shapes", "any"


class Format(NamedTuple):
    """A format.

    Attributes:
        make: writes a good file to a folder, with the files that are read together with it; returns its path.
        read: reads the file.
        stays: what a changed file that isn't refused has in common with the good one: everything (`SAME`) if the format
            has checksums; otherwise the names and shapes of its arrays (`SHAPES`), or nothing (`ANY`) if these are in
            the file, too.
        marks: regular expression for what begins a part of the file.
        other: a file or folder that may be named instead: if two files contradict each other, either may be damaged.
        values: (content) -> the position from which a byte belongs to at most two values, if the format has one: a
            changed byte there changes no others.
    """

    make: Callable[[Path], Path]
    read: Callable[[Path], Read]
    stays: str
    marks: bytes = b"\\Z"
    other: str = ""
    values: Callable[[bytes], int] | None = None


def check(form: Format, folder: Path, count: int) -> None:
    """Changes a file `count` times: each copy is refused in a line that names it, or changes no more than it may."""
    path = form.make(folder)
    content, good = path.read_bytes(), form.read(path)
    wrong = []
    for done, changed in copies(content, count, form.marks):
        path.write_bytes(changed)
        if problem := _problem(form, path, content, good):
            wrong.append(f"{done}: {problem}")
    assert not wrong, "\n".join(wrong)


def _problem(form: Format, path: Path, content: bytes, good: Read) -> str:
    """Why reading a changed file ends as it shouldn't, or an empty string."""
    try:
        with warnings.catch_warnings(action="error"):
            read = form.read(path)
    except UserError as error:
        line = str(error)
        is_named = path.name in line or (form.other and form.other in line)
        return "" if is_named and line.isprintable() else f"refused with {line!r}"
    except Exception as error:
        return f"raised {error!r}"
    changed = path.read_bytes()
    if form.values and len(changed) == len(content):
        start, differing = form.values(content), sum(map(operator.ne, changed, content))
        if changed[:start] == content[:start]:
            more = _differing(read, good) > 2 * differing
            return f"{differing} bytes changed more values" if more else ""
    if form.stays == SAME and _differing(read, good):
        return "has other values"
    if form.stays == SHAPES:
        other = [name for name, one in good.items() if np.shape(read.get(name)) != np.shape(one)]
        return f"{other} have other shapes" if other else ""
    return ""


def _differing(read: Read, good: Read) -> int | float:
    """The number of values that differ; infinity if there are others."""
    if read.keys() != good.keys() or any(np.shape(read[name]) != np.shape(one) for name, one in good.items()):
        return math.inf
    return sum(int(np.sum(read[name] != one)) for name, one in good.items())


def after_header(content: bytes) -> int:
    """Where the values of a safetensors file start."""
    return 8 + int.from_bytes(content[:8], "little")


RANDOM = np.random.default_rng(0)
BYTES = RANDOM.integers(0, 256, (6, 5, 5), np.uint8)
SENSOR = (12, 16)
TINY = ModelConfig(input_shape=(4, 4, 1), conv_channels=(2,), hidden=(3,), num_classes=2, time_steps=3, learn_beta=True)


def _written(name: str, content: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


def _idx(changed: str, pack: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        labels = np.arange(6, dtype=np.uint8) % 3
        for stem in ("train", "t10k"):
            (folder / f"{stem}-images-idx3-ubyte").write_bytes(pack(idx(BYTES)))
            (folder / f"{stem}-labels-idx1-ubyte").write_bytes(pack(idx(labels)))
        return folder / changed

    return make


def _read_idx(path: Path) -> Read:
    images, labels = read_folder(path.parent).train
    return {"images": images, "labels": labels}


def _npz(name: str, save: Callable[..., None], **arrays: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        save(folder / name, **arrays)
        return folder / name

    return make


OWN = {
    "images": BYTES[..., None],
    "labels": np.arange(6) % 3,
    "train_images": BYTES[..., None],
    "train_labels": np.arange(6) % 3,
    "classes": np.array(["a", "b", "c"]),
}


def _read_arrays(path: Path) -> Read:
    raw = read_arrays(str(path), Wanted((5, 5, 1), 1))
    return {"images": raw.test[0], "labels": raw.test[1], "train": raw.train[0], "y": raw.train[1], "names": raw.names}


def _picture(name: str, image: Image.Image, **how: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        image.save(folder / name, **how)
        return folder / name

    return make


RGB = Image.fromarray(RANDOM.integers(0, 256, (8, 6, 3)).astype(np.uint8))
DEEP = Image.fromarray(RANDOM.integers(0, 65536, (8, 6)).astype(np.uint16))
TURNED = Image.Exif()
TURNED[0x0112] = 6


def _read_picture(path: Path) -> Read:
    return {"pixels": read_picture(str(path), (8, 6, 3)).pixels}


def _any_picture(path: Path) -> Read:
    return {"pixels": pictures.read(str(path), (8, 6, 3), digit=False).pixels}


def _recording(name: str, **how: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        faerys_bytes(events(2, 60, SENSOR), folder / name, SENSOR, **how)
        return folder / name

    return make


def _frames(path: Path) -> Read:
    return {
        "frames": Recordings([path], read_recording, Window(5, SENSOR, SENSOR))[0],
        "sensor": np.array(open_recording(path)[1] or (0, 0)),
    }


def _gestures(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        write_dvsgesture(folder)
        for n in (1, 2):
            path = folder / f"user0{n}_led.aedat"
            path.write_bytes(aedat31_bytes(events(n, 120, (128, 128), 3_000_000), 20))
        return folder / name

    return make


def _read_gestures(path: Path) -> Read:
    dvsgesture.index.cache_clear()
    dataset = load(f"dvsgesture:{path.parent}", (8, 8, 2), time_steps=2)
    return {"labels": dataset.train.labels, "frames": np.asarray(dataset.train.images)}


def _cached(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        for n in range(3):
            (folder / f"{n}.bin").write_bytes(nmnist_bytes(events(n, 60, SENSOR)))
        _frames_of(folder)
        (records,) = (folder / "cache").iterdir()
        return records / name

    return make


def _frames_of(folder: Path) -> np.ndarray:
    recordings = Recordings([folder / f"{n}.bin" for n in range(3)], read_bin, Window(3, SENSOR, SENSOR))
    return np.asarray(Cache(folder / "cache", tell=id).frames("nmnist", recordings))


def _run(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        run = make_run(folder / "run", TINY)
        make_checkpoint(run, 60)
        return run / name

    return make


def _state(folder: Path) -> Path:
    state = {"a": np.arange(6, dtype=np.float32), "n": np.array(3, np.int32)}
    checkpoints.write(folder / "checkpoints", 4, state, weights.to_bytes(drawn(TINY), TINY, masters=True))
    return folder / "checkpoints/4/state.safetensors"


def _read_state(path: Path) -> Read:
    like = {"a": np.zeros(6, np.float32), "n": np.array(0, np.int32)}
    number, state = checkpoints.restore(path.parent.parent, like)
    return {"number": number, **state}


def _read_checkpoint(path: Path) -> Read:
    _, config, tensors = rundir.open_run(str(path.parents[2]), "60")
    return {"config": config, **tensors}


def _read_weights(path: Path) -> Read:
    model, tensors = weights.load(path)
    return {"model": model, **tensors}


NODES = b"""[
 {"name": "conv", "operation": "convolution", "inputs": ["image"], "channels": 2, "kernel": 3},
 {"name": "lif", "operation": "leaky", "inputs": ["conv"]}
]
"""
STATE = {
    "conv1.weight": torch.linspace(-1, 1, 18).reshape(2, 1, 3, 3),
    "conv1.bias": torch.ones(2),
    "fc1.weight": torch.linspace(-1, 1, 16).reshape(2, 8),
    "fc1.bias": torch.ones(2),
    "lif1.beta": torch.tensor(0.5),
    "lif1.threshold": torch.tensor(1.0),
    "lif2.beta": torch.tensor(0.5),
    "lif2.threshold": torch.tensor(1.0),
}


def _pt(name: str, **how: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        torch.save({"epoch": 3, "net": STATE}, folder / name, **how)
        return folder / name

    return make


def _read_saved(path: Path) -> Read:
    tensors = saved.plain(saved.read(str(path)).tensors, str(path))
    return {name: one.float().numpy() for name, one in tensors.items()}


def _nir(folder: Path) -> Path:
    nodes = chained(
        (1, 4, 4), conv(sixteenths(0, 2, 1, 3, 3)), lif(), pool(2), flatten(), affine(sixteenths(1, 2, 8)), lif()
    )
    write_nir(folder / "net.nir", nodes)
    return folder / "net.nir"


def _read_nir(path: Path) -> Read:
    network = nir_network.read(str(path))
    return {"config": network.config, **network.tensors}


def _read_metrics(path: Path) -> Read:
    run = RunDir(path.parent)
    return {"records": run.records(), "scores": run.scores(), "finished": run.finished, "split": run.final_split}


def _metrics(folder: Path) -> Path:
    run = RunDir(make_run(folder / "run", TINY))
    run.record("validation", iter=50, accuracy=0.75)
    run.record("end", iter=60, interrupted=False, accuracy=0.5, split="test", seconds=1.5)
    return run.path / "metrics.jsonl"


def _event_file(folder: Path) -> Path:
    (folder / "tensorboard").mkdir()
    files = tensorboard.EventFiles(folder / "tensorboard", 0, np.ones(9))
    for number in range(1, 4):
        files.write({"kind": "train", "iter": number, "loss": 2.0, "images_per_s": 9.0, "density": {}, "gradient": {}})
    return files.path


def _continued(path: Path) -> Read:
    tensorboard.follow(RunDir(path.parents[1]), 2, np.ones(9), bytes)
    for other in {*path.parent.iterdir()} - {path}:
        other.unlink()
    return {}


def _step(folder: Path) -> Path:
    return step_of(make_run(folder / "run", TINY), folder / "bundle")


def _run_step(path: Path) -> Read:
    recorded = OnnxStep(str(path)).record(torch.ones(2, 1, 1, 4, 4))
    return {"spikes": recorded.spikes, "membranes": recorded.membranes}


FORMATS = {
    "idx": Format(_idx("train-images-idx3-ubyte", bytes), _read_idx, SHAPES, values=lambda content: 16),
    "idx labels": Format(_idx("train-labels-idx1-ubyte", bytes), _read_idx, SHAPES, values=lambda content: 8),
    "idx.gz": Format(_idx("train-images-idx3-ubyte", partial(gzip.compress, mtime=0)), _read_idx, SAME),
    "npz": Format(_npz("own.npz", np.savez, **OWN), _read_arrays, SAME, b"PK|\x93NUMPY"),
    "deflated npz": Format(_npz("own.npz", np.savez_compressed, **OWN), _read_arrays, SAME, b"PK"),
    "png": Format(_picture("a.png", RGB, exif=TURNED), _read_picture, SAME, b"IHDR|IDAT|IEND|eXIf"),
    "palette png": Format(
        _picture("a.png", RGB.convert("P"), transparency=3), _read_picture, SAME, b"IHDR|IDAT|IEND|PLTE|tRNS"
    ),
    "deep png": Format(_picture("a.png", DEEP), _read_picture, SAME, b"IHDR|IDAT|IEND"),
    "jpeg": Format(_picture("a.jpg", RGB, exif=TURNED), _read_picture, SHAPES, b"\xff[\xc0-\xfe]"),
    "any png": Format(_picture("a.png", RGB, exif=TURNED), _any_picture, SAME, b"IHDR|IDAT|IEND|eXIf"),
    "gif": Format(_picture("a.gif", RGB), _any_picture, SHAPES),
    "bmp": Format(_picture("a.bmp", RGB), _any_picture, SHAPES, values=lambda content: 54),
    "webp": Format(_picture("a.webp", RGB), _any_picture, SHAPES),
    "bin": Format(_written("a.bin", nmnist_bytes(events(2, 60, SENSOR))), _frames, SHAPES),
    "events npz": Format(
        _npz("a.npz", np.savez, **events(2, 60, SENSOR)._asdict(), height=12, width=16), _frames, SAME, b"PK|\x93NUMPY"
    ),
    "aedat4": Format(_recording("a.aedat4"), _frames, SHAPES),
    "es": Format(_recording("a.es"), _frames, SHAPES),
    "dat": Format(_recording("a.dat", version="dat2"), _frames, SHAPES, b"\n"),
    "evt3": Format(_recording("a.raw", version="evt3"), _frames, SHAPES, b"\n"),
    "csv": Format(_recording("a.csv"), _frames, SHAPES, b"\n"),
    "aedat": Format(_gestures("user01_led.aedat"), _read_gestures, SHAPES, b"\n|\x01\0\x01\0"),
    "table": Format(_gestures("user01_led_labels.csv"), _read_gestures, ANY, b"\n", "user01_led.aedat"),
    "trials": Format(_gestures("trials_to_train.txt"), _read_gestures, ANY, b"\n"),
    **{
        name: Format(_cached(name), lambda path: {"frames": _frames_of(path.parents[2])}, SAME, other="cache/")
        for name in ("records", "index")
    },
    "network": Format(_written("net.json", NODES), lambda path: {"nodes": nodes.read(str(path))}, ANY, b"\n"),
    "config.json": Format(_run("config.json"), lambda path: {"job": RunDir(path.parent).config()}, ANY, b"\n"),
    "weights": Format(_run("weights.safetensors"), _read_weights, SHAPES, b"\\{|\\}", values=after_header),
    "checkpoint": Format(_run("checkpoints/60/weights.safetensors"), _read_checkpoint, SAME, b"\\{|\\}"),
    "state": Format(_state, _read_state, SAME, b"\\{|\\}", "4/weights.safetensors"),
    "pt": Format(_pt("net.pt"), _read_saved, SAME, b"PK"),
    "old pt": Format(_pt("net.pt", _use_new_zipfile_serialization=False), _read_saved, ANY, b"\x80\x02"),
    "safetensors": Format(
        lambda folder: (safetensors.torch.save_file(STATE, folder / "net.safetensors"), folder / "net.safetensors")[1],
        _read_saved,
        ANY,
        b"\\{|\\}",
        values=after_header,
    ),
    "nir": Format(_nir, _read_nir, ANY, b"SNOD|TREE|HEAP|OHDR|GCOL"),
    "metrics.jsonl": Format(_metrics, _read_metrics, ANY, b"\n"),
    "event file": Format(_event_file, _continued, ANY),
    "onnx": Format(_step, _run_step, ANY),
}
