"""`python -m export.demo BUNDLE --out DIR`: a page that runs a bundle's network in the browser, step by step."""

import shlex
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from csnn_jax.errors import UserError
from csnn_jax.flags import parse, run_command
from export import bundle
from export.demo import facts, folder, ort_web, server

DESCRIPTION = """Makes a folder with a web page where you draw a digit and watch a bundle's network classify it.

The bundle's step.onnx runs in the browser with ONNX Runtime Web, which is copied into the folder. Any static file
server can serve it."""
PORT = 8000


@dataclass(frozen=True)
class DemoFlags:
    bundle: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="BUNDLE")]
    """Bundle directory written by `python -m export`."""
    out: Annotated[str, tyro.conf.arg(metavar="DIR")]
    """Folder to create."""
    class_names: tuple[str, ...] | None = None
    """Names of the classes, in order; default: those in the bundle."""
    ort_web: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    """Unpacked npm package onnxruntime-web; default: fetch it with `npm pack`."""
    serve: bool = False
    """Serve the folder on 127.0.0.1 until Ctrl-C."""
    port: int | None = None
    """Port of --serve, or 0 for any free port; default: 8000."""
    overwrite: bool = False
    """Replace the demonstration in --out."""


def main(arguments: Sequence[str] | None = None) -> int:
    def command() -> int:
        flags = parse(DemoFlags, "csnn-demo", DESCRIPTION, arguments)
        _check(flags)
        out = Path(flags.out)
        bundle.check_free(out, flags.overwrite, folder.KIND)
        source = facts.read(Path(flags.bundle), flags.class_names)
        if Path(flags.bundle).resolve() in out.resolve().parents:
            raise UserError(f"--out {out}: is inside the bundle, expected a folder outside it")
        runtime = ort_web.load(None if flags.ort_web is None else Path(flags.ort_web))
        with server.bound(out, _port(flags)) if flags.serve else nullcontext() as bound:
            size = bundle.make(out, lambda made: folder.write(made, source, runtime), flags.overwrite, folder.KIND)
            print(f"Demonstration: {flags.out}, {size / 1e6:.1f} MB, ONNX Runtime Web {runtime.version}", flush=True)
            if bound is None:
                print(f"To view it: python -m http.server --bind {server.HOST} --directory {shlex.quote(flags.out)}")
            else:
                server.serve(bound)
        return 0

    return run_command(command, arguments)


def _check(flags: DemoFlags) -> None:
    if flags.port is not None and not flags.serve:
        raise UserError(f"--port {flags.port}: expected --serve, too")
    if not 0 <= _port(flags) <= 65535:
        raise UserError(f"--port {flags.port}: expected 0 to 65535")
    names = flags.class_names or ()
    if len(set(names)) < len(names) or not all(name.strip() for name in names):
        raise UserError(f"--class-names {shlex.join(names)}: expected distinct names, none of them empty")


def _port(flags: DemoFlags) -> int:
    return PORT if flags.port is None else flags.port


if __name__ == "__main__":
    sys.exit(main())
