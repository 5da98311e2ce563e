"""A whole bundle is ok; nothing else is, however well its hashes fit."""

import json
import os
import re
import shutil
import sys
from collections import Counter
from pathlib import Path

import h5py
import mutations
import numpy as np
import onnx
import onnxruntime
import pytest
from bundles import rehash
from onnx import numpy_helper

from csnn_jax.errors import UserError
from csnn_jax.runs import weights
from export import derived, manifest, received, verification
from export.parts.part import Found, Part
from export.report import text
from export.settings import Effort

ONNX = ("step.onnx", "step_b1.onnx", "sequence.onnx", "step_int8.onnx")
NOT_CHECKED = (
    "ok as far as checked (NOT CHECKED: accuracy, spikes, operations and energy, the ranges of step_int8.onnx, "
    "that golden/ holds test images; --dataset gives them, which were 'idx:"
)


@pytest.fixture
def copy(small_bundle, tmp_path):
    return Path(shutil.copytree(small_bundle, tmp_path / "bundle"))


class Remembered(verification.Comparison):
    """A comparison with files that were made, and run, once for all tests."""

    known: dict[str, Found]
    whole: Path

    def make(self) -> None:
        shutil.copytree(self.whole, self.subject.folder, dirs_exist_ok=True)
        self.subject._made.pop(f"values of {self.folder}", None)

    def check(self, part: Part, name: str) -> Found:
        if name not in self.known:
            self.known[name] = super().check(part, name)
        return self.known[name]


@pytest.fixture(scope="session")
def made_here(small_bundle, tmp_path_factory):
    """(the small bundle, made here; the kind of comparison with it, which makes and runs its files but once)."""
    scratch, whole = (tmp_path_factory.mktemp(name) for name in ("made", "whole"))
    opened = received.open_bundle(small_bundle, scratch, manifest.read(small_bundle), effort="quick")
    derived.make(opened.source)
    shutil.copytree(scratch, whole, dirs_exist_ok=True)
    return opened, type("Of", (Remembered,), {"known": {}, "whole": whole})


@pytest.fixture
def lines(capsys, tmp_path_factory, made_here):
    """Verifies a bundle: (exit code, what is said of each file; of the last line under its first word)."""

    def verified(folder: Path, effort: Effort | None = "quick", dataset: str | None = None):
        capsys.readouterr()
        if effort == "quick" and _same_network(folder, made_here[1].whole):
            code = _compare(folder, *made_here)
        else:
            code = verification.verify(folder, tmp_path_factory.mktemp("made"), dataset, effort)
        return code, dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())

    return verified


def _same_network(folder: Path, whole: Path) -> bool:
    return all(
        (folder / name).read_bytes() == (whole / name).read_bytes() for name in ("config.json", "weights.safetensors")
    )


def _compare(folder: Path, opened: received.Opened, comparison: type[Remembered]) -> int:
    """What `verify` does, with files that were made and run before."""
    verdict = verification.Verdict()
    try:
        recorded = verification.listed(folder, verdict)
    except UserError as error:
        verdict.tell("manifest.json", [str(error)])
        return verdict.end()
    if recorded is None:
        return verdict.end("what the files hold was not looked at")
    comparison(verdict, folder, recorded, opened).run()
    return verdict.end(opened.note)


def images(spikes: Path) -> str:
    """The data set of `spikes`, by its name on this machine."""
    return f"idx:{spikes.parent / 'images'}"


def test_any_stack_becomes_a_bundle_that_verifies(spikes, lines):
    code, said = lines(spikes, None, images(spikes))
    assert (code, said["all"]) == (0, "ok")
    recorded = json.loads((spikes / "manifest.json").read_text())
    assert recorded["semantics"]["input"]["layout"] == "T, N, C, H, W"
    assert "--learn" not in recorded["nir"]["reason"] and "--reset zero" in recorded["nir"]["reason"]


def test_a_bundle_is_only_read(spikes, lines, tmp_path):
    copy = Path(shutil.copytree(spikes, tmp_path / "bundle"))
    before = {path: path.stat() for path in (copy, *copy.rglob("*"))}
    for path in before:
        path.chmod(path.stat().st_mode & 0o555)
    assert lines(copy, None, images(spikes))[0] == 0
    after = {path: path.stat() for path in (copy, *copy.rglob("*"))}
    assert before.keys() == after.keys()
    assert all(after[path].st_mtime_ns == stat.st_mtime_ns for path, stat in before.items())
    for path in before:
        path.chmod(0o755)


def test_a_thorough_look_takes_more_images_than_the_bundle_was_made_with(spikes, lines):
    code, said = lines(spikes, "thorough", images(spikes))
    assert code == 0 and said["ok"] == (
        "as far as checked (NOT CHECKED: accuracy, spikes, operations and energy (--thorough); compared on 64 images)"
    )
    assert said["step.onnx"].endswith("on 64 images")


def test_images_that_the_test_set_does_not_have_hide_no_figures(spikes, tmp_path, lines):
    copy = Path(shutil.copytree(spikes, tmp_path / "bundle"))
    recorded = json.loads((copy / "manifest.json").read_text())
    recorded["settings"]["images"] = 20_000
    recorded["proof"]["sequence.onnx"]["accuracy"] = 0.99
    rehash(copy, settings=recorded["settings"], proof=recorded["proof"])
    code, said = lines(copy, None, images(spikes))
    assert code == 1 and "accuracy: is 0." in said["sequence.onnx"] and "images is 64" in said["step.onnx"]
    assert "settings.images is 20000, the test set has 64" in said["manifest.json"]


def test_the_accuracy_after_training_is_measured(copy, lines):
    training = json.loads((copy / "manifest.json").read_text())["training"]
    rehash(copy, training=training | {"accuracy": training["accuracy"] - 0.02})
    code, said = lines(copy, None)
    assert code == 1 and "training.accuracy: is 0." in said["manifest.json"]
    rehash(copy, training=training | {"accuracy": None})
    assert "training.accuracy is None, which `export` doesn't write" in lines(copy, None)[1]["manifest.json"]


def test_without_the_data_set_the_last_line_says_what_was_not_checked(spikes, capsys, tmp_path):
    assert verification.verify(spikes, tmp_path) == 3
    output = capsys.readouterr().out.splitlines()
    assert output[-1].startswith(NOT_CHECKED)
    assert any(line.startswith("step.onnx ") and line.endswith("on 15 images") for line in output)


def test_no_data_set_is_opened_that_a_bundle_names(spikes, tmp_path, lines):
    """It may name any folder of the receiver's machine."""
    copy = Path(shutil.copytree(spikes, tmp_path / "bundle"))
    job, recorded = (json.loads((copy / name).read_text()) for name in ("config.json", "manifest.json"))
    (pipe := tmp_path / "images").mkdir()
    for name in ("train-images-idx3-ubyte", "t10k-images-idx3-ubyte"):
        os.mkfifo(pipe / name)  # whoever opens it waits forever
    job["data"]["dataset"] = recorded["data"]["dataset"] = f"idx:{pipe}"
    (copy / "config.json").write_text(json.dumps(job, indent=2))
    mutations.fit(copy, recorded)
    assert lines(copy, None)[0] == 3


def test_sizes_and_claims_need_no_data_set(spikes, tmp_path, lines):
    """A bundle of unknown images that claims much."""
    copy = Path(shutil.copytree(spikes, tmp_path / "bundle"))
    recorded = json.loads((copy / "manifest.json").read_text())
    recorded["proof"]["c/"]["memory"]["constant_bytes"] = 1000
    recorded["numbers"]["energy"]["one_pass_nj"] = 1.0
    recorded["numbers"]["total"]["parameters"] = 7
    recorded["proof"]["step.onnx"]["certified"] = True
    rehash(copy, proof=recorded["proof"], numbers=recorded["numbers"])
    code, said = lines(copy, None)
    assert code == 1
    assert "memory.constant_bytes is" in said["c/"] and "certified is left over" in said["step.onnx"]
    assert "one_pass_nj is" in said["manifest.json"] and "total.parameters is" in said["manifest.json"]


def test_another_data_set_is_refused(spikes, lines):
    labels = next((spikes.parent / "images").glob("t10k-labels*"))
    whole = labels.read_bytes()
    labels.write_bytes(whole[:-1] + bytes([9 - whole[-1]]))
    try:
        code, said = lines(spikes, None, images(spikes))
    finally:
        labels.write_bytes(whole)
    assert code == 1 and "the test images here are not the bundle's: data.sha256 is" in said["manifest.json"]


def test_missing_and_unlisted_files_and_links_are_named(copy, lines):
    (copy / "golden" / "step" / "test_data_set_7" / "input_1.pb").unlink()
    (copy / "c" / "csnn").write_bytes(b"a program")
    (copy / "\x1b[31mred").write_bytes(b"")
    (copy / "empty").mkdir()
    (copy / "step_b1.onnx").unlink()
    (copy / "step_b1.onnx").symlink_to("step.onnx")
    code, said = lines(copy)
    assert code == 1
    assert said == {
        "golden/step/test_data_set_7/input_1.pb": "is missing",
        "c/csnn": "is not listed in manifest.json",
        r"\x1b[31mred": "is not listed in manifest.json",
        "empty": "is an empty folder, expected a plain file or nothing",
        "step_b1.onnx": "is a link, expected a plain file or nothing",
        "NOT": "OK (what the files hold was not looked at)",
    }


def test_a_link_is_no_file_whatever_the_manifest_says_of_it(copy, lines):
    (copy / "step_b1.onnx").unlink()
    (copy / "step_b1.onnx").symlink_to("/etc/passwd")
    recorded = json.loads((copy / "manifest.json").read_text())
    recorded["files"]["step_b1.onnx"] = {"sha256": "no plain file", "bytes": 0}
    manifest.write(copy, recorded)
    code, said = lines(copy)
    assert code == 1 and "files['step_b1.onnx'].sha256 is 'no plain file'" in said["manifest.json"]


def test_a_hidden_trigger_is_found(copy, lines):
    names = {mutations.trigger(copy, np.random.default_rng(seed)) for seed in (0, 1, 2)}
    assert names == {"sequence.onnx", "step_b1.onnx"}
    image = np.ones((1, 1, 28, 28), np.float32)
    counts, _ = onnxruntime.InferenceSession(copy / "sequence.onnx").run(None, {"image": image})
    assert counts[0, 0] == 100  # it does what it is to do
    rehash(copy)
    code, said = lines(copy)
    assert code == 1 and all(said[name].startswith("graph.node has ") for name in names)
    assert said["step.onnx"].startswith("ok")


def test_free_words_and_claims_of_the_manifest_are_named(copy, lines):
    recorded = json.loads((copy / "manifest.json").read_text())
    for part, name, value, problem in (
        ("training", "certified", "ISO 26262", "training.certified is not part of a manifest"),
        ("made", "versions", {"certified": "26262"}, "made.versions is {'certified'"),
        ("training", "iterations", "many", "training.iterations is 'many', which `export` doesn't write"),
        ("settings", "drop_silent", True, "settings.drop_silent doesn't fit to `dropped`"),
        ("training", "time_steps", 50, "training.time_steps is 50, expected 6"),
        ("data", "dataset", "the moon", "data.dataset is 'the moon', expected 'mnist'"),
    ):
        rehash(copy, **{part: recorded[part] | {name: value}})
        code, said = lines(copy)
        assert code == 1 and problem in said["manifest.json"], said
        rehash(copy, **{part: recorded[part]})
    rehash(copy, certified="ISO 26262")
    assert "certified is not part of manifest.json" in lines(copy)[1]["manifest.json"]


def test_a_file_that_unpacks_to_gigabytes_is_not_read(copy, lines):
    """122 kB of NIR that hold 12 GB; told to be of another version, so its values would have to be compared."""
    with h5py.File(copy / "network.nir", "r+") as file:
        del file["node/nodes/layer2_linear/weight"]
        shape, chunks = (60_000, 50_000), (6_000, 5_000)
        file.create_dataset("node/nodes/layer2_linear/weight", shape, "f4", chunks=chunks, compression="gzip")
    made = json.loads((copy / "manifest.json").read_text())["made"]
    made["versions"]["h5py"] = "1.0"
    rehash(copy, made=made)
    code, said = lines(copy)
    assert code == 1
    assert said["network.nir"].startswith("/node/nodes/layer2_linear/weight has another shape, type or storage")


def test_other_weights_are_seen_in_every_file(copy, lines):
    model, tensors = weights.load(copy / "weights.safetensors")
    tensors["fc1.weight"][3, 5] += 0.25
    weights.save(copy / "weights.safetensors", tensors, model)
    rehash(copy)
    code, said = lines(copy)
    assert code == 1
    bad = {name for name, line in said.items() if not line.startswith("ok")}
    assert {*ONNX, "network.nir", "network_nir104.nir", "c/", "manifest.json", "NOT"} <= bad
    assert said["step.onnx"].startswith("graph.initializer[fc1.weight].raw_data is not what this version makes")
    assert "weights.sha256_of_tensors is" in said["manifest.json"]


def test_values_are_compared_where_other_versions_wrote_the_bytes(copy, lines):
    """The same HDF5 objects in another order of bytes, as another version of h5py may write them."""
    path = copy / "network.nir"
    again = path.with_name("again")
    with h5py.File(path) as old, h5py.File(again, "w") as new:
        for name in reversed(list(old)):
            old.copy(name, new)
    again.replace(path)
    rehash(copy)
    code, said = lines(copy)
    assert code == 1 and said["network.nir"].startswith("holds the same values, but not in the bytes")
    made = json.loads((copy / "manifest.json").read_text())["made"]
    made["versions"]["h5py"] = "3.0"
    mutations.fit(copy, json.loads((copy / "manifest.json").read_text()) | {"made": made})
    code, said = lines(copy)
    assert said["network.nir"].startswith("ok"), said


def test_recorded_figures_are_not_believed(copy, lines):
    recorded = json.loads((copy / "manifest.json").read_text())
    proof, layers = recorded["proof"], recorded["numbers"]["layers"]
    proof["sequence.onnx"]["accuracy"] = 0.99
    proof["c/"]["library"]["stepwise"]["flipped_spikes"] = 3
    proof["step.onnx"]["onnxruntime"]["free_running"]["output_spikes"] *= 10
    proof["step_b1.onnx"]["onnxruntime"]["free_running"]["images"] = 10_000
    proof["step_b1.onnx"]["onnxruntime"]["stepwise"]["max_difference"] = 0.0
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
        "step_b1.onnx": r"onnxruntime.stepwise: max_difference is recorded as 0.0, expected the largest by layer.*"
        r"onnxruntime.free_running: images is 8, recorded as 10000",
        "weights.safetensors": r"densities: is {.*}, recorded as {.*}",
        "step_int8.onnx": r"has no figures in manifest.json",
        "network.nir": r"has no figures in manifest.json",
        "network_nir104.nir": r"its figures in manifest.json are damaged: TypeError: .*",
        "manifest.json": r".*numbers.layers\[0\].synaptic_operations: is .*numbers.layers\[1\].spikes: is .*",
    }.items():
        assert re.fullmatch(pattern, said[name]), (name, said[name])
    assert said["golden/"].startswith("ok")


@pytest.mark.slow
def test_no_change_passes(small_bundle, lines, tmp_path):
    """Over all kinds of files, with all hashes made to fit; each is one of `mutations`."""
    passed, kinds = [], Counter()
    for number in range(7 * len(mutations.CHANGES)):
        copy = tmp_path / str(number)
        shutil.copytree(small_bundle, copy)
        what = mutations.mutate(copy, number)
        kinds[what.split()[1]] += 1
        if lines(copy)[0] != 1 and lines(copy, None)[0] != 1:  # a quick look compares no figures
            passed.append(what)
        shutil.rmtree(copy)
    assert passed == [] and set(kinds.values()) == {7}


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


DEEP = f'{{"schema_version": 1, "x": {"[" * 600}{"]" * 600}}}'


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"schema_version": 2}', '{"schema_version": 1, "files": []}', DEEP, '{"x": "\\ud800"}']
)
def test_a_damaged_manifest_is_one_line(copy, lines, content):
    (copy / "manifest.json").write_text(content)
    code, said = lines(copy)
    assert code == 1
    assert set(said) == {"manifest.json", "NOT"}


@pytest.mark.parametrize("change", [{"images": 0}, {"images": "5"}, {"effort": "none"}, {"effort": None}])
def test_settings_that_would_prove_nothing_are_refused(copy, lines, change):
    settings = json.loads((copy / "manifest.json").read_text())["settings"]
    rehash(copy, settings=settings | change)
    code, said = lines(copy, None)
    assert code == 1
    assert set(said) == {"manifest.json", "NOT"} and "settings." in said["manifest.json"]


def test_a_file_too_many_or_too_few_is_seen_though_the_manifest_lists_what_is_there(copy, lines):
    (copy / "c" / "helper.h").write_text("")
    (copy / "golden" / "step" / "test_data_set_3" / "input_9.pb").write_bytes(b"")
    (copy / "report.md").unlink()
    (copy / "golden" / "step" / "test_data_set_5" / "output_3.pb").unlink()
    rehash(copy)
    code, said = lines(copy)
    assert code == 1
    for part in (
        "c/helper.h is listed, and no part of a bundle",
        "golden/step/test_data_set_3/input_9.pb is listed, and no part of a bundle",
        "golden/step/test_data_set_5/output_3.pb is not listed",
        "report.md is not listed",
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
        "made.opset is 20, expected 18",
        "settings.accuracy_images is 10000, expected 100",
        "training.seed is 4, expected 3",
        "latency is not that of every file that runs",
    ):
        assert part in said["manifest.json"]
    assert "opset_import" in said["step.onnx"]


def test_no_code_is_run_that_a_bundle_holds(copy, lines, tmp_path):
    (copy / "c" / "Makefile").write_text(f"all:\n\ttouch {tmp_path}/ran\n")
    (copy / "check_onnx.py").write_text(f"open('{tmp_path}/ran', 'w')")
    rehash(copy)
    code, said = lines(copy)
    assert code == 1 and not (tmp_path / "ran").exists()
    assert said["c/"] == "c/Makefile: is not what this version makes of the weights"
    assert said["check_onnx.py"] == "is not what this version makes of the weights"


def test_without_a_compiler_nothing_is_certified(copy, lines, monkeypatch):
    monkeypatch.setenv("PATH", str(copy))
    code, said = lines(copy, None)
    assert code == 1 and set(said) == {"SHA-256", "manifest.json", "NOT"}
    assert "the C program can't be built: make is not on the PATH" in said["manifest.json"]


def test_a_changed_page_is_seen(copy, lines):
    page = copy / "report.html"
    page.write_text(page.read_text().replace("files that run elsewhere", "files that sell", 1))
    rehash(copy)
    code, said = lines(copy)
    assert code == 1
    assert said["report.html"] == "is not what this version makes of manifest.json"


def test_of_a_page_with_another_plotly_all_but_plotly_is_checked(copy, lines, monkeypatch):
    page, recorded = copy / "report.html", manifest.read(copy)
    here, there = recorded["made"]["versions"]["plotly"], "6.0.0"
    recorded["made"]["versions"]["plotly"] = there
    mutations.fit(copy, recorded)
    page.write_text(page.read_text().replace(f"with plotly {here}", f"with plotly {there}").replace("Plotly.", "P.", 3))
    rehash(copy)
    (copy / "report.md").write_text(text.render(manifest.read(copy)))
    rehash(copy)
    code, said = lines(copy)
    assert said["report.html"] == "ok but for plotly.js, which is of another version" and code == 3
    page.write_text(page.read_text().replace("as files that run elsewhere", "ready to sell", 1))
    rehash(copy)
    assert lines(copy)[1]["report.html"] == "is not what this version makes of manifest.json"
    monkeypatch.setitem(sys.modules, "plotly", None)
    code, said = lines(copy)
    assert code == 3 and said["report.html"].startswith("not checked: the report needs plotly (")


def test_a_bundle_may_have_no_page(copy, lines):
    (copy / "report.html").unlink()
    rehash(copy)
    (copy / "report.md").write_text(text.render(manifest.read(copy)))
    rehash(copy)
    code, said = lines(copy)
    assert code == 0 and "report.html" not in said


def test_a_golden_membrane_may_differ_by_rounding_and_no_more(copy, lines):
    path = copy / "golden" / "step" / "test_data_set_99" / "output_1.pb"
    tensor = onnx.load_tensor(path)
    values = numpy_helper.to_array(tensor)
    for factor, ok in ((1 + 2e-7, True), (1.001, False)):
        path.write_bytes(numpy_helper.from_array(values * np.float32(factor), tensor.name).SerializeToString())
        rehash(copy)
        assert lines(copy)[1]["golden/"].startswith("ok") == ok


def test_a_quick_look_says_which_figures_it_did_not_compare(copy, lines):
    recorded = json.loads((copy / "manifest.json").read_text())
    mutations.fit(copy, recorded | {"training": recorded["training"] | {"accuracy": 0.9999}})
    code, said = lines(copy)
    assert code == 0 and said["ok"] == (
        "as far as checked (NOT CHECKED: accuracy, spikes, operations and energy (--quick); compared on 4 images)"
    )
    assert lines(copy, None)[0] == 1
