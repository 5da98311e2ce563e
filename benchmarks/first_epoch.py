"""Test accuracy of the default job against the clock: csnn_jax for its whole epoch, snnTorch as far as it gets; JSON.

    python benchmarks/first_epoch.py --plot docs/first_epoch.png > results/first_epoch.json
    python benchmarks/first_epoch.py --from results/first_epoch.json --plot docs/first_epoch.png

The sides train in turn, each in a process of its own, from equal weights on equal batches, and evaluate on all test
images every 50 iterations; the clock runs through these evaluations, as it does for a user. snnTorch is stopped after
`--minutes`. The machine must be otherwise idle. The second command measures nothing: it draws the picture again.
"""

import argparse
import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from csnn_jax import machine
from csnn_jax.figures.style import BLUE, ORANGE, PAGE, SKY, new, png, styled
from csnn_jax.runs.rundir import RunDir

SIDES = {"csnn_jax": BLUE, "snnTorch": ORANGE, "snnTorch, channels last": SKY}
"""The sides, and the colour of each."""
POLL = 0.5  # seconds between two looks at a training's records


def main() -> int:
    options = arguments()
    if options.side:
        return train(options.side, options.out)
    result = json.loads(Path(options.earlier).read_text()) if options.earlier else measure(options.minutes)
    if options.plot:
        draw(result, options.plot)
    if not options.earlier:
        print(json.dumps(result, indent=2))
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20.0, help="after which snnTorch is stopped")
    parser.add_argument("--from", dest="earlier", metavar="FILE", help="JSON of an earlier result, to draw it again")
    parser.add_argument("--plot", help="PNG file to write")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)  # a child: one side's training
    parser.add_argument("--out", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.earlier and not options.plot:
        parser.error("--from: expected --plot with the file to write")
    return options


def train(side: str, out: str) -> int:
    """The default job of one side, whose run directory is `out`."""
    if side == "csnn_jax":
        from csnn_jax import train

        return train.main(["--out", out])
    import torch

    from csnn_jax.flags import TrainFlags, parse_train
    from csnn_jax.training import job
    from csnn_torch.trainer import Trainer

    def make(config, split) -> Trainer:
        trainer = Trainer(config, split)
        trainer.watching = False  # the loop of snnTorch's tutorials, which looks at no densities
        if side.endswith("channels last"):
            trainer.memory_format = torch.channels_last
        return trainer

    return job.train(parse_train(TrainFlags, "first_epoch", "", ["--out", out]), make)


def measure(minutes: float) -> dict[str, Any]:
    """All sides, one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        curves = {
            side: followed(side, Path(folder) / str(number), None if number == 0 else 60 * minutes)
            for number, side in enumerate(SIDES)
        }
    return {
        "command": f"python benchmarks/first_epoch.py --minutes {minutes:g}",
        "commit": machine.commit(),
        **machine.describe(),
        "curves": curves,
    }


def followed(side: str, out: Path, limit: float | None) -> dict[str, Any]:
    """What a side records in so many seconds, or until it is done."""
    command = [sys.executable, __file__, "--side", side, "--out", str(out)]
    process = subprocess.Popen(command, stdout=sys.stderr)
    began = time.monotonic()
    try:
        while process.poll() is None and (limit is None or time.monotonic() - began < limit):
            time.sleep(POLL)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(300)
    records = RunDir(out).records()
    evaluations = [r for r in records if r["kind"] == "test" or (r["kind"] == "end" and not r["interrupted"])]
    return {
        "iterations": sum(record["kind"] == "train" for record in records),
        "finished": RunDir(out).finished,
        "minutes": [round(record["seconds"] / 60, 3) for record in evaluations],
        "accuracy": [record["accuracy"] for record in evaluations],
    }


@styled
def draw(result: dict[str, Any], path: str) -> None:
    """One panel: accuracy in percent against minutes."""
    figure = new(PAGE, 3.2)
    axes = figure.subplots()
    for side, color in SIDES.items():
        curve = result["curves"][side]
        minutes, percent = curve["minutes"], [100 * share for share in curve["accuracy"]]
        done = "the whole epoch" if curve["finished"] else f"{curve['iterations']} of 468 iterations"
        axes.plot(
            minutes, percent, "o-", color=color, label=f"{side}: {done}, {percent[-1]:.1f} % at {minutes[-1]:.1f} min"
        )
    axes.set(xlabel="minutes on the clock, evaluations included", ylabel="test accuracy on MNIST, %", ylim=(0, 102))
    axes.set_xlim(left=0)
    axes.legend(loc="lower right")
    name = result["processor"].split(",")[0]
    axes.set_title(f"The default job (one epoch, 100 time steps) on {result['cpus']} CPUs of an {name}")
    Path(path).write_bytes(png(figure))


if __name__ == "__main__":
    sys.exit(main())
