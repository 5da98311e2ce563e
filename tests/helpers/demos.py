"""Makes demonstrations of bundles, and serves them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Thread

import numpy as np
import onnxruntime

from csnn_jax.config import ModelConfig
from export.demo.ort_web import ABOUT, FILES
from export.demo.server import HOST, Handler, Server


def unpacked(folder: Path) -> Path:
    """What looks like an unpacked onnxruntime-web, with other contents: for what is copied only."""
    (folder / "dist").mkdir(parents=True)
    (folder / ABOUT).write_text(json.dumps({"name": "onnxruntime-web", "version": "0.0.1"}))
    for name in FILES:
        (folder / name).write_bytes(name.encode())
    return folder


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a folder while the block runs."""
    server = Server((HOST, 0), partial(Handler, directory=str(folder)))
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def counts(bundle: Path, frames: list[np.ndarray]) -> list[int]:
    """Output spikes of every class, by ONNX Runtime, for the input [1, C, H, W] of every step."""
    session = onnxruntime.InferenceSession(bundle / "step.onnx")
    names = [value.name for value in session.get_inputs()]
    membranes = [np.zeros((1, *value.shape[1:]), np.float32) for value in session.get_inputs()[1:]]
    total = np.zeros(session.get_outputs()[0].shape[1:], np.float32)
    for frame in frames:
        spikes, *membranes = session.run(None, dict(zip(names, [frame, *membranes], strict=True)))
        total += spikes[0]
    return total.astype(int).tolist()


def config_of(bundle: Path) -> ModelConfig:
    """The network of a bundle."""
    known = json.loads((bundle / "config.json").read_text())["model"]
    return ModelConfig(**known)
