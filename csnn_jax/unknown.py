"""`csnn_jax.evaluate --unknown`: chooses the margin below which an answer is unknown, and measures what it rejects."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from csnn_jax.config import Config
from csnn_jax.config.unknown import UnknownConfig
from csnn_jax.data import Dataset, Images, Split
from csnn_jax.document.blocks import Block, Cell, Paragraph, Table
from csnn_jax.document.numbers import counted, percent
from csnn_jax.errors import UserError
from csnn_jax.runs import margins
from csnn_jax.runs.margins import Answers
from csnn_jax.trained import Trained

NOISE, PART, SEED = 1000, 100, 0
"""Number of noise images, how many are in memory at once, and their seed."""
MOST_NOISE = 0.5
"""The share of noise images with an answer above which a second criterion is compared."""


class Kind(NamedTuple):
    """Images of one kind, and what the network does on them.

    Attributes:
        name: what they are.
        margins: of their answers [N].
        spikes: of all neurons in the window [N].
        wrong: whether their answers are [N]; None: they have no class.
    """

    name: str
    margins: np.ndarray
    spikes: np.ndarray
    wrong: np.ndarray | None


class Measured(NamedTuple):
    """The result of `measure`.

    Attributes:
        config: for the run; without a margin if none has few enough wrong answers.
        values: for evaluation.json.
        blocks: for the terminal.
    """

    config: UnknownConfig
    values: dict[str, Any]
    blocks: list[Block]


def check(config: Config, share: float) -> None:
    """Raises UserError if `measure` can't measure a run."""
    if not config.data.validation:
        held_out = "the run held out no training images; expected one trained with --validation"
        raise UserError(f"--unknown {share:g}: {held_out}")
    if config.train.dtype != "float32":
        rounded = f"the run was trained with --dtype {config.train.dtype}, and bundles round to float32"
        raise UserError(f"--unknown {share:g}: {rounded}; expected a run with --dtype float32")


def choose(model: Trained, held_out: Split, share: float) -> tuple[UnknownConfig, Answers | None]:
    """Chooses the smallest margin at which few enough answers to the held-out images are wrong.

    Args:
        model: the network.
        held_out: the images, with their labels.
        share: the share of the answers given that may be wrong, by the upper end of its interval.

    Returns:
        (for the network's configuration, without a margin if there is none; what the margin gives, or None).
    """
    return _chosen(model, _seen(model, "held-out", held_out), held_out.images, share)


def measure(model: Trained, dataset: Dataset, share: float) -> Measured:
    """`choose`, and which images then get no answer.

    Args:
        model: the network.
        dataset: its data set, with held-out images.
        share: as in `choose`.
    """
    assert dataset.validation is not None
    held_out = _seen(model, "held-out", dataset.validation)
    config, answers = _chosen(model, held_out, dataset.validation.images, share)
    values: dict[str, Any] = {"share": share, "margin": None}
    if answers is None:
        few = f"at most {100 * share:.4g}% of the answers given are wrong, by the upper end of the 95% interval"
        return Measured(config, values, [Paragraph(f"Unknown: at no margin, {few}, so the run has none.")])
    kinds = [held_out, *_others(model, dataset)]
    spikes = held_out.spikes.min().item(), held_out.spikes.max().item()
    noise = next(kind for kind in kinds if kind.name == "noise")
    compared = spikes if (noise.margins >= answers.margin).mean() > MOST_NOISE else None
    values |= {"margin": answers.margin, "given": answers.given, "wrong": answers.wrong, "upper_end": _upper(answers)}
    values |= {"spikes": compared, "images": [_rejected(kind, answers.margin, spikes) for kind in kinds]}
    return Measured(config, values, [Paragraph(_in_words(answers, model)), _table(values)])


def _chosen(model: Trained, seen: Kind, images: Images, share: float) -> tuple[UnknownConfig, Answers | None]:
    assert seen.wrong is not None
    answers = margins.smallest(seen.margins, seen.wrong, share)
    if answers is None:
        return UnknownConfig(), None
    return UnknownConfig(share, answers.margin, model.window_of(images), model.digest), answers


def _seen(model: Trained, name: str, split: Split) -> Kind:
    counts = model.count(split.images)
    return Kind(name, margins.margins(counts.scores), counts.fired.sum(1), counts.scores.argmax(1) != split.labels)


def _others(model: Trained, dataset: Dataset) -> Iterator[Kind]:
    """The other images: of the test set, if there is one, and without a class."""
    if dataset.final == "test":
        yield _seen(model, "test", dataset.test)
    shape, pixels = dataset.test.images.shape[1:], model.config.model.pixels
    white = max(1, min(255, int(pixels.brightest))) if pixels.are_bytes else 255
    random = np.random.default_rng(SEED)
    noise = (random.integers(0, white, (PART, *shape), np.uint8, endpoint=True) for _ in range(NOISE // PART))
    yield _classless(model, "noise", noise)
    yield _classless(model, "black", [np.zeros((1, *shape), np.uint8)])
    yield _classless(model, "white", [np.full((1, *shape), white, np.uint8)])


def _classless(model: Trained, name: str, parts: Iterable[np.ndarray]) -> Kind:
    scores, fired = map(np.concatenate, zip(*map(model.count, parts), strict=True))
    return Kind(name, margins.margins(scores), fired.sum(1), None)


def _rejected(kind: Kind, margin: float, spikes: tuple[int, int]) -> dict[str, Any]:
    """How many images of a kind have no answer, by the margin alone and with the spikes of all neurons in a range."""
    given = kind.margins >= margin
    usual = (kind.spikes >= spikes[0]) & (kind.spikes <= spikes[1])
    values = {"kind": kind.name, "images": len(given), "unknown": int((~given).sum())}
    values["unknown_by_both"] = int((~(given & usual)).sum())
    return values | ({} if kind.wrong is None else {"wrong": int(kind.wrong[given].sum())})


def _upper(answers: Answers) -> float:
    return margins.upper_end(answers.wrong, answers.given)


def _in_words(answers: Answers, model: Trained) -> str:
    spikes = model.config.model.readout == "spikes"
    ahead = counted(int(answers.margin), "spike") if spikes else f"{answers.margin:.9g}, of summed membranes"
    interval = f"{answers.wrong / answers.given:.2%}, 95% interval up to {_upper(answers):.2%}"
    wrong = f"Of the other {answers.given:,} on held-out images, {answers.wrong:,} are wrong ({interval})."
    return f"Unknown: answers ahead by less than {ahead}. {wrong}"


def _table(values: dict[str, Any]) -> Table:
    """The share of the images without an answer, by kind."""
    spikes, rows = values["spikes"], list[list[Cell]]()
    for one in values["images"]:
        unknown = [one["unknown"], one["unknown_by_both"]][: 1 if spikes is None else 2]
        given = one["images"] - one["unknown"]
        wrong = f"{one['wrong']:,} of {given:,}" if "wrong" in one else "-"
        rows.append([one["kind"], one["images"], *(percent(count / one["images"]) for count in unknown), wrong])
    both = [] if spikes is None else ["with both"]
    caption = "Images without an answer, and wrong answers by the margin:"
    if spikes is not None:
        usual = f"{spikes[0]:,} to {spikes[1]:,} spikes of all neurons together, as held-out images have"
        caption = f"{caption[:-1]}. Because most noise gets an answer, 'with both' also requires {usual}:"
    return Table(caption, ["images", "number", "unknown", *both, "wrong"], rows)
