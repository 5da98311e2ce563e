"""Times the first start in a new clone, as README's command does it: installation, engine, imports, compilation.

    python benchmarks/start.py --checkout OLD --checkout . > results/start.json

Prints JSON: seconds, and seconds of processor time with all child processes, of each checkout's commit. Fill pip's
cache first, for example with a run whose result you discard. A start imports everything, with no bytecode but pip's,
and compiles with an empty XLA cache; the second start finds both, and the processor's seconds of compilation are the
difference. Their one iteration and final evaluation aren't counted.
"""

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from csnn_jax import machine

# Stands for the compiler, and notes when it runs and how much processor time it takes.
COMPILER = """#!/bin/bash
TIMEFORMAT='%U %S'
begin=$(date +%s.%N)
exec 3>&2 4>&1
used=$({ time c++ "$@" 2>&3; } 2>&1 >&4)
code=$?
echo "$begin $(date +%s.%N) $used" >> "$COMPILED"
exit $code
"""

# Trains for an iteration, and notes what importing takes, and every compilation.
START = """
import json, os, sys, time
begin, busy = time.perf_counter(), time.process_time()
from csnn_jax import train
from csnn_jax.training import job, prepare, seeds
from csnn_jax.update import trainer
imported = {"s": time.perf_counter() - begin, "processor_s": time.process_time() - busy}
import jax
compiled = []  # name, seconds, end: one contains others
def note(event, seconds, **about):
    if event.startswith("/jax/core/compile/"):
        step = event.rsplit("/", 1)[1].removesuffix("_duration")
        compiled.append((f"{step} {about.get('fun_name', '')}", seconds, time.perf_counter()))
jax.monitoring.register_event_duration_secs_listener(note)
busy = time.process_time()
code = train.main(["--max-iters", "1", "--eval-every", "0", "--out", sys.argv[1]])
rest = time.process_time() - busy
print(json.dumps({"imports": imported, "compiled": compiled, "rest_processor_s": rest}), file=sys.stderr)
sys.exit(code)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkout", action="append", required=True, help="a clone of this repository")
    checkouts = parser.parse_args().checkout
    result = {
        "command": f"python benchmarks/{Path(__file__).name} --checkout OLD --checkout .",
        "commit": machine.commit(),
        **machine.describe(),
        "starts": [measured(Path(checkout)) for checkout in checkouts],
    }
    print(json.dumps(result, indent=2))


def measured(checkout: Path) -> dict[str, Any]:
    """The parts of the first start of a checkout's commit, in a new clone and environment."""
    with tempfile.TemporaryDirectory() as folder:
        clone, work = Path(folder, "clone"), Path(folder)
        subprocess.run(["git", "clone", "-q", checkout.resolve(), clone], check=True)
        environment, install, revision = *installed(clone, work), commit(clone)
        engine = compiled(work / "compiled.txt")
        first, again = (started(clone, work, environment) for _ in range(2))
    compilation = first["compilation"] | {"processor_s": first["processor_s"] - again["processor_s"]}
    parts = {"installation_without_engine": {key: install[key] - engine[key] for key in install}, "engine": engine}
    parts |= {"imports": first["imports"], "compilation": compilation}
    return {
        "commit": revision,
        **rounded(parts),
        "sum_s": round(sum(part["s"] for part in parts.values()), 1),
        "sum_processor_s": round(sum(part["processor_s"] for part in parts.values()), 1),
        "second_start": rounded(again),
    }


def installed(clone: Path, work: Path) -> tuple[dict[str, str], dict[str, float]]:
    """Runs README's commands before the training; returns the environment and what they took."""
    readme = (clone / "README.md").read_text()
    block = re.search(r"<!-- train -->\n```sh\n(.*?)\n```", readme, re.DOTALL)
    assert block, "README.md has no commands to train"
    commands = " && ".join(block[1].split(" && ")[:-1])
    compiler = work / "compiler"
    compiler.write_text(COMPILER)
    compiler.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"CXX": str(compiler), "COMPILED": str(work / "compiled.txt"), "XDG_CACHE_HOME": str(work / "cache")}
    asked = [sys.executable, "-m", "pip", "cache", "dir"]
    packages = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    return environment, timed(["bash", "-c", commands], clone, environment | {"PIP_CACHE_DIR": packages})


def commit(checkout: Path) -> str:
    """The commit of a checkout, shortened."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=True).stdout.strip()


def timed(command: list[str], folder: Path, environment: dict[str, str]) -> dict[str, float]:
    """Runs a command: its seconds, and the processor's."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=sys.stderr)
    seconds, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"s": seconds, "processor_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime}


def compiled(notes: Path) -> dict[str, float]:
    """From the compiler's notes: seconds from its first start to its last end, and the processor's."""
    rows = [[float(number) for number in line.split()] for line in notes.read_text().splitlines()]
    begins, ends, user, system = zip(*rows, strict=True)
    return {"s": max(ends) - min(begins), "processor_s": sum(user) + sum(system), "compiler_calls": len(rows)}


def started(clone: Path, work: Path, environment: dict[str, str]) -> dict[str, Any]:
    """Trains for an iteration: what imports and compilations took, and the processor's seconds after the imports."""
    run = tempfile.mkdtemp(dir=work)
    command = [clone / ".venv/bin/python", "-c", START, f"{run}/run"]
    done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{clone}: {done.stderr}")
    noted = json.loads(done.stderr.splitlines()[-1])
    seconds, until = 0.0, 0.0
    for _, took, end in sorted(noted["compiled"], key=lambda step: step[2] - step[1]):
        seconds += max(0.0, end - max(until, end - took))
        until = max(until, end)
    steps: dict[str, float] = {}
    for name, took, _ in noted["compiled"]:
        steps[name] = steps.get(name, 0) + took
    longest = dict(sorted(steps.items(), key=lambda step: -step[1])[:6])
    compilation = {"s": seconds, "longest": longest}
    return {"imports": noted["imports"], "compilation": compilation, "processor_s": noted["rest_processor_s"]}


def rounded(value: Any) -> Any:
    """The same, with numbers rounded to a tenth of a second."""
    if isinstance(value, dict):
        return {name: rounded(part) for name, part in value.items()}
    return round(value, 2) if isinstance(value, float) else value


if __name__ == "__main__":
    main()
