"""Checks the ONNX files of a bundle: `python -I BUNDLE/check_onnx.py`. It needs only NumPy and ONNX Runtime.

This script comes from the sender of the bundle; `python -I -m export.verify BUNDLE` checks that it's the original.

The script runs the files that compute one step on every set in golden/step, and sequence.onnx on the whole windows in
golden/sequence. All spikes, counts and membranes must equal those in the set, because weights and images make all sums
exact. (Numbers below 2^-126 count as 0, because some processors flush them.) It also compares the SHA-256 of all files.
Exit code 0: everything matches; 1: something differs.
"""

import sys

if __name__ == "__main__" and not (sys.flags.isolated or (sys.version_info >= (3, 11) and sys.flags.safe_path)):
    del sys.path[0]  # the bundle's folder, so nothing is imported from it
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # since 1.29, it sends usage data to its vendor otherwise
import onnxruntime as ort

HERE = Path(__file__).resolve().parent
MOST_BYTES, LARGEST = 2**34, 2**31  # of all files together, which are hashed in about a minute, and of each
FILES = {"step.onnx": "step", "step_b1.onnx": "step", "sequence.onnx": "sequence"}


def main() -> int:
    lines = {}
    for name in ("SHA256SUMS", *FILES):
        try:
            lines[name] = line(session(name), FILES[name]) if name in FILES else sums_line()
        except Exception as error:  # missing or damaged files can cause any error
            first = (str(error).splitlines() or [type(error).__name__])[0]
            lines[name] = f"NOT OK: {repr(first)[1:-1]}"  # repr: without control characters
    for name, message in lines.items():
        print(f"{name:<16} {message}")
    bad = any(message.startswith("NOT OK") for message in lines.values())
    print("NOT OK" if bad else "all ok")
    return int(bad)


def sums_line() -> str:
    """Compares all files with SHA256SUMS: only this detects changes in weights that no golden image uses."""
    listed = dict(line.split("  ", 1)[::-1] for line in content(HERE / "SHA256SUMS").decode().splitlines())
    files = [path for path in HERE.rglob("*") if path.is_symlink() or not path.is_dir()]
    if (size := sum(path.lstat().st_size for path in files)) > MOST_BYTES:
        raise ValueError(f"the files have {size:,} bytes, expected at most {MOST_BYTES:,}")
    present = {path.relative_to(HERE).as_posix() for path in files}
    wrong = [f"{name!a} is not listed" for name in sorted(present - {*listed, "SHA256SUMS"})]
    wrong += [f"{name!a} is missing or changed" for name, digest in listed.items() if sha256(name) != digest]
    return f"NOT OK: {', '.join(wrong)}" if wrong else "ok: no file was changed"


def sha256(name: str) -> str:
    """SHA-256 of a file in the bundle; "" if it's missing, a link or outside the bundle."""
    path, parts = HERE / name, PurePosixPath(name).parts
    places = [HERE.joinpath(*parts[: count + 1]) for count in range(len(parts))]
    if path.is_absolute() and ".." not in parts and HERE in path.parents and not any(map(Path.is_symlink, places)):
        return hashlib.sha256(content(path)).hexdigest() if path.is_file() else ""
    return ""


def content(path: Path) -> bytes:
    """The bytes of a plain file, not of a pipe or device, which may never end."""
    if path.is_symlink() or not path.is_file() or path.stat().st_size > LARGEST:
        raise ValueError(f"{path.relative_to(HERE)} isn't a plain file of at most {LARGEST:,} bytes")
    return path.read_bytes()


def session(name: str) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "1")  # converts int8 weights to floats once
    options.log_severity_level = 3  # no warning that the input time_steps has a default
    return ort.InferenceSession(content(HERE / name), options, providers=["CPUExecutionProvider"])


def line(run: ort.InferenceSession, kind: str) -> str:
    """A file's result on the golden sets of one kind, as a line."""
    sets = values = different = 0
    for inputs, expected in golden(kind):
        outputs = run.run(None, {value.name: x for value, x in zip(run.get_inputs(), inputs, strict=False)})
        for one, other in zip(outputs, expected, strict=True):
            values += other.size
            different += int((flushed(one) != other).sum()) if one.shape == other.shape else other.size
        sets += 1
    said = f"{sets} sets, in which {different:,} of {values:,} values differ"
    return f"ok: {said}" if sets and not different else f"NOT OK: {said}"


def flushed(values: np.ndarray) -> np.ndarray:
    return np.where(np.abs(values) < np.float32(2.0**-126), np.float32(0), values)


def golden(kind: str) -> Iterator[tuple[list[np.ndarray], list[np.ndarray]]]:
    """The sets of one kind, in order: (inputs, outputs)."""
    number = 0
    while (folder := HERE / "golden" / kind / f"test_data_set_{number}").is_dir():
        yield tensors(folder, "input"), tensors(folder, "output")
        number += 1


def tensors(folder: Path, what: str) -> list[np.ndarray]:
    """The tensors in `input_0.pb`, `input_1.pb`, ..., or in the output files."""
    count = len(list(folder.glob(f"{what}_*.pb")))
    return [tensor(folder / f"{what}_{number}.pb") for number in range(count)]


def tensor(path: Path) -> np.ndarray:
    """A float32 tensor from a file with an `onnx.TensorProto`, from its fields dims (1) and raw_data (9)."""
    data = content(path)
    at, dims, raw = 0, [], b""
    while at < len(data):
        key, at = varint(data, at)
        value, at = varint(data, at)
        if key == 1 << 3:
            dims.append(value)
        elif key & 7 == 2:  # `value` bytes follow
            if key >> 3 == 9:
                raw = data[at : at + value]
            at += value
    return np.frombuffer(raw, np.float32).reshape(dims)


def varint(data: bytes, at: int) -> tuple[int, int]:
    """(an integer stored with seven bits per byte, the position after it)."""
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if data[at - 1] < 128:
            return value, at


if __name__ == "__main__":
    sys.exit(main())
