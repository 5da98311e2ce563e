"""A whole bundle is ok, and no change of any file goes unseen."""

import json
import re
import shutil
import sys
from pathlib import Path

import h5py
import numpy as np
import onnx
import pytest
from bundles import rehash
from mutations import mutate
from onnx import numpy_helper

from csnn_jax.runs import weights
from export import manifest, parts, verification
from export.effort import Effort
from export.report import text

ONNX = ("step.onnx", "step_b1.onnx", "step_lif.onnx", "sequence.onnx", "step_int8.onnx")
SAME = (*ONNX, "network.nir", "network_nir104.nir", "c/weights_int8.h")
MUTATED = {name: name for name in SAME} | {"c/": "c/weights.h"}
"""What is checked, and the file of it in which constants are changed."""


@pytest.fixture
def copy(small_bundle, tmp_path):
    return Path(shutil.copytree(small_bundle, tmp_path / "bundle"))


@pytest.fixture
def lines(capsys):
    """Verifies a bundle: (exit code, what is said of each file)."""

    def verified(folder: Path, effort: Effort | None = "quick") -> tuple[int, dict[str, str]]:
        capsys.readouterr()
        code = verification.verify(folder, effort)
        return code, dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())

    return verified


def test_any_stack_becomes_a_bundle_that_verifies(spikes, capsys):
    assert verification.verify(spikes) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "all ok"
    manifest = json.loads((spikes / "manifest.json").read_text())
    assert manifest["semantics"]["input"]["layout"] == "T, N, C, H, W"
    assert "--learn" not in manifest["nir"]["reason"] and "--reset zero" in manifest["nir"]["reason"]


def test_a_thorough_look_takes_more_images_than_the_bundle_was_made_with(spikes, lines):
    code, said = lines(spikes, "thorough")
    assert code == 0 and said["all"] == (
        "ok (thorough: compared on 64 images, so that figures of the manifest are not compared)"
    )
    assert said["step.onnx"].endswith("on 64 images")


def test_images_that_the_test_set_does_not_have_hide_no_figures(spikes, tmp_path, lines):
    copy = Path(shutil.copytree(spikes, tmp_path / "bundle"))
    recorded = json.loads((copy / "manifest.json").read_text())
    recorded["settings"]["images"] = 20_000
    recorded["proof"]["sequence.onnx"]["accuracy"] = 0.99
    rehash(copy, settings=recorded["settings"], proof=recorded["proof"])
    code, said = lines(copy, None)
    assert code == 1 and "accuracy: is 0." in said["sequence.onnx"] and "images is 64" in said["step.onnx"]


def test_the_accuracy_after_training_is_worked_out_anew(copy, lines):
    training = json.loads((copy / "manifest.json").read_text())["training"]
    rehash(copy, training=training | {"accuracy": training["accuracy"] - 0.02})
    code, said = lines(copy, None)
    assert code == 1 and "training.accuracy: is 0." in said["manifest.json"]
    rehash(copy, training=training | {"accuracy": None})
    assert "training.accuracy is None, expected a share" in lines(copy, None)[1]["manifest.json"]


def test_without_the_data_set_golden_images_stand_in(spikes, capsys):
    images = spikes.parent / "images"
    images.rename(spikes.parent / "moved")
    try:
        assert verification.verify(spikes) == 0
    finally:
        (spikes.parent / "moved").rename(images)
    output = capsys.readouterr().out.splitlines()
    assert output[-1].startswith("all ok (compared on the golden images only, no figures made anew: ")
    assert any(line.startswith("step.onnx ") and line.endswith("on 15 images") for line in output)


def test_another_data_set_of_that_name_is_refused(spikes, capsys):
    labels = next((spikes.parent / "images").glob("t10k-labels*"))
    whole = labels.read_bytes()
    labels.write_bytes(whole[:-1] + bytes([9 - whole[-1]]))
    try:
        assert verification.verify(spikes) == 1
    finally:
        labels.write_bytes(whole)
    assert "the test images here are not the bundle's: data.sha256 is" in capsys.readouterr().out


def test_missing_and_unlisted_files_are_seen(copy, lines):
    (copy / "golden" / "step" / "test_data_set_7" / "input_1.pb").unlink()
    (copy / "c" / "csnn").write_bytes(b"a program")
    (copy / "step_b1.onnx").unlink()
    (copy / "step_b1.onnx").symlink_to("step.onnx")
    code, said = lines(copy)
    assert code == 1
    assert said.pop("golden/step/test_data_set_7/input_1.pb") == "is missing"
    assert said.pop("c/csnn") == "is not listed in manifest.json"
    assert said.pop("step_b1.onnx").startswith("was changed")
    assert said == {"NOT": "OK (what the files compute was not looked at)"}


def test_other_weights_are_seen_in_every_file_though_all_hashes_fit(copy, lines):
    model, tensors = weights.load(copy / "weights.safetensors")
    tensors["fc1.weight"][3, 5] += 0.25
    weights.save(copy / "weights.safetensors", tensors, model)
    rehash(copy)
    code, said = lines(copy)
    assert code == 1
    bad = {name for name, text in said.items() if not text.startswith("ok")}
    assert {*ONNX, "network.nir", "network_nir104.nir", "c/", "manifest.json", "NOT"} <= bad
    assert said["step.onnx"].startswith("fc1.weight is not the trained one")
    assert said["step_int8.onnx"].startswith("fc1.weight_quantized is not the trained one, rounded")
    assert said["network.nir"].endswith("is not the trained network's")
    assert "weights.sha256_of_tensors is" in said["manifest.json"]


def test_one_weight_of_a_file_is_seen_though_all_hashes_fit(copy, lines):
    changed = {name: _change_onnx(copy / name) for name in ("step_b1.onnx", "step_lif.onnx", "step_int8.onnx")}
    _change_header(copy / "c" / "weights.h")
    _change_nir(copy / "network.nir")
    with h5py.File(copy / "network_nir104.nir", "r+") as file:
        file["node/metadata/dt"][()] = 1e-3
    _change_tensor(copy / "golden" / "step" / "test_data_set_8" / "output_1.pb")
    recorded = json.loads((copy / "manifest.json").read_text())
    recorded["proof"]["sequence.onnx"]["accuracy"] = 0.5
    recorded["semantics"]["layers"][1]["threshold"] = 1.5
    rehash(copy, proof=recorded["proof"], semantics=recorded["semantics"])
    code, said = lines(copy)
    assert code == 1
    bad = {name for name, text in said.items() if not text.startswith("ok")}
    assert bad == {
        *changed,
        "c/",
        "network.nir",
        "network_nir104.nir",
        "golden/",
        "manifest.json",
        "report.md",
        "report.html",
        "NOT",
    }
    assert said["network_nir104.nir"].startswith("its metadata are {'dt': ")
    for name, tensor in changed.items():
        assert said[name].startswith(f"{tensor} is not the trained one"), said[name]
    assert said["c/"] == "weights.h: not what this version writes for the trained parameters"
    assert said["golden/"].startswith("golden/step/test_data_set_8/output_1.pb: membranes differ by up to 0.")
    assert said["manifest.json"] == "semantics.layers[1].threshold is 1.0, manifest.json says 1.5"
    assert said["report.md"] == "is not what this version makes of manifest.json"


def test_recorded_figures_are_not_believed(copy, lines):
    recorded = json.loads((copy / "manifest.json").read_text())
    proof, layers = recorded["proof"], recorded["numbers"]["layers"]
    proof["sequence.onnx"]["accuracy"] = 0.99
    proof["c/"]["library"]["stepwise"]["flipped_spikes"] = 3
    proof["step.onnx"]["onnxruntime"]["free_running"]["output_spikes"] *= 10
    proof["step_b1.onnx"]["onnxruntime"]["free_running"]["images"] = 10_000
    proof["step_lif.onnx"]["onnxruntime"]["stepwise"]["max_difference"] = 0.0
    proof["weights.safetensors"]["densities"]["lif1"] /= 2
    proof["step_int8.onnx"] = 7
    layers[1]["spikes"] *= 1.1
    layers[0]["synaptic_operations"] /= 3
    del proof["network.nir"]
    proof["network_nir104.nir"]["snntorch"]["first_flips"] = 0
    rehash(copy, proof=proof, numbers=recorded["numbers"])
    code, said = lines(copy, None)
    assert code == 1
    for name, pattern in {
        "sequence.onnx": r"accuracy: is 0\.\d+, recorded as 0.99",
        "c/": r"library.stepwise: flipped_spikes is recorded as 3, but 0 are listed",
        "step.onnx": r"onnxruntime.free_running: output_spikes is (?P<n>\d+), recorded as (?P=n)0",
        "step_b1.onnx": r"onnxruntime.free_running: images is 8, recorded as 10000",
        "step_lif.onnx": r"onnxruntime.stepwise: max_difference is recorded as 0.0, expected the largest by layer.*",
        "weights.safetensors": r"densities: is {.*}, recorded as {.*}",
        "step_int8.onnx": r"has no figures in manifest.json",
        "network.nir": r"has no figures in manifest.json",
        "network_nir104.nir": r"its figures in manifest.json are damaged: TypeError: .*",
        "manifest.json": r".*numbers.layers\[0\].synaptic_operations: is .*numbers.layers\[1\].spikes: is .*",
    }.items():
        assert re.fullmatch(pattern, said[name]), (name, said[name])
    assert said["golden/"].startswith("ok")


@pytest.mark.slow
def test_two_hundred_changed_constants_are_each_named_though_all_hashes_fit(copy):
    subject = verification.open_bundle(copy, manifest.read(copy), "quick").subject
    random, changed, unseen = np.random.default_rng(0), 0, []
    names = {name: part for part in parts.every() for name in part.what if name in MUTATED}
    for _ in range(23):
        for name, part in names.items():
            path = copy / MUTATED[name]
            whole = path.read_bytes()
            what = mutate(path, random)
            found = verification.check(part, subject, name)
            if not found.problems:
                unseen.append(f"{name}: {what}")
            changed += 1
            path.write_bytes(whole)
    assert changed == 207 and unseen == []


def test_damaged_files_are_one_line_each(copy, lines):
    (copy / "step_b1.onnx").write_bytes((copy / "step_b1.onnx").read_bytes()[:-100])
    (copy / "step_int8.onnx").write_bytes(b"")
    (copy / "network.nir").write_bytes(b"no HDF5")
    (copy / "golden" / "images.safetensors").write_bytes(b"\x00" * 9)
    (copy / "c" / "csnn.c").write_text("int main(void) { return }")
    rehash(copy)
    code, said = lines(copy)
    assert code == 1
    for name in ("step_b1.onnx", "step_int8.onnx", "network.nir", "golden/", "c/"):
        assert not said[name].startswith("ok"), said[name]
    assert said["step.onnx"].startswith("ok") and said["network_nir104.nir"].startswith("ok")


@pytest.mark.parametrize("text", ["", "[]", "{", '{"schema_version": 2}', '{"schema_version": 1, "files": []}'])
def test_a_damaged_manifest_is_one_line(copy, lines, text):
    (copy / "manifest.json").write_text(text)
    code, said = lines(copy)
    assert code == 1
    assert set(said) == {"manifest.json", "NOT"}


@pytest.mark.parametrize(
    "settings",
    [
        {"opset": 20, "images": 0, "effort": "quick"},
        {"opset": 20, "images": 5},
        {"opset": 20, "images": "5", "effort": "quick"},
        {"opset": 20, "images": 5, "effort": "none"},
    ],
)
def test_settings_that_would_prove_nothing_are_refused(copy, lines, settings):
    rehash(copy, settings=settings)
    code, said = lines(copy, None)
    assert code == 1
    assert set(said) == {"SHA-256", "manifest.json", "NOT"} and "settings." in said["manifest.json"]


def test_a_file_too_many_or_too_few_is_seen_though_the_manifest_lists_what_is_there(copy, lines):
    (copy / "c" / "helper.h").write_text("")
    (copy / "golden" / "step" / "test_data_set_3" / "input_9.pb").write_bytes(b"")
    (copy / "report.md").unlink()
    (copy / "golden" / "step" / "test_data_set_5" / "output_3.pb").unlink()
    rehash(copy, notes="see helper.h")
    code, said = lines(copy)
    assert code == 1
    for part in (
        "c/helper.h is listed, and no part of a bundle",
        "golden/step/test_data_set_3/input_9.pb is listed, and no part of a bundle",
        "golden/step/test_data_set_5/output_3.pb is not listed",
        "report.md is not listed",
        "notes is no part of manifest.json",
    ):
        assert part in said["manifest.json"]
    assert said["report.md"].startswith("can't be made from manifest.json: FileNotFoundError")
    assert "test_data_set_5" in said["golden/"]


def test_settings_that_the_files_belie_are_seen(copy, lines):
    recorded = json.loads((copy / "manifest.json").read_text())
    recorded["settings"] |= {"opset": 18, "accuracy_images": 10000}
    recorded["training"]["seed"] = 4
    del recorded["latency"]["c/"]
    rehash(copy, **{part: recorded[part] for part in ("settings", "training", "latency")})
    code, said = lines(copy, None)
    assert code == 1 and "latency" not in said
    for part in (
        "settings.opset is another one than the files have",
        "settings.accuracy_images is 100, manifest.json says 10000",
        "training.seed is 3, manifest.json says 4",
        "latency is not that of every file that runs",
    ):
        assert part in said["manifest.json"]


def test_another_graph_around_the_int8_weights_is_seen(copy, lines):
    model = onnx.load(copy / "step_int8.onnx")
    greater = next(node for node in model.graph.node if node.name == "lif2.Greater_2")
    greater.op_type = "Less"
    (copy / "step_int8.onnx").write_bytes(model.SerializeToString())
    rehash(copy)
    code, said = lines(copy)
    assert code == 1
    assert said["step_int8.onnx"] == "lif2.Greater_2 is not what it is in step.onnx"


def test_no_code_is_run_that_this_version_did_not_write(copy, lines, tmp_path):
    (copy / "c" / "Makefile").write_text(f"all:\n\ttouch {tmp_path}/ran\n")
    rehash(copy)
    code, said = lines(copy)
    assert code == 1 and not (tmp_path / "ran").exists()
    assert said["c/"] == "Makefile: not what this version writes for the trained parameters"


def test_without_a_compiler_the_program_is_not_ok(copy, lines, monkeypatch):
    monkeypatch.setenv("PATH", str(copy))
    code, said = lines(copy)
    assert code == 1
    assert said["c/"].startswith("not checked: ")
    assert [name for name, text in said.items() if not text.startswith("ok")] == [
        "c/",
        "golden/c/",
        "c/weights_int8.h",
        "NOT",
    ]


def test_a_changed_page_is_seen_though_all_hashes_fit(copy, lines):
    page = copy / "report.html"
    page.write_text(page.read_text().replace("ready to deploy", "ready to sell", 1))
    rehash(copy)
    code, said = lines(copy)
    assert code == 1
    assert said["report.html"] == "is not what this version makes of manifest.json"


def test_a_page_that_other_versions_made_is_known_by_its_hash(copy, lines, monkeypatch):
    page, recorded = copy / "report.html", manifest.read(copy)
    page.write_text(page.read_text().replace("with plotly ", "with plotly 0.", 1))
    rehash(copy)
    (copy / "report.md").write_text(text.render(manifest.read(copy)))
    rehash(copy)
    code, said = lines(copy)
    assert code == 0
    assert said["report.html"].startswith("ok by its SHA-256 alone, for it was made by csnn-jax export ")
    monkeypatch.setitem(sys.modules, "plotly", None)
    code, said = lines(copy)
    assert code == 0 and said["report.html"].startswith("ok by its SHA-256 alone: the report needs plotly (")
    assert recorded["files"]["report.html"] != manifest.read(copy)["files"]["report.html"]


def test_a_bundle_may_have_no_page(copy, lines):
    (copy / "report.html").unlink()
    rehash(copy)
    (copy / "report.md").write_text(text.render(manifest.read(copy)))
    rehash(copy)
    code, said = lines(copy)
    assert code == 0 and "report.html" not in said


def _change_onnx(path: Path) -> str:
    """Moves one weight by 0.25, or one int8 weight by one; returns the tensor's name."""
    model = onnx.load(path)
    tensor = next(t for t in model.graph.initializer if t.name.startswith("fc1.weight") and len(t.dims) == 2)
    values = numpy_helper.to_array(tensor).copy()
    values[2, 3] += values.dtype.type(0.25 if values.dtype == np.float32 else 1)
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    path.write_bytes(model.SerializeToString())
    return tensor.name


def _change_header(path: Path) -> None:
    text = path.read_text()
    first = re.search(r"-?0x[0-9a-f.]+p[+-]\d+f", text)
    assert first is not None
    path.write_text(text.replace(first[0], "0x1p-2f", 1))


def _change_nir(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        found = []
        file.visititems(lambda name, item: found.append(item) if name.endswith("weight") else None)
        values = found[-1][()]
        values.flat[7] += 0.25
        found[-1][...] = values


def _change_tensor(path: Path) -> None:
    tensor = onnx.load_tensor(path)
    values = numpy_helper.to_array(tensor).copy()
    values.flat[5] += 1
    path.write_bytes(numpy_helper.from_array(values, tensor.name).SerializeToString())
