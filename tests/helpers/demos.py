"""Makes and serves demonstrations of bundles."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Thread

from export.demo.ort_web import ABOUT, FILES
from export.demo.server import HOST, Handler, Server


def unpacked(folder: Path) -> Path:
    """A folder that looks like an unpacked onnxruntime-web, with other contents, for tests that only copy it."""
    (folder / "dist").mkdir(parents=True)
    (folder / ABOUT).write_text(json.dumps({"name": "onnxruntime-web", "version": "0.0.1"}))
    for name in FILES:
        (folder / name).write_bytes(name.encode())
    return folder


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serves a folder while the block runs; yields its address."""
    server = Server((HOST, 0), partial(Handler, directory=str(folder)))
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
