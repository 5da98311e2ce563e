"""Opens a received bundle: its network and images, for making its files again, and compares the files.

Received files are read as bytes and compared; they are never run or imported, and their links never followed. Bytes
must be equal, unless the bundle was made with other versions of the packages that write ONNX and NIR files: then values
are compared.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from csnn_jax import data, machine, reading
from csnn_jax.config import Config
from csnn_jax.data import Split
from csnn_jax.errors import UserError, first_line
from csnn_jax.runs import rundir
from export import hashes, manifest, parts
from export.bundle import IMAGES, Manifest, golden_count, golden_images
from export.network import Bundle, Network
from export.proof import Figures
from export.proof.equality import CheckImages
from export.settings import EXTENTS, Effort, Settings
from export.work import Work

QUICK_IMAGES = 4
SHIPPED = "mnist"
"""The default data set, which ships with the package."""
WRITERS = ("csnn-jax", "onnx", "nir", "h5py")
"""The packages that determine the bytes of files."""


class NoDataset(UserError):
    """The data set that the receiver named can't be used, which says nothing about the bundle."""


def open_bundle(
    folder: Path,
    scratch: Path,
    recorded: Manifest,
    dataset: str | None = None,
    effort: Effort | None = None,
    work: Work | None = None,
) -> tuple[Bundle, CheckImages, Split | None]:
    """Reads the bundle's weights, configuration and images; arguments as for `verification.verify`.

    Returns:
        (the bundle to make here, in another folder; the images to check its files on; the whole test set, or None if
            it isn't available).

    Raises:
        NoDataset: `dataset` can't be read, or doesn't fit the network.
        UserError: its weights or configuration can't be read, or the data set is a different one.
    """
    _, config, tensors = rundir.open_run(str(folder))
    statements = recorded["statements"]
    made = settings = Settings(**statements["settings"])
    if effort == "thorough":
        settings = replace(made, images=max(made.images, EXTENTS[effort].images), effort=effort)
    steps, whole = made.time_steps or config.model.time_steps, None
    if dataset is None and config.data.dataset != SHIPPED:
        split = _bundled_images(folder, config, steps, statements["data"]["test_images"])
    else:
        loaded = _load(config, dataset)
        whole, facts = loaded.test, manifest.data(loaded.test, loaded.final)
        for problem in manifest.differences(statements["data"], facts, "data"):
            raise UserError(f"the test images here aren't the bundle's: {problem}")
        split = settings.split(whole)
    count = min(settings.images, len(split.labels))
    if effort == "quick":
        count, golden = min(count, QUICK_IMAGES), golden_count(steps)
        split = Split(split.images[:golden], split.labels[:golden])
    recorded_frames = config.model.time_steps if split.images.ndim == 5 else None
    network = Network(settings.fitted(config, split), tensors, recorded_frames)
    extent = settings.extent._replace(evaluator=made.extent.evaluator)
    (scratch / "bundle").mkdir()
    images = CheckImages(network, split, count, extent, work or Work("Verifying"))
    return Bundle(scratch / "bundle", scratch, network, config, made.opset, split, made.prefix), images, whole


def _load(config: Config, dataset: str | None) -> data.Dataset:
    try:
        return data.load_for(config, dataset or SHIPPED)
    except UserError as error:
        if dataset is None:
            raise
        flag = f"--dataset {dataset}: "
        raise NoDataset(flag + error.args[0].removeprefix(flag)) from None


def _bundled_images(folder: Path, config: Config, steps: int, test_images: int) -> Split:
    """The test images in the bundle itself.

    Raises:
        UserError: they can't be read, don't fit this network, or their number is wrong.
    """
    split, path = golden_images(folder), folder / IMAGES
    shape, count = split.images.shape, min(golden_count(steps), test_images)
    if shape[-3:] != config.model.input_shape or shape[0] != count or (len(shape) == 5 and shape[1] != steps):
        raise UserError(f"{path}: images {list(shape)}, expected {count} of {list(config.model.input_shape)}")
    try:
        data.check_labels(split, config.model.num_classes)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None
    return split


def names(folder: Path) -> set[str]:
    """The files in a folder."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def differences(bundle: Bundle, received: Path, made: Figures) -> tuple[dict[str, list[str]], list[str]]:
    """Compares a received bundle's files with those made here.

    If different bytes are accepted, they replace the ones made here, so the bundle's own file is run afterwards.

    Args:
        bundle: the bundle made here.
        received: the folder of the bundle to compare.
        made: its maker's statement `made`.

    Returns:
        (problems by the name under which a file is reported; those names for files with other bytes but the same
            values, which a bundle made with other versions may have, and whose bytes could hide anything else).
    """
    problems: dict[str, list[str]] = {}
    by_values: list[str] = []
    here, there = machine.versions(WRITERS), made["versions"]
    others = [f"{name} {there.get(name)}" for name in WRITERS if there.get(name) != here.get(name)]
    elsewhere = f" (it was made with {', '.join(others)})" if others else ""
    values = {name: part.same for part in parts.every() for name in part.what}
    for name in sorted(names(bundle.folder)):
        part = part_name_of(name)
        try:
            content = reading.read(received / name, "a file of a bundle", hashes.MOST_BYTES, received)
        except UserError as error:
            lines = [str(error).removeprefix(f"{received / name}: ")]
        else:
            if content == (bundle.folder / name).read_bytes():
                continue
            lines = _differences(values.get(part), bundle.folder / name, received / name)
            if not lines and not others:
                lines = ["has the same values, but not the bytes that this version writes"]
            lines = [f"{line}{elsewhere}" for line in lines]
        if lines:
            problems.setdefault(part, []).extend(line if part == name else f"{name}: {line}" for line in lines)
        else:
            (bundle.folder / name).write_bytes(content)
            by_values.append(part)
    return problems, list(dict.fromkeys(by_values))


def _differences(same: Callable[[Path, Path], Iterable[str]] | None, expected: Path, received: Path) -> list[str]:
    """How a file's values differ; a file that can't be read also differs, and one without a comparison."""
    if same is None:
        return ["doesn't match what this version makes from the weights"]
    try:
        return list(same(expected, received))
    except UserError as error:
        return [str(error)]
    except Exception as error:  # libraries can raise anything for a damaged file; report it in its line
        return [f"can't be read: {type(error).__name__}: {first_line(error)}"]


def part_name_of(name: str) -> str:
    """The name under which a file is checked and reported: its own or its folder's."""
    folders = {what for part in parts.every() for what in part.what if what.endswith("/")}
    is_part = any(name in part.what for part in parts.every())
    return name if is_part else max((folder for folder in folders if name.startswith(folder)), key=len, default=name)
