"""A received bundle is checked on the images of its data set if they're available, and otherwise on its own."""

import json
import os
import shutil
from pathlib import Path

import h5py
import mutations
import numpy as np
import onnx_mutations
import onnxruntime
from bundles import SPIKES, make_run, rehash
from refusals import assert_line, refusing
from safetensors.numpy import save_file

from csnn_jax.errors import UserError
from csnn_jax.runs import weights
from export import manifest
from export.proof.received import NoDataset, open_bundle
from export.report import text

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
        _, check_images, test = opened(spikes, tmp_path_factory.mktemp("made"), images(spikes), effort, images=wanted)
        assert (check_images.count, len(check_images.test.labels), len(test.labels)) == (count, of, 64)


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


def test_images_of_no_class_are_refused(tmp_path):
    folder, model = tmp_path / "bundle", SPIKES
    make_run(folder, model, f"idx:{tmp_path}")
    (folder / "golden").mkdir()
    arrays = {"images": np.zeros((15, *model.input_shape), np.uint8), "labels": np.arange(15)}
    save_file(arrays, folder / "golden" / "images.safetensors")
    statements = {"settings": {"opset": 20, "images": 8}, "data": {"test_images": 15}}
    with refusing(UserError, "images.safetensors", "labels", 14, "0 to 9"):
        open_bundle(folder, tmp_path, {"statements": statements})


ONNX = ("step.onnx", "step_b1.onnx", "sequence.onnx")


def test_a_hidden_trigger_is_found(copy, lines):
    names = {onnx_mutations.trigger(copy, np.random.default_rng(seed)).split(":")[0] for seed in (0, 1, 2)}
    assert names == {"sequence.onnx", "step_b1.onnx"}
    image = np.ones((1, 1, 28, 28), np.float32)
    counts, _ = onnxruntime.InferenceSession(copy / "sequence.onnx").run(None, {"image": image})
    assert counts[0, 0] == 100  # the trigger works
    rehash(copy)
    code, said = lines(copy)
    assert code == 1 and all(said[name].startswith("graph.node has ") for name in names)
    assert said["step.onnx"].startswith("ok")


def test_a_file_that_unpacks_to_gigabytes_is_not_read(copy, lines):
    """122 kB of NIR unpack to 12 GB; the manifest claims another h5py version, so values would have to be compared."""
    with h5py.File(copy / "network.nir", "r+") as file:
        del file["node/nodes/layer2_linear/weight"]
        shape, chunks = (60_000, 50_000), (6_000, 5_000)
        file.create_dataset("node/nodes/layer2_linear/weight", shape, "f4", chunks=chunks, compression="gzip")
    recorded = json.loads((copy / "manifest.json").read_text())
    recorded["statements"]["made"]["versions"]["h5py"] = "1.0"
    rehash(copy, recorded)
    code, said = lines(copy)
    assert code == 1
    assert said["network.nir"].startswith("/node/nodes/layer2_linear/weight has a different shape, type or storage")


def test_other_weights_are_detected_in_every_file(copy, lines):
    model, tensors = weights.load(copy / "weights.safetensors")
    tensors["fc1.weight"][3, 5:8] *= -1
    weights.save(copy / "weights.safetensors", tensors, model)
    rehash(copy)
    _, said = lines(copy)
    bad = {name for name, line in said.items() if not line.startswith("ok")}
    assert {*ONNX, "network.nir", "network_norse.nir", "c/", "manifest.json", "NOT"} <= bad
    assert said["step.onnx"].startswith("graph.initializer[fc1.weight].raw_data ")
    assert "results.sha256_of_tensors is" in said["manifest.json"]


def test_weights_off_their_grid_are_refused(copy, lines):
    model, tensors = weights.load(copy / "weights.safetensors")
    largest = np.unravel_index(abs(tensors["fc1.weight"]).argmax(), tensors["fc1.weight"].shape)
    tensors["fc1.weight"][largest] = np.nextafter(tensors["fc1.weight"][largest], np.float32(0))
    weights.save(copy / "weights.safetensors", tensors, model)
    rehash(copy)
    code, said = lines(copy)
    assert code == 1 and set(said) == {"SHA-256", "weights.safetensors", "NOT"}
    assert_line(said["weights.safetensors"], "fc1.weight", "grid")


def test_values_are_compared_if_other_versions_wrote_the_bytes(copy, lines):
    """The same HDF5 objects in a different byte order, as other versions of h5py may write them."""
    path = copy / "network.nir"
    again = path.with_name("again")
    with h5py.File(path) as old, h5py.File(again, "w") as new:
        for name in reversed(list(old)):
            old.copy(name, new)
    again.replace(path)
    rehash(copy)
    code, said = lines(copy)
    assert code == 1 and said["network.nir"].startswith("has the same values, but not the bytes")
    recorded = json.loads((copy / "manifest.json").read_text())
    recorded["statements"]["made"]["versions"]["h5py"] = "3.0"
    mutations.fit(copy, recorded)
    code, said = lines(copy)
    assert said["network.nir"].startswith("ok") and code == 3, said
    assert "NOT CHECKED: the bytes of network.nir" in said["ok"]
    with open(path, "ab") as file:
        file.write(b"hidden" * 50)
    rehash(copy)
    (copy / "report.md").write_text(text.render(manifest.read(copy)))
    (copy / "report.html").write_text(text.page(manifest.read(copy)))
    rehash(copy)
    code, said = lines(copy)
    assert code == 3 and "NOT CHECKED: the bytes of network.nir" in said["ok"], "bytes that aren't values are possible"


def test_damaged_files_are_one_line_each(copy, lines):
    (copy / "step_b1.onnx").write_bytes((copy / "step_b1.onnx").read_bytes()[:-100])
    (copy / "sequence.onnx").write_bytes(b"")
    (copy / "network.nir").write_bytes(b"no HDF5")
    (copy / "golden" / "images.safetensors").write_bytes(b"\x00" * 9)
    (copy / "c" / "csnn.c").write_text("int main(void) { return }")
    rehash(copy)
    code, said = lines(copy)
    assert code == 1
    for name in ("step_b1.onnx", "sequence.onnx", "network.nir", "golden/", "c/"):
        assert not said[name].startswith("ok"), said[name]
    assert said["step.onnx"].startswith("ok") and said["network_sinabs.nir"].startswith("ok")


def test_extra_and_missing_files_are_detected_even_if_the_manifest_agrees(copy, lines):
    (copy / "c" / "helper.h").write_text("")
    (copy / "golden" / "step" / "test_data_set_3" / "input_9.pb").write_bytes(b"")
    (copy / "report.md").unlink()
    (copy / "golden" / "step" / "test_data_set_5" / "output_3.pb").unlink()
    rehash(copy)
    code, said = lines(copy)
    assert code == 1
    for part in (
        "c/helper.h is listed, but not part of a bundle",
        "golden/step/test_data_set_3/input_9.pb is listed, but not part of a bundle",
        "golden/step/test_data_set_5/output_3.pb is not listed",
        "report.md is not listed",
    ):
        assert part in said["manifest.json"]
    assert said["report.md"] == "no such file, expected a report"
    assert "test_data_set_5" in said["golden/"]


def test_no_code_in_a_bundle_is_run(copy, lines, tmp_path):
    (copy / "c" / "Makefile").write_text(f"all:\n\ttouch {tmp_path}/ran\n")
    (copy / "check_onnx.py").write_text(f"open('{tmp_path}/ran', 'w')")
    rehash(copy)
    code, said = lines(copy)
    assert code == 1 and not (tmp_path / "ran").exists()
    assert said["c/"] == "c/Makefile: doesn't match what this version makes from the weights"
    assert said["check_onnx.py"] == "doesn't match what this version makes from the weights"
