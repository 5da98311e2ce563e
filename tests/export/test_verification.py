"""Only a whole, unchanged bundle is ok, even if the hashes of others match."""

import json
import re
import shutil
import sys
from collections import Counter
from pathlib import Path

import mutations
import numpy as np
import onnx
import pytest
from bundles import SMALL, rehash
from commands import call
from export_networks import changed
from onnx import numpy_helper
from refusals import refused

from export import manifest, parts
from export.graphs import onnx_file
from export.report import text


def test_any_stack_becomes_a_bundle_that_verifies_and_is_only_read(spikes, lines, tmp_path):
    copy = Path(shutil.copytree(spikes, tmp_path / "bundle"))
    before = {path: path.stat() for path in (copy, *copy.rglob("*"))}
    for path in before:
        path.chmod(path.stat().st_mode & 0o555)
    code, said = lines(copy, None, f"idx:{spikes.parent / 'images'}")
    assert (code, said["all"]) == (0, "ok")
    after = {path: path.stat() for path in (copy, *copy.rglob("*"))}
    assert before.keys() == after.keys()
    assert all(after[path].st_mtime_ns == stat.st_mtime_ns for path, stat in before.items())
    for path in before:
        path.chmod(0o755)


@pytest.mark.slow
def test_a_bundle_of_a_graph_verifies_and_another_weight_of_a_recurrent_layer_is_found(described, lines, tmp_path):
    assert lines(described)[0] == 0
    copy = Path(shutil.copytree(described, tmp_path / "bundle"))
    model = changed(onnx_file.load(copy / "step.onnx"), "lateral.weight", lambda value: value * 2)
    onnx_file.save(model, copy / "step.onnx")
    rehash(copy)
    code, said = lines(copy)
    assert code == 1 and "lateral.weight" in said["step.onnx"] and said["step_b1.onnx"].startswith("ok")
    recorded = json.loads((copy / "manifest.json").read_text())
    recorded["results"]["semantics"]["layers"][0]["operation"] = "image -> image1"
    recorded["results"]["nir"] = {"written": True, "reason": None}
    rehash(copy, recorded)
    said = lines(copy)[1]
    for name in ("results.semantics.layers[0].operation is ", "results.nir.written is false", "results.nir.reason is "):
        assert name in said["manifest.json"]


def test_every_file_has_a_line(small_bundle, lines):
    code, said = lines(small_bundle, None)
    assert code == 0 and said.pop("all") == "ok"
    latency = r"here \(recorded\), median ms per call: step.onnx \d+\.\d+ \(\d+\.\d+\), .* c/ \d+\.\d+ "
    assert re.match(latency, said.pop("latency"))
    names = {name for part in parts.every() for name in part.what}
    assert set(said) == {"SHA-256", *names, "manifest.json", "report.md", "report.html"}
    assert all(line.startswith("ok") for line in said.values()), said
    spikes = 8 * SMALL.time_steps * (4 * 14 * 14 + 16 + 10)
    equal = f"ok, 0 of {spikes:,} spikes and 0 of {spikes:,} membranes differ from those of torch"
    for name in ("step.onnx", "step_b1.onnx", "c/", "weights.safetensors"):
        assert said[name].startswith(equal), said[name]


def test_a_bundle_that_is_read_from_membranes_verifies_and_a_changed_state_is_found(integrator, lines, tmp_path):
    assert lines(integrator)[0] == 0
    copy = Path(shutil.copytree(integrator, tmp_path / "bundle"))
    names = ("input_1.pb", "output_0.pb", "output_3.pb")  # a current before and after the step, and the output
    for name in names:
        path = copy / "golden" / "step" / "test_data_set_3" / name
        tensor = onnx.load_tensor(path)
        values = numpy_helper.to_array(tensor).copy()
        values.flat[5] = np.nextafter(values.flat[5], np.float32(9))
        path.write_bytes(numpy_helper.from_array(values, tensor.name).SerializeToString())
    rehash(copy)
    code, said = lines(copy, None)
    problem = "raw_data doesn't match what this version makes from the weights"
    wrong = [f"golden/step/test_data_set_3/{name}: {problem}" for name in names]
    assert code == 1 and said["golden/"] == "; ".join(wrong)


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
        "NOT": "OK (the contents of the files were not checked)",
    }


def test_free_text_and_wrong_statements_are_named(copy, lines):
    recorded = manifest.read(copy)
    stated, job = recorded["statements"], recorded["results"]["job"]
    for entry, name, value in (("training", "iterations", "many"), ("settings", "certified", "ISO 26262")):
        rehash(copy, recorded | {"statements": stated | {entry: stated[entry] | {name: value}}})
        assert f"statements.{entry}.{name} is" in lines(copy)[1]["manifest.json"]
    rehash(copy, recorded | {"certified": "ISO 26262"})
    assert lines(copy)[1]["manifest.json"] == "certified isn't part of a manifest"
    job |= {"time_steps": 50, "dataset": "the moon"}
    del stated["latency"]["c/"]
    stated["latency"]["step.onnx"]["dequantizing_ms"] = 1.0
    rehash(copy, recorded)
    code, said = lines(copy)
    assert code == 1 and "latency" not in said
    for line in (
        "results.job.time_steps is 6, manifest.json says 50",
        'results.job.dataset is "mnist", manifest.json says "the moon"',
        "latency doesn't list every file that runs",
        "latency.step.onnx.dequantizing_ms is only for ONNX files with weights of few bits",
    ):
        assert line in said["manifest.json"]


def test_recorded_figures_are_not_trusted(copy, lines):
    recorded = json.loads((copy / "manifest.json").read_text())
    files, layers = recorded["results"]["files"], recorded["results"]["numbers"]["layers"]
    changes = (
        (files["sequence.onnx"], "accuracy", 0.99, "files.sequence.onnx.accuracy is 0."),
        (files["c/"]["library"], "different_spikes", 3, "files.c/.library.different_spikes is 0, manifest.json says 3"),
        (files["step.onnx"]["onnxruntime"], "spikes", 7, "files.step.onnx.onnxruntime.spikes is "),
        (files["step_b1.onnx"]["onnxruntime"], "different_membranes", False, "files.step_b1.onnx.onnxruntime.diff"),
        (files, "network.nir", 7, "files.network.nir is {"),
        (layers[1], "spikes", 9.5, "numbers.layers[1].spikes is "),
        (layers[0], "synaptic_operations", 1.5, "numbers.layers[0].synaptic_operations is "),
        (recorded["results"], "accuracy_images", 99, "accuracy_images is 100, manifest.json says 99"),
    )
    for some in (changes[:4], changes[4:]):
        before = [inside[name] for inside, name, *_ in some]
        for inside, name, value, _ in some:
            inside[name] = value
        rehash(copy, recorded)
        code, said = lines(copy, None)
        assert code == 1 and said["manifest.json"].count("manifest.json says") == len(some)
        for _, _, value, message in some:
            for fact in (f"results.{message}", f"manifest.json says {json.dumps(value)}"):
                assert fact in said["manifest.json"]
        for (inside, name, *_), value in zip(some, before, strict=True):
            inside[name] = value
    for inside, name, value, _ in changes:
        inside[name] = value
    rehash(copy, recorded)
    said = lines(copy, None)[1]
    assert said["manifest.json"].count("manifest.json says") == 5 and said["manifest.json"].endswith("; and 3 more")
    assert said["golden/"].startswith("ok") and said["sequence.onnx"].startswith("ok")


@pytest.mark.slow
@pytest.mark.parametrize("each", [2, pytest.param(7, marks=pytest.mark.rare)])
def test_no_change_passes(each, small_bundle, lines, tmp_path):
    """Covers all kinds of files, with all hashes recomputed; each change is one of `mutations`."""
    passed, kinds = [], Counter()
    for number in range(each * len(mutations.CHANGES)):
        copy = tmp_path / str(number)
        shutil.copytree(small_bundle, copy)
        what = mutations.mutate(copy, number)
        kinds[what.split()[1]] += 1
        if lines(copy)[0] != 1 and lines(copy, None)[0] != 1:  # --quick compares no figures
            passed.append(what)
        shutil.rmtree(copy)
    assert passed == [] and len(kinds) == 16 and min(kinds.values()) == each


DEEP = f'{{"schema_version": 3, "x": {"[" * 600}{"]" * 600}}}'


def test_a_damaged_manifest_is_one_line(copy, lines):
    for content in ("", "[]", '{"schema_version": 1}', '{"schema_version": 3, "hashes": []}', DEEP, '{"x": "\\ud800"}'):
        (copy / "manifest.json").write_text(content)
        code, said = lines(copy)
        assert code == 1 and set(said) == {"manifest.json", "NOT"}, content


def test_without_a_compiler_nothing_is_certified(copy, lines, monkeypatch):
    monkeypatch.setenv("PATH", str(copy))
    code, said = lines(copy, None)
    assert code == 1 and set(said) == {"SHA-256", "manifest.json", "NOT"}
    assert "the C program can't be built: make is not on the PATH" in said["manifest.json"]


def test_a_page_with_another_plotly_is_checked_except_for_plotly(copy, lines, monkeypatch):
    page, recorded = copy / "report.html", manifest.read(copy)
    versions, there = recorded["statements"]["made"]["versions"], "6.0.0"
    here, versions["plotly"] = versions["plotly"], there
    mutations.fit(copy, recorded)
    page.write_text(page.read_text().replace(f"with plotly {here}", f"with plotly {there}").replace("Plotly.", "P.", 3))
    rehash(copy)
    (copy / "report.md").write_text(text.render(manifest.read(copy)))
    rehash(copy)
    code, said = lines(copy)
    assert said["report.html"] == "ok except for its script, plotly.js, which has another version" and code == 3
    assert "the script in report.html, so don't open it" in said["ok"]
    page.write_text(page.read_text().replace("as files that run elsewhere", "ready to sell", 1))
    rehash(copy)
    assert lines(copy)[1]["report.html"] == "doesn't match what this version makes from manifest.json"
    monkeypatch.setitem(sys.modules, "plotly", None)
    code, said = lines(copy)
    assert code == 3 and said["report.html"].startswith("not checked: the report needs plotly (")
    assert "report.html, so don't open it" in said["ok"]
    page.unlink()
    rehash(copy)
    (copy / "report.md").write_text(text.render(manifest.read(copy)))
    rehash(copy)
    code, said = lines(copy)
    assert code == 0 and "report.html" not in said, "a bundle may have none"


def test_the_accuracy_after_training_is_measured_except_with_quick(copy, lines):
    recorded = manifest.read(copy)
    recorded["results"]["accuracy"] = 0.9999
    mutations.fit(copy, recorded)
    code, said = lines(copy)
    assert code == 0 and said["ok"] == (
        "(skipped: accuracy, spikes, operations and energy (--quick); compared on 4 images)"
    )
    code, said = lines(copy, None)
    assert code == 1 and "results.accuracy is 0." in said["manifest.json"]


def test_the_command_has_a_line_for_every_file_and_an_exit_code(spikes):
    """Without the cache of earlier results."""
    done = call("export.verify", spikes, "--quick", "--dataset", f"idx:{spikes.parent / 'images'}")
    assert (done.returncode, done.stderr) == (0, ""), done
    skipped = "accuracy, spikes, operations and energy (--quick)"
    assert done.stdout.splitlines()[-1] == f"ok (skipped: {skipped}; compared on 4 images)"


def test_a_folder_without_a_manifest_is_no_bundle_and_flags_exclude_each_other(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        refused("export.verify", folder, names=(folder, "manifest.json"))
    refused("export.verify", tmp_path, "--hashes", "--quick", names=("--quick", "--hashes"))


def test_a_newer_version_and_absurd_latencies_are_not_all_ok(copy, lines):
    recorded = manifest.read(copy)
    recorded["statements"]["made"]["versions"]["csnn-jax"] = "9.4.0"
    header = copy / "c/network.h"
    other = re.sub(r'(VERSION|MAJOR) "?\d', lambda match: match[0][:-1] + "9", header.read_text())
    header.write_text(other + "\n")
    rehash(copy)
    mutations.fit(copy, recorded | {"hashes": manifest.read(copy)["hashes"]})
    code, said = lines(copy)
    assert code == 1 and said["c/"].startswith("c/network.h: doesn't match")
    header.write_text(other)
    rehash(copy)
    recorded["hashes"] = manifest.read(copy)["hashes"]
    mutations.fit(copy, recorded)
    code, said = lines(copy)
    assert code == 3 and "what csnn-jax 9.4.0, which is newer than " in said["ok"]
    assert "the bytes of c/ (only the values)" in said["ok"]
    recorded["statements"]["latency"]["c/"] = {"median_ms": 1e6, "p99_ms": 1e6, "calls": 3}
    mutations.fit(copy, recorded)
    code, said = lines(copy, None)
    assert code == 1 and re.match(r"c/ took 1e\+06 ms according to manifest.json, 0\.\d+ ms here", said["latency"])
