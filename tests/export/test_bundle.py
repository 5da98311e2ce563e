"""`python -m export`: the bundle appears whole or not at all, and says why it refuses a run."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from bundles import SMALL, make_bundle, make_run
from commands import ENVIRONMENT, refused, run, start
from disk import content, largest_file
from idx_files import write_folder
from onnx import numpy_helper

from csnn_jax import data
from csnn_jax.config import ModelConfig
from csnn_jax.errors import UserError
from export import bundle
from export import verification as recheck

SPIKES = ModelConfig(
    input_shape=(20, 20, 1),
    conv_channels=(),
    hidden=(12,),
    time_steps=7,
    encoding="rate",
    reset="none",
    learn_beta=True,
)
"""As unlike the default as it gets: no convolution, no reset, a sequence of spikes as input."""


def fill(path: Path, text: str, overwrite: bool = False) -> None:
    with bundle.new(path, overwrite) as folder:
        (folder / "manifest.json").write_text(text)
        (folder / "golden").mkdir()
        (folder / "golden" / "tensor").write_text(text)


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_a_bundle_appears_whole_with_its_folder(tmp_path):
    with bundle.new(tmp_path / "deep" / "bundle") as folder:
        (folder / "manifest.json").write_text("{}")
        assert not (tmp_path / "deep" / "bundle").exists()
    assert content(tmp_path / "deep" / "bundle") == {"manifest.json": b"{}"}
    assert names(tmp_path / "deep") == ["bundle"]
    assert (tmp_path / "deep" / "bundle").stat().st_mode & 0o777 == 0o755


def test_an_older_bundle_is_replaced_only_if_asked(tmp_path):
    path = tmp_path / "bundle"
    fill(path, "old")
    with pytest.raises(UserError, match="exists already; expected another path, or --overwrite"):
        fill(path, "new")
    assert (path / "manifest.json").read_text() == "old"
    fill(path, "new", overwrite=True)
    assert (path / "manifest.json").read_text() == (path / "golden" / "tensor").read_text() == "new"
    assert names(tmp_path) == ["bundle"]


def test_overwrite_never_removes_what_is_no_bundle(tmp_path):
    fill(tmp_path / "elsewhere", "mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    before = names(tmp_path)
    for name in ("folder", "file", "link"):
        with pytest.raises(UserError, match=f"{name}: is no bundle, --overwrite replaces only"):
            fill(tmp_path / name, "new", overwrite=True)
    with pytest.raises(UserError, match="file is no directory"):
        fill(tmp_path / "file" / "bundle", "new")
    assert names(tmp_path) == before
    assert (tmp_path / "elsewhere" / "manifest.json").read_text() == "mine"


@pytest.mark.parametrize("error", [KeyboardInterrupt, UserError("no"), OSError(errno.ENOSPC, "No space left")])
@pytest.mark.parametrize("old", [False, True], ids=["new", "overwrite"])
def test_an_error_leaves_what_was_there(tmp_path, error, old):
    if old:
        fill(tmp_path / "bundle", "old")
    expected = KeyboardInterrupt if error is KeyboardInterrupt else UserError
    with pytest.raises(expected), bundle.new(tmp_path / "bundle", overwrite=True) as folder:
        (folder / "manifest.json").write_text("new")
        raise error
    assert names(tmp_path) == (["bundle"] if old else [])
    if old:
        assert (tmp_path / "bundle" / "manifest.json").read_text() == "old"


def test_a_bundle_that_appears_meanwhile_is_kept(tmp_path):
    with pytest.raises(UserError, match="exists already"), bundle.new(tmp_path / "bundle") as folder:
        (folder / "manifest.json").write_text("late")
        fill(tmp_path / "bundle", "early")
    assert names(tmp_path) == ["bundle"]
    assert (tmp_path / "bundle" / "manifest.json").read_text() == "early"


def test_a_full_disk_is_one_line(tmp_path):
    with largest_file(1000), pytest.raises(UserError, match=r"--out .*bundle: can't be made: File too large"):
        fill(tmp_path / "bundle", "x" * 2000)
    assert names(tmp_path) == []


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run trained and exported by the command lines."""
    folder = tmp_path_factory.mktemp("trained")
    stack = ("--conv-channels", 4, "--hidden", 24, "--time-steps", 8)
    done = run("csnn_jax.train", *stack, "--max-iters", 60, "--eval-every", 0, "--out", folder / "run")
    assert done.returncode == 0, done.stderr
    done = run("export", folder / "run", "--out", folder / "bundle", "--quick", "--opset", 18)
    assert (done.returncode, done.stderr) == (0, ""), done
    return folder / "bundle", done.stdout


@pytest.fixture(scope="module")
def spikes(tmp_path_factory):
    """A bundle of a run on a data set of its own, in `images` beside it."""
    folder = tmp_path_factory.mktemp("spikes")
    mnist, size = data.load("mnist", SPIKES.input_shape), 64
    (folder / "images").mkdir()
    write_folder(
        folder / "images",
        (mnist.train.images[:size, ..., 0], mnist.train.labels[:size]),
        (mnist.test.images[:size, ..., 0], mnist.test.labels[:size]),
    )
    return make_bundle(folder, SPIKES, f"idx:{folder / 'images'}")


def test_a_trained_run_becomes_a_bundle(trained):
    path, output = trained
    assert {*names(path)} == (
        {"c", "golden", "config.json", "weights.safetensors", "manifest.json", "manifest.sha256", "report.md"}
        | {"step.onnx", "step_b1.onnx", "step_lif.onnx", "sequence.onnx", "step_int8.onnx"}
    )
    assert names(path.parent) == ["bundle", "run"]
    lines = output.splitlines()
    assert lines[0].startswith("no NIR file: NIR has no max-pooling and ") and "--pool avg --reset zero" in lines[0]
    assert lines[-1] == f"Bundle: {path}"
    assert [line.split()[1] for line in lines[1:-2]] == ["ok,"] * 7 + ["ok"]
    assert lines[-2] == "Measuring latencies"
    for name in ("config.json", "weights.safetensors"):
        assert (path / name).read_bytes() == (path.parent / "run" / name).read_bytes()


def test_the_manifest_says_how_to_call_and_what_to_expect(trained):
    path, _ = trained
    manifest = json.loads((path / "manifest.json").read_text())
    end = [json.loads(line) for line in (path.parent / "run" / "metrics.jsonl").read_text().splitlines()][-1]
    assert manifest["training"]["accuracy"] == end["accuracy"] > 0.3
    step = manifest["onnx"]["step.onnx"]
    assert step["opset"] == {"ai.onnx": 18} and step["operators"]["Gemm"] == 2
    assert step["inputs"][1] == {"name": "mem1", "type": "float", "shape": ["N", 4, 14, 14], "initial": 0.0}
    assert [layer["threshold"] for layer in manifest["semantics"]["layers"]] == [1.0, 1.0, 1.0]
    assert manifest["semantics"]["equations"]["membrane"] == "U[t] = beta * U[t-1] + I[t] - R[t] * threshold"
    assert manifest["numbers"]["total"]["parameters"] == 4 * 9 + 4 + 24 * 784 + 24 + 240 + 10
    assert manifest["settings"] == {"opset": 18, "images": 20, "quick": True, "accuracy_images": 20}
    assert set(manifest["latency"]) == {*manifest["onnx"], "c/"}
    assert all(0 < one["median_ms"] <= one["p99_ms"] for one in manifest["latency"].values())
    memory = manifest["proof"]["c/"]["memory"]
    assert memory["constant_bytes"] == 4 * manifest["numbers"]["total"]["parameters"] < 10 * memory["state_bytes"]
    sizes = {name: (path / name).stat().st_size for name in manifest["files"]}
    assert {name: entry["bytes"] for name, entry in manifest["files"].items()} == sizes
    check = subprocess.run(["sha256sum", "-c", "manifest.sha256"], cwd=path, capture_output=True, text=True)
    assert check.stdout == "manifest.json: OK\n"


@pytest.mark.parametrize("name", ["step", "sequence"])
@pytest.mark.parametrize("which", ["trained", "spikes"])
def test_the_reports_python_classifies(which, name, request, tmp_path):
    path = request.getfixturevalue(which)
    path = path[0] if isinstance(path, tuple) else path
    report = (path / "report.md").read_text()
    (code,) = re.findall(rf"<!-- {name} -->\n```python\n(.*?)```", report, re.S)
    assert len([line for line in code.splitlines() if line]) <= 14
    sets = [_golden(path / "golden" / "sequence" / f"test_data_set_{n}") for n in range(3)]
    frames = len(sets[0][0][0].shape) == 5
    np.savez(tmp_path / "images", *[inputs[0][:, 0] if frames else inputs[0][0] for inputs, _ in sets])
    code += f"for x in np.load({str(tmp_path / 'images.npz')!r}).values():\n    print(*classify(x)[1].astype(int))\n"
    done = subprocess.run([sys.executable, "-c", code], cwd=path, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    first, *counts = done.stdout.splitlines()
    promised = re.search(r"^Class and spike counts of the first test image, a \d, are to be: (.*)\.$", report, re.M)
    assert promised and re.findall(r"\d+", promised[1]) == re.findall(r"\d+", first)
    assert counts == [" ".join(str(int(n)) for n in outputs[0][0]) for _, outputs in sets]
    assert any(outputs[0].any() for _, outputs in sets)


@pytest.mark.parametrize("which", ["trained", "spikes"])
def test_golden_tensors_are_onnx_runtimes(which, request):
    path = request.getfixturevalue(which)
    path = path[0] if isinstance(path, tuple) else path
    images = data.load("mnist", (28, 28, 1)).test.images
    for kind, count in (("step", 100), ("sequence", 10)):
        assert len(names(path / "golden" / kind)) == count
        session = onnxruntime.InferenceSession(path / f"{kind}.onnx")
        for number in range(count):
            inputs, outputs = _golden(path / "golden" / kind / f"test_data_set_{number}")
            feed = dict(zip([value.name for value in session.get_inputs()], inputs, strict=False))
            for found, expected in zip(session.run(None, feed), outputs, strict=True):
                assert found.dtype == expected.dtype
                np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
            if which == "trained" and kind == "sequence":
                np.testing.assert_array_equal(inputs[0][0, 0], images[number, :, :, 0] / np.float32(255))
    assert any(_golden(path / "golden" / "step" / f"test_data_set_{n}")[1][0].any() for n in range(100))


def test_any_stack_becomes_a_bundle_that_verifies(spikes, capsys):
    assert recheck.verify(spikes) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "all ok"
    manifest = json.loads((spikes / "manifest.json").read_text())
    assert manifest["semantics"]["input"]["layout"] == "T, N, C, H, W"
    assert "--learn" not in manifest["nir"]["reason"] and "--reset zero" in manifest["nir"]["reason"]


def test_without_the_data_set_golden_images_stand_in(spikes, capsys):
    images = spikes.parent / "images"
    images.rename(spikes.parent / "moved")
    try:
        assert recheck.verify(spikes) == 0
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
        assert recheck.verify(spikes) == 1
    finally:
        labels.write_bytes(whole)
    assert "the test images here are not the bundle's: data.sha256 is" in capsys.readouterr().out


@pytest.fixture
def finished(tmp_path):
    return make_run(tmp_path / "run", SMALL)


def test_bad_runs_are_refused(finished, tmp_path):
    out = ("--out", tmp_path / "bundle")
    assert "no such directory" in refused("export", tmp_path / "nowhere", *out)
    metrics = finished / "metrics.jsonl"
    metrics.write_text(metrics.read_text().replace("false", "true"))
    assert "is an unfinished run" in (line := refused("export", finished, *out)) and "--resume" in line
    metrics.write_text(metrics.read_text().replace("true", "false"))
    config = json.loads((finished / "config.json").read_text())
    config["model"]["beta"] = 0.6
    (finished / "config.json").write_text(json.dumps(config))
    assert "was trained as another model" in refused("export", finished, *out)
    assert names(tmp_path) == ["run"]


def test_bad_flags_are_refused(finished, tmp_path):
    out = ("--out", tmp_path / "bundle")
    assert refused("export", finished, *out, "--opset", 17) == "error: --opset 17: expected 18 to 20"
    assert refused("export", finished, *out, "--opset", 21) == "error: --opset 21: expected 18 to 20"
    assert "--images 0: expected" in refused("export", finished, *out, "--images", 0)
    assert "is no bundle, --overwrite replaces only" in refused("export", finished, "--out", finished, "--overwrite")
    assert "exists already" in refused("export", finished, "--out", finished)


def test_missing_packages_are_named(finished, tmp_path):
    code = (
        "import sys; sys.modules['onnxscript'] = None; from export.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, finished, "--out", tmp_path / "bundle"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "error: onnxscript: not installed, expected `pip install -e '.[export]'` in a clone of csnn\n"


@pytest.mark.parametrize("number, said", [(signal.SIGINT, "interrupted\n"), (signal.SIGTERM, "")])
def test_a_signal_leaves_nothing(number, said, finished, tmp_path):
    process = start("export", finished, "--out", tmp_path / "bundle")
    while len(names(tmp_path)) == 1:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (128 + number, said)
    assert names(tmp_path) == ["run"]


def _golden(folder: Path) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Inputs and outputs of a test data set, read as `onnx.backend.test`'s runner reads them."""
    arrays = []
    for kind in ("input", "output"):
        count = len(list(folder.glob(f"{kind}_*.pb")))
        arrays.append([numpy_helper.to_array(onnx.load_tensor(folder / f"{kind}_{n}.pb")) for n in range(count)])
    return arrays[0], arrays[1]
