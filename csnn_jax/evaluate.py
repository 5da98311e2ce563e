"""`python -m csnn_jax.evaluate RUN`: how well a trained network does on its test set."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import tyro

from csnn_jax.flags import parse, run_command

DESCRIPTION = """Test accuracy, accuracy of each class, confusion matrix and spike densities of a trained network.

Also writes evaluation.json and confusion.png into the run directory."""


@dataclass(frozen=True)
class EvaluateFlags:
    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Run directory that csnn_jax.train made."""
    dataset: str | None = None
    """Another data set than the one it was trained on, named as for training."""


def main(arguments: Sequence[str] | None = None) -> int:
    def command() -> int:
        flags = parse(EvaluateFlags, "csnn-evaluate", DESCRIPTION, arguments)
        from csnn_jax import data
        from csnn_jax.engine import process
        from csnn_jax.files import write_atomic
        from csnn_jax.runs import plots, rundir
        from csnn_jax.trained import Trained

        run, config, tensors = rundir.open_run(flags.run)
        dataset = data.load_for(config.model, flags.dataset or config.data.dataset)
        if dataset.name != config.data.dataset:
            config = replace(config, model=replace(config.model, scale=dataset.scale))
        process.set_up(config.train.dtype)
        result = Trained(config, tensors, config.train.engine).evaluate(dataset.test)
        values = {
            "dataset": dataset.name,
            "images": len(result.labels),
            "accuracy": result.accuracy,
            "per_class": result.per_class,
            "confusion": result.confusion.tolist(),
            "density": result.densities,
        }
        write_atomic(run.path / "evaluation.json", json.dumps(values, indent=2).encode())
        plots.confusion(run.path / "confusion.png", result.confusion, result.accuracy)
        print(_text(result, dataset.name))
        return 0

    return run_command(command, arguments)


def _text(result, name: str) -> str:
    width = max(5, len(str(result.confusion.max())) + 1)
    lines = [f"Test Accuracy: {result.accuracy:.2%} ({len(result.labels)} images of {name})", ""]
    lines.append("class  accuracy   predicted as" + "".join(f"{c:>{width}}" for c in range(result.num_classes)))
    for label, (share, row) in enumerate(zip(result.per_class, result.confusion, strict=True)):
        accuracy = "no images" if share is None else f"{share:.2%}"
        lines.append(f"{label:>5}  {accuracy:>9}{'':15}" + "".join(f"{n:>{width}}" for n in row))
    lines += ["", "Spike density (share of neurons that spike at a step):"]
    lines += [f"  {layer}  {density:.2%}" for layer, density in result.densities.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
