"""Times everything that README and the docs say about speed, in one run on one machine, for one commit.

    python benchmarks/speed.py DIR

Trains the networks, runs the other scripts, which write results/*.json, and puts the figures into the pages. DIR keeps
the runs, the other libraries' environments and what was measured, so an interrupted call can continue. The machine must
be otherwise idle. README's first command is timed for an earlier commit, too; fill pip's cache before.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from csnn_jax import machine

ROOT = Path(__file__).parent.parent
RUNS = {
    "default": "",
    "fast": "--recipe fast",
    "recurrent": "--recurrent fc1",
    "tutorial6": "--recipe original --conv-channels 12 64 --kernel-size 5 --padding valid --hidden --time-steps 50",
    "events": "--recipe events",
    "saccades": "--dataset saccades",
}
"""The flags of each network."""
BEFORE = "d8f923d9"
"""The commit before installation and start were made faster."""
SCRIPTS = {
    "start": "start.py --checkout {folder}/before --checkout .",
    "peers": "peers.py {folder}/runs/default --environments {folder}/environments",
    "train_step": "train_step.py {folder}/runs/default --engine event --rounds 3",
    "train_step_fast": "train_step.py {folder}/runs/fast --engine event --rounds 5",
    "train_step_recurrent": "train_step.py {folder}/runs/recurrent --engine event --rounds 3",
    "train_step_tutorial6": "train_step.py {folder}/runs/tutorial6 --engine event --rounds 5",
    "train_step_events": "train_step.py {folder}/runs/events --engine event --rounds 5",
    "train_step_saccades": "train_step.py {folder}/runs/saccades --engine event --rounds 3",
    "engine_profile": "engine_profile.py {folder}/runs/default",
    "engine_profile_fast": "engine_profile.py {folder}/runs/fast",
    "engine_profile_events": "engine_profile.py {folder}/runs/events",
    "engine_profile_saccades": "engine_profile.py {folder}/runs/saccades",
    "recurrent": "recurrent.py",
    "residual": "residual.py",
    "dense": "dense.py",
    "own_loop": "own_loop.py",
    "engine_scaling": "engine_scaling.py {folder}/runs/default",
    "bundle": "bundle.py {folder}/runs/default",
}
"""The script and arguments that make each result."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR")
    folder = parser.parse_args().folder.resolve()
    for name, flags in RUNS.items():
        train(folder / "runs" / name, flags)
    if not (folder / "before").exists():
        subprocess.run(["git", "worktree", "add", "--detach", str(folder / "before"), BEFORE], check=True, cwd=ROOT)
    measured = {name: measure(name, folder) for name in SCRIPTS}
    if len({(result["commit"], result["processor"]) for result in measured.values()}) > 1:
        sys.exit(f"{folder}: made by several commits or processors, expected one")
    for name in measured:
        (ROOT / f"results/{name}.json").write_bytes((folder / f"{name}.json").read_bytes())
    subprocess.run([sys.executable, "benchmarks/results.py"], check=True, cwd=ROOT)
    redraw = "benchmarks/engine_scaling.py --from results/engine_scaling.json --plot docs/engine_scaling.png"
    subprocess.run([sys.executable, *redraw.split()], check=True, cwd=ROOT)


def train(run: Path, flags: str) -> None:
    """Trains a network unless its run exists."""
    if not run.exists():
        unfinished = run.with_name(f"{run.name}.unfinished")
        command = [sys.executable, "-m", "csnn_jax.train", *flags.split(), "--out", str(unfinished), "--overwrite"]
        subprocess.run(command, check=True, cwd=ROOT, stdout=sys.stderr)
        unfinished.rename(run)


def measure(name: str, folder: Path) -> dict[str, str]:
    """Runs the script of a result unless that's done, and returns the result."""
    path = folder / f"{name}.json"
    if not path.exists():
        script, *arguments = SCRIPTS[name].format(folder=folder).split()
        print(f"{machine.commit()}: {script} {' '.join(arguments)}", file=sys.stderr, flush=True)
        command = [sys.executable, f"benchmarks/{script}", *arguments]
        path.write_bytes(subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.PIPE).stdout)
    result: dict[str, str] = json.loads(path.read_text())
    return result


if __name__ == "__main__":
    main()
