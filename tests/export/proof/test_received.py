"""A received bundle is checked on the images of its data set if they're available, and otherwise on its own."""

import json
import os
import shutil
from pathlib import Path

from refusals import refusing

from csnn_jax.errors import UserError
from export import manifest
from export.proof.received import NoDataset, open_bundle

NOT_CHECKED = (
    "ok as far as checked (NOT CHECKED: accuracy, spikes, operations and energy, "
    "whether golden/ contains test images; set --dataset, which was 'idx:"
)


def opened(folder: Path, scratch: Path, *arguments, **settings):
    recorded = manifest.read(folder)
    recorded["statements"]["settings"] |= settings
    return open_bundle(folder, scratch, recorded, *arguments)


def images(spikes: Path) -> str:
    """The data set of `spikes`, by its name on this machine."""
    return f"idx:{spikes.parent / 'images'}"


def test_as_many_images_are_compared_as_there_are(spikes, tmp_path_factory):
    for effort, wanted, count, of in (
        (None, 8, 8, 64),
        ("thorough", 8, 64, 64),
        ("quick", 8, 4, 15),
        (None, 20000, 64, 64),
    ):
        _, found, test = opened(spikes, tmp_path_factory.mktemp("made"), images(spikes), effort, images=wanted)
        assert (found.count, len(found.test.labels), len(test.labels)) == (count, of, 64)


def test_without_the_data_set_the_last_line_says_what_was_not_checked(spikes, lines):
    code, said = lines(spikes, None)
    assert code == 3 and f"ok {said['ok']}".startswith(NOT_CHECKED)
    assert said["step.onnx"].endswith("on 15 images")


def test_a_data_set_named_by_a_bundle_is_not_opened(spikes, tmp_path):
    """It could name any folder on the receiver's machine."""
    copy = Path(shutil.copytree(spikes, tmp_path / "copy"))
    job = json.loads((copy / "config.json").read_text())
    for name in ("train-images-idx3-ubyte", "t10k-images-idx3-ubyte"):
        os.mkfifo(tmp_path / name)  # opening it would block forever
    job["data"]["dataset"] = f"idx:{tmp_path}"
    (copy / "config.json").write_text(json.dumps(job, indent=2))
    assert opened(copy, tmp_path)[-1] is None


def test_a_misspelled_data_set_is_not_the_bundles_fault(spikes, tmp_path):
    with refusing(NoDataset, "dataset idx:nosuch", "no such folder"):
        opened(spikes, tmp_path, "idx:nosuch")


def test_sizes_and_claims_need_no_data_set(spikes, tmp_path, lines):
    """A bundle with unknown images and large claims."""
    copy = Path(shutil.copytree(spikes, tmp_path / "copy"))
    recorded = json.loads((copy / "manifest.json").read_text())
    results = recorded["results"]
    results["files"]["c/"]["memory"]["constant_bytes"] = 1000
    results["numbers"]["energy"]["one_pass_nj"] = 1.0
    results["numbers"]["total"]["parameters"] = 7
    results["files"]["step.onnx"]["certified"] = True
    manifest.write(copy, recorded)
    code, said = lines(copy, None)
    assert code == 1
    for line in (
        "results.files.c/.memory.constant_bytes is",
        "results.files.step.onnx.certified is unexpected",
        "results.numbers.energy.one_pass_nj is",
        "results.numbers.total.parameters is",
    ):
        assert line in said["manifest.json"]


def test_another_data_set_and_unsuitable_images_are_refused(spikes, tmp_path):
    folder = Path(shutil.copytree(spikes.parent / "images", tmp_path / "images"))
    labels = next(folder.glob("t10k-labels*"))
    labels.write_bytes(labels.read_bytes()[:-1] + bytes([9 - labels.read_bytes()[-1]]))
    with refusing(UserError, "test images", "data.sha256"):
        opened(spikes, tmp_path, f"idx:{folder}")
    with refusing(UserError, "images.safetensors", [15, 20, 20, 1], "20 of [20, 20, 1]"):
        opened(spikes, tmp_path, time_steps=5)
