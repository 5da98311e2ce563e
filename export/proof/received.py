"""Opens a received bundle: its network and images, for making its files again."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from csnn_jax import data
from csnn_jax.config import Config
from csnn_jax.data import Split
from csnn_jax.errors import UserError
from csnn_jax.runs import rundir
from export import manifest
from export.bundle import IMAGES, Manifest, golden_count, golden_images
from export.network import Bundle, Inputs, Network
from export.proof.evidence import Evidence
from export.settings import EXTENTS, Effort, Settings
from export.work import Work

QUICK_IMAGES = 4
SHIPPED = "mnist"
"""The default data set, which ships with the package."""


class Opened(NamedTuple):
    """A bundle that can be verified.

    Attributes:
        bundle: the bundle made here, in a separate folder.
        inputs: the inputs for making its files.
        evidence: the images and reference results for checking them.
        note: why figures can't be compared with the recorded ones; "" if they can.
        test: the whole test set; None: it isn't available or isn't used.
        effort: how much is checked; None: as much as when it was made.
    """

    bundle: Bundle
    inputs: Inputs
    evidence: Evidence
    note: str
    test: Split | None
    effort: Effort | None


class NoDataset(UserError):
    """The data set that the receiver named can't be used, which says nothing about the bundle."""


def open_bundle(
    folder: Path,
    scratch: Path,
    recorded: Manifest,
    dataset: str | None = None,
    effort: Effort | None = None,
    work: Work | None = None,
) -> Opened:
    """Reads the bundle's weights, configuration and images; arguments as for `verification.verify`.

    Raises:
        NoDataset: `dataset` can't be read, or doesn't fit the network.
        UserError: its weights or configuration can't be read, or the data set is a different one.
    """
    _, config, tensors = rundir.open_run(str(folder))
    made = Settings.read(recorded["settings"])
    settings, note, whole = made, "", None
    if effort == "thorough":
        settings = replace(made, images=max(made.images, EXTENTS[effort].images), effort=effort)
    if dataset is None and config.data.dataset != SHIPPED:
        split = _kept_images(folder, config, recorded)
    else:
        found = _load(config, dataset)
        whole, facts = found.test, manifest.data(recorded["data"]["dataset"], found.test, found.final)
        for problem in manifest.differences(recorded["data"], facts, "data"):
            raise UserError(f"the test images here aren't the bundle's: {problem}")
        split = settings.split(whole)
    count = min(settings.images, len(split.labels))
    if effort == "thorough":
        note = f"compared on {count:,} images"
    if effort == "quick":
        count, golden = min(count, QUICK_IMAGES), golden_count(made.time_steps or config.model.time_steps)
        split, note = Split(split.images[:golden], split.labels[:golden]), f"compared on {count} images"
    recorded_frames = config.model.time_steps if split.images.ndim == 5 else None
    network = Network(settings.fitted(config, split), tensors, recorded_frames)
    extent = settings.extent._replace(evaluator=made.extent.evaluator)
    (scratch / "bundle").mkdir()
    return Opened(
        Bundle(scratch / "bundle", network, scratch),
        Inputs(config, made.opset, split),
        Evidence(network, split, count, extent, work or Work("Verifying")),
        note,
        whole,
        effort,
    )


def _load(config: Config, dataset: str | None) -> data.Dataset:
    try:
        return data.load_for(config, dataset or SHIPPED)
    except UserError as error:
        if dataset is None:
            raise
        flag = f"--dataset {dataset}: "
        raise NoDataset(flag + error.args[0].removeprefix(flag)) from None


def _kept_images(folder: Path, config: Config, recorded: Manifest) -> Split:
    """The test images in the bundle itself.

    Raises:
        UserError: they can't be read, don't fit this network, or their number is wrong.
    """
    kept, path = golden_images(folder), folder / IMAGES
    steps = recorded["settings"]["time_steps"] or config.model.time_steps
    count = min(golden_count(steps), recorded["data"]["test_images"])
    shape = kept.images.shape
    if shape[-3:] != config.model.input_shape or shape[0] != count or (kept.images.ndim == 5 and shape[1] != steps):
        raise UserError(f"{path}: images {list(shape)}, expected {count} of {list(config.model.input_shape)}")
    data.check_labels(kept, config.model.num_classes)
    return kept
