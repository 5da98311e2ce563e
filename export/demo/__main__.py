"""`python -m export.demo BUNDLE --out DIR`: a page that runs a bundle's network in the browser, step by step."""

import shlex
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import MISSING, dataclass
from pathlib import Path

from csnn_jax.command import run_command
from csnn_jax.errors import UserError
from csnn_jax.flags import Flags, parse
from csnn_jax.options import Rule, option
from csnn_jax.options.kinds import SWITCH, count, several, text
from export import bundle
from export.demo import facts, ort_web, server

DESCRIPTION = """Makes a folder with a web page where you draw a digit and watch a bundle's network classify it.

The bundle's step.onnx runs in the browser with ONNX Runtime Web, which is copied into the folder. Any static file
server can serve it."""
PORT = 8000
_NAMES = "distinct names, none of them empty"


@dataclass(frozen=True)
class DemoFlags(Flags):
    # fmt: off
    bundle: str = option(MISSING, text("a bundle", metavar="BUNDLE"), """
        Bundle directory written by `python -m export`.""", positional=True)
    out: str = option(MISSING, text("a path", metavar="DIR"), "Folder to create.")
    class_names: tuple[str, ...] | None = option(None, several(text("text"), distinct=True, expected=_NAMES), """
        Names of the classes, in order; default: those in the bundle.""")
    ort_web: str | None = option(None, text("a folder", metavar="DIR"), """
        Unpacked npm package onnxruntime-web; default: fetch it with `npm pack`.""")
    serve: bool = option(False, SWITCH, "Serve the folder on 127.0.0.1 until Ctrl-C.")
    port: int | None = option(None, count(0, 65535), "Port of --serve, or 0 for any free port; default: 8000.")
    overwrite: bool = option(False, SWITCH, "Replace the demonstration in --out.")
    # fmt: on

    RULES = (Rule("port", "--serve, too", lambda flags: flags.port is None or flags.serve),)


def main(arguments: Sequence[str] | None = None) -> int:
    def command() -> int:
        flags = parse(DemoFlags, "csnn-demo", DESCRIPTION, arguments)
        out = Path(flags.out)
        bundle.check_free(out, flags.overwrite, facts.KIND)
        source = facts.read(Path(flags.bundle), flags.class_names)
        if Path(flags.bundle).resolve() in out.resolve().parents:
            raise UserError(f"--out {out}: is inside the bundle, expected a folder outside it")
        runtime = ort_web.load(None if flags.ort_web is None else Path(flags.ort_web))
        with server.bound(out, PORT if flags.port is None else flags.port) if flags.serve else nullcontext() as bound:
            size = bundle.make(out, lambda made: facts.write(made, source, runtime), flags.overwrite, facts.KIND)
            print(f"Demonstration: {flags.out}, {size / 1e6:.1f} MB, ONNX Runtime Web {runtime.version}", flush=True)
            if bound is None:
                print(f"To view it: python -m http.server --bind {server.HOST} --directory {shlex.quote(flags.out)}")
            else:
                server.serve(bound)
        return 0

    return run_command(command, arguments)


if __name__ == "__main__":
    sys.exit(main())
