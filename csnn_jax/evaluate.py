"""`python -m csnn_jax.evaluate RUN`: how well a trained network does on its test set."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, replace
from typing import TYPE_CHECKING, Any

from csnn_jax.command import run_command
from csnn_jax.config.unknown import SHARE
from csnn_jax.document import terminal
from csnn_jax.document.blocks import Block, Cell, Paragraph, Table
from csnn_jax.document.numbers import percent
from csnn_jax.figures import Figures
from csnn_jax.flags import Flags, checkpoint_option, parse
from csnn_jax.options import option
from csnn_jax.options.kinds import NAME, RUN, SWITCH, choice

if TYPE_CHECKING:
    from csnn_jax.config import Config
    from csnn_jax.data import Split
    from csnn_jax.runs.layouts import Tensors
    from csnn_jax.runs.metrics import Evaluation

DESCRIPTION = """Evaluates a trained network on its test set: accuracy, confusion matrix, health of each layer.

Also writes evaluation.json and confusion.png to the run directory, unless it's read-only. --by-steps reports the
accuracy after each time step, and writes steps.png. --unknown stores a margin in the run, below which csnn_jax.predict,
bundles and their programs give no answer."""


@dataclass(frozen=True)
class EvaluateFlags(Flags):
    # fmt: off
    run: str = option(MISSING, RUN, """
        Run directory written by csnn_jax.train.""", positional=True)
    dataset: str | None = option(None, NAME, """
        Data set to evaluate on, named as for training, or arrays:FILE.npz for a network that was trained on arrays;
        default: the run's.""")
    checkpoint: str | None = checkpoint_option()
    by_steps: bool = option(False, SWITCH, "Also report the accuracy if the window ended after each of its steps.")
    by_bits: bool = option(False, SWITCH, """
        Also report accuracy and size with weights rounded to 2 to 8 bits, without retraining.""")
    unknown: float | None = option(None, SHARE, """
        Store the smallest margin of an answer at which at most this share of the answers given is wrong, such as 0.01,
        by the upper end of its 95% interval on the images held out with --validation.""")
    figures: Figures = option("png", choice(Figures), "pdf: also write confusion.pdf, for papers.")
    # fmt: on


def main(arguments: Sequence[str] | None = None) -> int:
    def command() -> int:
        flags = parse(EvaluateFlags, "csnn-evaluate", DESCRIPTION, arguments)
        from csnn_jax import data, unknown
        from csnn_jax.engine import process
        from csnn_jax.errors import UserError
        from csnn_jax.figures import accuracy, confusion, style
        from csnn_jax.files import BUNDLE, write_atomic
        from csnn_jax.health import health
        from csnn_jax.report.neurons import MEANING, layers
        from csnn_jax.runs import rundir
        from csnn_jax.runs.metrics import LOOKED_AT
        from csnn_jax.trained import Trained

        run, config, tensors = rundir.open_run(flags.run, flags.checkpoint)
        if (run.path / BUNDLE).is_file():
            raise UserError(f"{flags.run}: is a bundle, which must stay unchanged; expected a run directory")
        if flags.unknown is not None:
            unknown.check(config, flags.unknown)
        dataset = data.load_for(config, flags.dataset, flags.unknown is not None)
        process.set_up(config.train.dtype)
        model = Trained(config, tensors, config.train.engine)
        result = model.evaluate(dataset.test)
        seen = model.summarize_neurons(dataset.test.images)
        states = health.states(config.model, result.densities, seen)
        neurons = {name: layer._asdict() for name, layer in seen.items()}
        which: dict[str, int] = {} if run.checkpoint is None else {"checkpoint": run.checkpoint}
        values: dict[str, Any] = which | {
            "dataset": dataset.name,
            **({} if dataset.final == "test" else {"split": dataset.final}),
            "images": len(result.labels),
            "accuracy": result.accuracy,
            "classes": config.class_names,
            "per_class": result.per_class,
            "confusion": result.confusion.tolist(),
            "density": result.densities,
            "health": {name: {"state": states[name], **layer} for name, layer in neurons.items()},
        }
        if flags.by_steps:
            values["accuracy_by_steps"] = model.by_steps(dataset.test).tolist()
        if flags.by_bits:
            values["by_bits"] = by_bits(config, tensors, dataset.test)
        measured = None if flags.unknown is None else unknown.measure(model, dataset, flags.unknown)
        if measured is not None:
            values["unknown"] = measured.values
        of = ", ".join([dataset.name, *(f"checkpoint {number}" for number in which.values())])
        title = f"{dataset.final.capitalize()} Accuracy: {result.accuracy:.2%} ({len(result.labels)} images of {of})"
        blocks: list[Block] = [Paragraph(title), _accuracies(result, config.class_names)]
        if run.unfinished:
            blocks.append(Paragraph(f"Note: {run.unfinished}"))
        blocks += map(Paragraph, _known(run.records("end"), dataset.test))
        if dataset.test.images.dtype == "uint8" and dataset.pixels.scale != (scale := config.model.pixels.scale):
            note = f"Note: pixel values are divided by {scale:g}; for such images, {dataset.pixels.scale:g} is usual"
            blocks.append(Paragraph(note))
        caption = f"Density: neurons that spike at a step, of all images; the rest is of {LOOKED_AT} images. {MEANING}"
        blocks.append(layers(caption, states, result.densities, seen))
        if flags.by_steps:
            blocks.append(_steps(values["accuracy_by_steps"]))
        if flags.by_bits:
            blocks.append(_bits(values["by_bits"]))
        if measured is not None:
            blocks += measured.blocks
        print(terminal.render(blocks), flush=True)
        try:
            if measured is not None:
                with run.claimed():
                    rundir.write_config(run, replace(config, unknown=measured.config))
            write_atomic(run.path / "evaluation.json", json.dumps(values, indent=2).encode())
            figure = confusion.draw(result.confusion, result.accuracy, config.class_names, dataset.final)
            style.save(figure, run.path, "confusion", flags.figures)
            if flags.by_steps:
                figure = accuracy.draw_by_steps(values["accuracy_by_steps"], dataset.final)
                style.save(figure, run.path, "steps", flags.figures)
        except UserError as error:  # such as a shared run that only its owner can change
            print(f"warning: the result wasn't saved: {error}", file=sys.stderr)
        return 0

    return run_command(command, arguments)


def by_bits(config: "Config", tensors: "Tensors", test: "Split") -> list[dict[str, Any]]:
    """Bits per weight, accuracy and kilobytes, for 2 bits up to the network's own or 8."""
    from csnn_jax.config.grid import FEWEST, WIDEST
    from csnn_jax.runs import layouts
    from csnn_jax.trained import Trained

    results = []
    for bits in range(FEWEST, (config.model.weight_bits or WIDEST) + 1):
        model, rounded = layouts.with_bits(config.model, tensors, bits)
        accuracy = Trained(replace(config, model=model), rounded, config.train.engine).evaluate(test).accuracy
        results.append({"bits": bits, "accuracy": accuracy, "kilobytes": layouts.kilobytes(model, rounded)})
    return results


def _known(ends: Sequence[Mapping[str, Any]], test: "Split") -> list[str]:
    """A note if a run made by `csnn_jax.fit` was trained on these images or evaluated on others."""
    arrays = ends[-1].get("arrays") if ends else None
    if not isinstance(arrays, Mapping):
        return []
    from csnn_jax.data import digest

    which = [name for name in ("train", "test") if arrays.get(name) == digest(test)]
    if "train" in which:
        return ["Note: the network was trained on these images"]
    return [] if which else ["Note: csnn_jax.fit evaluated the network on other images"]


def _accuracies(result: "Evaluation", classes: Sequence[str]) -> Table:
    """Accuracy by class, and the confusion matrix; columns are numbered, rows also have class names."""
    rows: list[list[Cell]] = []
    for number, (share, counts) in enumerate(zip(result.per_class, result.confusion.tolist(), strict=True)):
        name = str(number) if classes[number] == str(number) else f"{number} {classes[number]}"
        rows.append([name, percent(share), *map(str, counts)])
    head = ("class", "accuracy", *map(str, range(result.num_classes)))
    return Table("Accuracy by class, and the number of its images by answer:", head, rows)


def _steps(accuracies: Sequence[float]) -> Table:
    """The accuracy after some steps, spaced further apart toward the end."""
    last, shown = len(accuracies), [1]
    while shown[-1] < last:
        shown.append(min(last, max(shown[-1] + 1, round(1.3 * shown[-1]))))
    rows = [(step, percent(accuracies[step - 1])) for step in shown]
    return Table("Accuracy if the window ended after this many steps:", ("steps", "accuracy"), rows)


def _bits(results: Sequence[Mapping[str, Any]]) -> Table:
    rows = [(bits, percent(accuracy), f"{size:,.1f}") for bits, accuracy, size in (row.values() for row in results)]
    return Table("Accuracy and size with weights of fewer bits:", ("bits", "accuracy", "kB"), rows)


if __name__ == "__main__":
    sys.exit(main())
