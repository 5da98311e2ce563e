"""`python -m csnn_jax.predict RUN FILE...`: classifies picture files and recordings."""

import sys
from collections.abc import Sequence
from dataclasses import MISSING, dataclass
from typing import Literal

import numpy as np

from csnn_jax.command import run_command
from csnn_jax.config import Config, ModelConfig, Readout
from csnn_jax.flags import Flags, checkpoint_option, parse
from csnn_jax.options import option
from csnn_jax.options.kinds import RUN, choice, several, text
from csnn_jax.runs.margins import margins
from csnn_jax.window import output, summed

DESCRIPTION = """Classifies PNG or JPEG pictures, or event-camera recordings, with a trained network.

Prints the class, the spike count of each class and the step of the first output spike. For a network trained on MNIST,
a picture of another size is prepared like MNIST's digits: cropped to the digit, scaled to fit 20x20 pixels, and
centered by its center of mass. Dark digits on a light background are inverted. A recording (N-MNIST's .bin, .npz, or a
format of the package faery) is converted to frames in the same way as the training data."""

Prepare = Literal["auto", "digit", "resize"]


@dataclass(frozen=True)
class PredictFlags(Flags):
    # fmt: off
    run: str = option(MISSING, RUN, """
        Run directory written by csnn_jax.train.""", positional=True)
    files: tuple[str, ...] = option(MISSING, several(text("pictures or recordings", metavar="FILE"), least=1), """
        Pictures or recordings.""", positional=True)
    prepare: Prepare = option("auto", choice(Prepare), """
        digit: crop, scale and center as in MNIST; resize: only resize; auto: digit for a network trained on MNIST, and
        as in training for one trained on images:DIR.""")
    checkpoint: str | None = checkpoint_option()
    # fmt: on


def main(arguments: Sequence[str] | None = None) -> int:
    def command() -> int:
        flags = parse(PredictFlags, "csnn-predict", DESCRIPTION, arguments)
        from csnn_jax.engine import process
        from csnn_jax.errors import UserError
        from csnn_jax.runs import rundir
        from csnn_jax.trained import Trained

        run, config, tensors = rundir.open_run(flags.run, flags.checkpoint)
        if run.unfinished:
            print(f"note: {flags.run}: {run.unfinished}", flush=True)
        process.set_up(config.train.dtype)
        model = Trained(config, tensors, config.train.engine)
        if config.unknown.margin is not None and model.margin_for(config.model.time_steps) is None:
            other = "was measured with other weights or another window"
            print(f"note: {flags.run}: the margin for unknown answers {other}, so it isn't used", flush=True)
        code = 0
        for path in flags.files:
            try:
                sample, notes = _sample(path, config, flags.prepare)
            except UserError as error:  # the other files are still classified
                print(f"error: {error}", file=sys.stderr)
                code = 2
                continue
            read = output(config.model, *model.trace(sample[None]))[:, 0]
            margin = model.margin_for(len(read))
            print(_text(path, notes, config.class_names, read, config.model.readout, margin), flush=True)
        return code

    return run_command(command, arguments)


def _sample(path: str, config: Config, prepare: str) -> tuple[np.ndarray, Sequence[str]]:
    """The network's input from a file, [H, W, C] or [T, H, W, C], and notes on how it was prepared.

    Raises:
        UserError: the file can't be read, or isn't the kind of data that the network was trained on.
    """
    from csnn_jax.data import pictures, reader_of
    from csnn_jax.data.events import folder
    from csnn_jax.errors import UserError

    if folder.is_recording(path):
        return folder.frames_and_notes(path, config)
    if (channels := config.model.input_shape[2]) not in (1, 3):
        expected = "expected a network for pictures, with 1 or 3"
        if channels == 2:
            expected = f"expected a recording, whose name ends in one of {', '.join(folder.SUFFIXES)}"
        raise UserError(f"{path}: the network's input has {channels} channels, {expected}")
    reader, shape = reader_of(config.data.dataset), config.model.input_shape
    if prepare == "auto" and reader and reader.picture:
        picture = reader.picture(path, shape)
    else:
        digit = prepare == "digit" or (prepare == "auto" and config.data.dataset == "mnist")
        picture = pictures.read(path, shape, digit)
    return _as_data(picture.pixels, config.model), picture.notes


def _as_data(pixels: np.ndarray, config: ModelConfig) -> np.ndarray:
    """Pixels of 0 to 255, in the units of the training data."""
    if config.pixels.brightest == 255 or not config.pixels.are_bytes:
        return pixels
    return np.rint(pixels * (config.pixels.brightest / 255)).astype(np.uint8)


def _text(
    path: str, notes: Sequence[str], names: Sequence[str], read: np.ndarray, readout: Readout, margin: float | None
) -> str:
    """The printed result for output spikes or membranes [time, classes]."""
    counts = readout == "spikes"
    scores = summed(read).astype(int) if counts else summed(read)
    steps = np.flatnonzero(read.any(1))
    first = f", first output spike at step {steps[0] + 1}" if len(steps) else ", no output spikes"
    first = first if counts else ""
    best = [name for name, score in zip(names, scores, strict=True) if score == scores.max()]
    tie = f" (tie between {', '.join(best)})" if len(best) > 1 else ""
    answer = f"class {best[0]}{tie}"
    if margin is not None and (ahead := margins(scores)) < margin:
        answer = f"unknown (class {best[0]} is ahead by {ahead:.9g}, expected {margin:.9g})"
    lines = [f"{path}: {answer}{first}"]
    lines += [f"  {note}" for note in notes]
    unit, form = ("spikes", "d") if counts else ("summed membranes", ".2f")
    lines.append(f"  {unit}: " + "  ".join(f"{name}:{score:{form}}" for name, score in zip(names, scores, strict=True)))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
