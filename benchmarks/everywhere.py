"""Checks whether a run's membranes and spikes are bit-identical everywhere; prints JSON.

    python benchmarks/everywhere.py RUN [--images 1000] [--sides event "C, GCC -O3"] > results/everywhere/NAME.json

Runs the test images in fresh processes: torch, both engines, ONNX Runtime, also in a browser, and the C program, here
(GCC and Clang) and in emulators: aarch64 (20 images), a Cortex-M7 and a Cortex-M4 (3 images each). Each side hashes the
membranes and spikes of every image, layer and step (everywhere/hashes.py). If a hash differs, Python sides run again to
count the different membranes. Sides whose compiler, emulator or browser is missing are skipped and listed, as is the
event engine for networks that it refuses. Environment variables set threads and instruction sets for each process.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import asdict
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from csnn_jax import data, machine
from csnn_jax.config import ModelConfig
from csnn_jax.data import as_input
from csnn_jax.engine import stages
from csnn_jax.network.model import from_tensors
from csnn_jax.runs import rundir
from csnn_jax.runs.equality import differ
from csnn_jax.runs.layouts import digest
from export import reference
from export.c import program

HERE = Path(__file__).parent / "everywhere"
ONE = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
OLD = {
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "ATEN_CPU_CAPABILITY": "default",
    "CSNN_ISA": "baseline",
    "XLA_FLAGS": "--xla_cpu_max_isa=SSE4_2",
}
FIRST = "torch"
"""The side that all others are compared with: snnTorch, eager."""
PYTHON: dict[str, dict[str, str]] = {
    "torch": {},
    "torch, channels last": {},
    "torch, one thread, old instructions": ONE | OLD,
    "torch compiled": {},
    "scan": {},
    "scan, one thread, old instructions": ONE | OLD,
    "event": {},
    "event, one thread, old instructions": ONE | OLD,
    "ONNX Runtime": {},
}
C: dict[str, tuple[str, ...]] = {
    "C, GCC -O0": ("gcc", "-O0"),
    "C, GCC -O3": ("gcc", "-O3", "-march=native"),
    "C, Clang -O0": ("clang", "-O0"),
    "C, Clang -O3": ("clang", "-O3", "-march=native", "-ffp-contract=fast"),
    "C, aarch64": ("aarch64-linux-gnu-gcc", "-O3", "-static"),
}
WEB = "ONNX Runtime Web, Chromium"
BOARDS = {"C, Cortex-M7": ("Cortex-M7", "0x60000000"), "C, Cortex-M4": ("Cortex-M4", "0x21000000")}
"""QEMU's boards, and the addresses of 16 MB of memory for constants that don't fit in their flash."""
FEWER = {"C, aarch64": 20, **dict.fromkeys(BOARDS, 3)}
"""Number of images for emulated sides."""
FETCHED = 20
"""Number of images whose membranes are fetched if hashes differ."""
STRICT = ("-std=c99", "-fno-trapping-math")


class Case:
    """Shared by all sides: a bundle of the run, and images in a folder.

    Args:
        run: a run directory.
        count: number of test images.
        folder: a folder for files that the sides read and write.
    """

    def __init__(self, run: str, count: int, folder: Path):
        self.run, self.folder = run, folder
        _, self.job, self.tensors = rundir.open_run(run)
        with redirect_stdout(sys.stderr):  # which the first use of recordings prints to
            self.images = np.asarray(data.load_for(self.job).test.images[:count])
        np.save(folder / "images.npy", self.images)
        self.bundle = folder / "bundle"
        command = [sys.executable, "-m", "export", run, "--out", self.bundle, "--quick"]
        subprocess.run(command, check=True, stdout=sys.stderr)
        frames = self.model.time_steps if self.images.ndim == 5 else None
        program.write_sources(self.bundle / "c", self.model, self.tensors, frames)  # with channels that can't fire

    @property
    def model(self) -> ModelConfig:
        return self.job.model

    def samples(self, count: int) -> bytes:
        """The first `count` images in the C program's input format."""
        given = as_input(self.images[:count], self.model, (0,))
        return np.ascontiguousarray(given.swapaxes(0, 1) if given.ndim == 5 else given).tobytes()

    def shaped(self, words: bytes | np.ndarray) -> np.ndarray:
        """Hashes [images, layers, steps, 3]."""
        values = np.frombuffer(words, np.uint32) if isinstance(words, bytes) else words
        return values.reshape(-1, len(self.model.graph.neurons), self.model.time_steps, 3)


def python_side(case: Case, side: str) -> np.ndarray:
    target = case.folder / "hashes.npy"
    command = [sys.executable, HERE / "side.py", side, case.run, case.bundle, case.folder / "images.npy", target]
    subprocess.run(command, check=True, stdout=sys.stderr, env=os.environ | PYTHON[side])
    return case.shaped(np.load(target))


def c_side(case: Case, side: str) -> np.ndarray:
    compiler, *flags = C[side]
    work = case.folder / "c"
    work.mkdir(exist_ok=True)
    (work / "samples.bin").write_bytes(case.samples(FEWER.get(side, len(case.images))))
    sources = case.bundle / "c/csnn.c", HERE / "hash.c"
    names = '-DSAMPLES="samples.bin"', '-DHASHES="hashes.bin"'
    command = [compiler, *flags, *STRICT, *names, "-I", case.bundle / "c", *sources, "-o", work / "hash"]
    subprocess.run(command, check=True)
    emulator = ["qemu-aarch64"] if "aarch64" in side else []
    subprocess.run([*emulator, "./hash"], cwd=work, check=True)
    return case.shaped((work / "hashes.bin").read_bytes())


def board_side(case: Case, side: str) -> np.ndarray:
    """Runs on one of QEMU's boards, with the weights outside its flash."""
    sys.path.append(str(Path(__file__).parent))
    import microcontroller

    work = case.folder / "mcu"
    work.mkdir(exist_ok=True)
    board, memory = BOARDS[side]
    emulated, cpu = microcontroller.BOARDS[board]
    script = (microcontroller.FILES / "board.ld").read_text().replace("*(.rodata*) ", "")
    script = script.replace("{\n    FLASH", f"{{\n    MORE  (r)   : ORIGIN = {memory}, LENGTH = 16M\n    FLASH", 1)
    script = script.replace("SECTIONS\n{", "SECTIONS\n{\n    .rodata : { *(.rodata*) } > MORE", 1)
    (work / "board.ld").write_text(script)
    startup = (microcontroller.FILES / "startup.c").read_text()
    (work / "startup.c").write_text(startup + "\nvoid timer_wrapped(void)\n{\n}\n")
    (work / "samples.bin").write_bytes(case.samples(FEWER[side]))
    names = '-DSAMPLES="samples.bin"', '-DHASHES="hashes.bin"'
    parts = ("startup.c", case.bundle / "c/csnn.c", HERE / "hash.c")
    options = ("-O2", "-I", case.bundle / "c", "--specs=rdimon.specs", "-T", "board.ld")
    command = ["arm-none-eabi-gcc", *cpu.split(), *names, *options, *parts, "-o", "hash.elf"]
    subprocess.run(command, cwd=work, check=True)
    machine_flags = ("-M", emulated, "-nographic", "-monitor", "none", "-serial", "none")
    semihosting = ("-semihosting-config", "enable=on,target=native")
    subprocess.run(["qemu-system-arm", *machine_flags, *semihosting, "-kernel", "hash.elf"], cwd=work, check=True)
    return case.shaped((work / "hashes.bin").read_bytes())


def web_side(case: Case, side: str) -> np.ndarray:
    """Runs in headless Chromium, on a page served by this process."""
    from export.demo import ort_web

    site, arrived, came = case.folder / "site", threading.Event(), []
    site.mkdir()
    x = reference.inputs(case.model, case.images)
    frames = x.shape[0] if x.ndim == 5 else 1
    (site / "images.bin").write_bytes(np.ascontiguousarray((x.swapaxes(0, 1) if x.ndim == 5 else x).numpy()).tobytes())
    shapes = [node.channels_first for node in case.model.graph.neurons]
    parameters = reference.Step(case.model, case.tensors).parameters
    thresholds = [parameters[node.name]["threshold"].flatten() for node in case.model.graph.neurons]
    height, width, channels = case.model.input_shape
    facts = {"batch": 10, "frames": frames, "steps": case.model.time_steps, "shape": [channels, height, width]}
    facts |= {"layers": shapes, "states": reference.state_shapes(case.model), "readout": case.model.readout}
    facts["thresholds"] = [one.expand(shape[0]).tolist() for one, shape in zip(thresholds, shapes, strict=True)]
    (site / "facts.json").write_text(json.dumps(facts))
    shutil.copy(case.bundle / "step.onnx", site)
    for name in ("page.html", "page.js"):
        shutil.copy(HERE / name, site)
    for name, content in ort_web.load(None).files.items():
        (site / name).write_bytes(content)

    class Handler(SimpleHTTPRequestHandler):
        extensions_map = SimpleHTTPRequestHandler.extensions_map | {".wasm": "application/wasm"}

        def do_POST(self) -> None:
            came.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()
            arrived.set()

        def log_message(self, format: str, *values: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=site)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/page.html"
        flags = ("--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={case.folder / 'browser'}")
        browser = subprocess.Popen(["chromium", *flags, address], stdout=sys.stderr, stderr=subprocess.DEVNULL)
        try:
            if not arrived.wait(3 * 3600):
                raise RuntimeError("the page sent nothing within three hours")
        finally:
            browser.kill()
            browser.wait()
            server.shutdown()
    return case.shaped(came[0])


SIDES: dict[str, Callable[[Case, str], np.ndarray]] = {
    **dict.fromkeys(PYTHON, python_side),
    WEB: web_side,
    **dict.fromkeys(C, c_side),
    **dict.fromkeys(BOARDS, board_side),
}


def missing(side: str) -> str | None:
    """A program that a side needs and that isn't installed."""
    boards = dict.fromkeys(BOARDS, ("arm-none-eabi-gcc", "qemu-system-arm"))
    needed = {WEB: ("chromium", "npm"), **boards}.get(side, C.get(side, ())[:1])
    needed = (*needed, "qemu-aarch64") if "aarch64" in side else needed
    return next((name for name in needed if not shutil.which(name)), None)


def refused(case: Case, side: str) -> str | None:
    """Why the event engine can't run the network."""
    return stages.unsupported(from_tensors(case.model, case.tensors)) if side.startswith("event") else None


def compared(case: Case, hashes: np.ndarray, side: str, first: np.ndarray) -> dict[str, Any]:
    """Counts a side's membranes, and the (image, layer, step) combinations in which any membrane or spike differs."""
    neurons = sum(node.size for node in case.model.graph.neurons)
    same = hashes == first[: len(hashes)]
    counts: dict[str, Any] = {
        "side": side,
        "images": len(hashes),
        "membranes": len(hashes) * neurons * case.model.time_steps,
        "steps_with_other_membranes": int((~same[..., :2].all(-1)).sum()),
        "steps_with_other_spikes": int((~same[..., 2]).sum()),
    }
    if not same.all() and side in PYTHON:
        counts |= fetched(case, side, np.flatnonzero(~same.reshape(len(same), -1).all(1))[:FETCHED])
    return counts


def fetched(case: Case, side: str, images: np.ndarray) -> dict[str, int]:
    """The number of different membranes and spikes for some images, over all layers and steps."""
    np.save(case.folder / "some.npy", case.images[images])
    arrays = []
    for one in (FIRST, side):
        target = case.folder / "layers.npz"
        command = [sys.executable, HERE / "side.py", one, case.run, case.bundle, case.folder / "some.npy", target]
        subprocess.run(command, check=True, stdout=sys.stderr, env=os.environ | PYTHON[one])
        arrays.append(dict(np.load(target)))
    differing = {name: differ(arrays[0][name], arrays[1][name]) for name in arrays[0]}
    return {
        "images_fetched": len(images),
        "different_membranes": sum(count for name, count in differing.items() if name.startswith("membranes")),
        "different_spikes": sum(count for name, count in differing.items() if name.startswith("spikes")),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--sides", nargs="*", default=SIDES, metavar="SIDE", help=f"some of: {'; '.join(SIDES)}")
    flags = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        case = Case(flags.run, flags.images, Path(folder))
        first = python_side(case, FIRST)
        for side, run in SIDES.items():
            if side == FIRST or side not in flags.sides:
                continue
            if (program := missing(side)) is not None:
                rows.append({"side": side, "skipped": f"no {program}"})
                continue
            if (reason := refused(case, side)) is not None:
                rows.append({"side": side, "skipped": reason})
                continue
            try:
                rows.append(compared(case, run(case, side), side, first))
            except subprocess.CalledProcessError as error:  # it has printed why; continue with other sides
                rows.append({"side": side, "failed": f"exit code {error.returncode}"})
            print(rows[-1], file=sys.stderr, flush=True)
    about = {"command": f"python benchmarks/everywhere.py {Path(flags.run).name}", "commit": machine.commit()}
    about |= {"network": asdict(case.model), "weights_sha256": digest(case.tensors)}
    print(json.dumps(about | machine.describe() | {"compared_with": FIRST, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
