"""Interrupts a command at random moments: `python interrupted.py COUNT SEED FOLDER MODULE[,MODULE] ARGUMENTS`.

Each time, a fork of this process, which has already imported the modules, runs `main` of the first one with the
arguments. They must write only below FOLDER/out; temporary files go to FOLDER/tmp. Prints one JSON object: how often
the command ended with each exit code, and everything it should have removed.
"""

import collections
import importlib
import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path


def main() -> None:
    count, seed, place, names, *arguments = sys.argv[1:]
    folder, (command, *others) = Path(place).resolve(), names.split(",")
    os.environ["TMPDIR"] = str(folder / "tmp")
    for name in others:
        importlib.import_module(name)
    run = importlib.import_module(command).main
    sys.argv = [command, *arguments]
    longest = max(_once(folder, run, None, 0)[1] for _ in range(2))
    draw, codes, left = random.Random(int(seed)), collections.Counter[int](), []
    for number in range(int(count)):
        moment, sent = draw.uniform(0, longest), draw.choice([signal.SIGINT, signal.SIGTERM])
        code, _, leftovers = _once(folder, run, sent, moment)
        codes[code] += 1
        if leftovers or code not in (0, 128 + sent, -sent):
            left.append([number, sent.name, round(moment, 3), code, leftovers, (folder / "said").read_text()[-300:]])
    print(json.dumps({"seconds": round(longest, 2), "codes": codes, "left": left}))


def _once(folder: Path, run, number: signal.Signals | None, moment: float) -> tuple[int, float, list[str]]:
    """(exit code, seconds, what it should have removed) of the command; `number` is sent at that moment."""
    for name in ("out", "tmp"):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir(parents=True)
    began = time.monotonic()
    child = os.fork()
    if not child:
        with open(folder / "said", "wb") as said:
            for stream in (1, 2):
                os.dup2(said.fileno(), stream)
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the command installs its own handlers
        sys.exit(run())
    if number is not None:
        time.sleep(moment)
        os.kill(child, number)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    seconds = time.monotonic() - began
    there = (folder / "out").rglob("*")
    left = [path for path in there if path.name.startswith(".") or path.name == "trained_by.json"]
    return code, seconds, [str(path.relative_to(folder)) for path in (*left, *(folder / "tmp").iterdir())]


if __name__ == "__main__":
    main()
