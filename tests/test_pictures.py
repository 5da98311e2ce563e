"""From a folder of pictures or recordings to a C program: classes keep their names everywhere."""

import json
import subprocess
from pathlib import Path

import pytest
from commands import passed
from picture_files import write_shapes
from PIL import Image
from recordings import bar, nmnist_bytes
from refusals import refused

import csnn_jax
from csnn_jax import data
from csnn_jax.data.events.folder import frames_of
from csnn_jax.data.folders import read_picture
from csnn_jax.runs.rundir import RunDir
from export.demo import facts

STACK = ("--conv-channels", 4, "--hidden", 16, "--time-steps", 6)
NAMES = ('"a" ??! \\ é', "b, spike counts 1")
"""Folder names with characters that C, JSON and the program's output must escape or separate."""


def trained(folder: Path, name: str, *flags: object) -> str:
    """Trains a network in `folder`/run; returns the output."""
    job = ("--batch-size", 8, "--schedule", "constant", "--eval-every", 0)
    return passed("csnn_jax.train", "--dataset", name, *job, "--out", folder / "run", *flags)


def built(bundle: Path, folder: Path) -> Path:
    """Builds a bundle's program as its report says."""
    command = ["make", "-s", "-C", "c", "-f", "Makefile", f"BUILD={folder}", "check"]
    subprocess.run(command, cwd=bundle, check=True, capture_output=True)
    return folder / "csnn"


def test_a_run_on_training_images_alone(tmp_path):
    """Held-out ones give the final accuracy, and the run resumes only with its original classes."""
    name = write_shapes(tmp_path / "data", {"train": 24})
    stack = ("--conv-channels", 2, "--hidden", "--time-steps", 4, "--input-shape", 16, 16, 1)
    printed = trained(tmp_path, name, *stack, "--validation", 8, "--max-iters", 2)
    assert f"Data: {name}, 40 training and 8 validation images, 2 classes" in printed
    assert f"Data: {name}: has no test images; the final accuracy is measured on the held-out images" in printed
    (end,) = RunDir(tmp_path / "run").records("end")
    assert f"Final Validation Accuracy: {end['accuracy']:.2%}" in printed and end["split"] == "validation"
    printed = passed("csnn_jax.evaluate", tmp_path / "run")
    evaluation = json.loads((tmp_path / "run/evaluation.json").read_text())
    assert (evaluation["split"], evaluation["images"], evaluation["accuracy"]) == ("validation", 8, end["accuracy"])
    assert printed.startswith(f"Validation Accuracy: {end['accuracy']:.2%} (8 images of {name})\n\nAccuracy by class")
    assert evaluation["classes"] == ["circle", "cross"] and "\n0 circle  " in printed and "\n1 cross   " in printed

    cross = tmp_path / "data/train/cross"
    plus = cross.rename(cross.with_name("plus"))
    out, names = ("--out", tmp_path / "run"), (f"--dataset {name}", 1, "plus", "cross")
    refused("csnn_jax.train", "--resume", *out, "--max-iters", 4, names=names)
    refused("csnn_jax.evaluate", tmp_path / "run", names=names)
    plus.rename(cross)
    assert "Final Validation Accuracy" in passed("csnn_jax.train", "--resume", *out, "--max-iters", 4)
    assert RunDir(tmp_path / "run").config().data.classes == ("circle", "cross")


@pytest.mark.slow
def test_the_companion_and_the_comparison_support_pictures(tmp_path):
    name = write_shapes(tmp_path / "data", {"train": 64, "test": 16})
    job = ("--batch-size", 8, "--max-iters", 4, "--eval-every", 0, "--input-shape", 16, 16, 3)
    printed = passed("csnn_torch.train", "--dataset", name, *STACK, *job, "--out", tmp_path / "run")
    assert "Final Test Accuracy: " in printed and f"Data: {name}: gray repeated to color" in printed
    assert RunDir(tmp_path / "run").config().data.classes == ("circle", "cross")
    words = (tmp_path / "run", "--quick", "--questions", "network", "--out", tmp_path / "compared")
    assert "Network: run" in passed("csnn_torch.compare", *words)


@pytest.mark.slow
def test_from_a_folder_of_pictures_to_a_c_program_that_prints_a_class(tmp_path):
    """There are no test images, which all outputs say."""
    name = write_shapes(tmp_path / "data", {"train": 80}, NAMES)
    trained(tmp_path, name, *STACK, "--validation", 32, "--input-shape", 16, 16, 1, "--epochs", 4)
    run, bundle = tmp_path / "run", tmp_path / "bundle"
    model, test = csnn_jax.load(run), data.load(name, (16, 16, 1), 32).test
    assert model.config.class_names == NAMES and model.evaluate(test).accuracy > 0.9
    path = tmp_path / "data/train" / NAMES[1] / "79.png"
    assert f"79.png: class {NAMES[1]}, first output spike" in passed("csnn_jax.predict", run, path)
    passed("csnn_jax.report", run, "--out", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "b, spike counts 1</th>" in page and "&quot;a&quot; ??! \\ é" in page
    assert "Its final validation accuracy is" in page and "The data set has no test images" in page
    passed("export", run, "--out", bundle, "--quick")
    manifest, report = json.loads((bundle / "manifest.json").read_text()), (bundle / "report.md").read_text()
    assert manifest["results"]["semantics"]["class_names"] == [*NAMES]
    assert manifest["statements"]["data"]["split"] == "validation"
    assert '0 ("a" ??! \\\\ é), 1 (b, spike counts 1)' in report and "**Without test images**" in report
    assert facts.read(bundle, None).names == NAMES
    assert passed("export.verify", bundle, "--dataset", name).endswith("all ok\n")
    program = built(bundle, tmp_path / "built")
    with Image.open(path) as picture:
        (tmp_path / "79.bin").write_bytes(picture.tobytes())
    printed = subprocess.run([program, tmp_path / "79.bin"], check=True, capture_output=True).stdout.decode()
    counts = " ".join(map(str, model.classify(read_picture(str(path), (16, 16, 1)).pixels[None]).scores[0]))
    assert printed == f"class {NAMES[1]}, spike counts {counts}\n"


@pytest.mark.slow
def test_from_recordings_to_a_c_program_that_prints_a_class(tmp_path):
    for part, count in (("train", 24), ("test", 8)):
        for label, name in enumerate(NAMES):
            folder = tmp_path / "data" / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                events = bar(9 * label, 100 * label + number + 50 * (part == "test"))
                (folder / f"{number}.bin").write_bytes(nmnist_bytes(events))
    trained(tmp_path, f"events:{tmp_path / 'data'}", *STACK, "--epochs", 8, "--cache", "off")
    run, bundle = tmp_path / "run", tmp_path / "bundle"
    model, path = csnn_jax.load(run), tmp_path / "data/test" / NAMES[1] / "3.bin"
    answer = model.classify(frames_of(str(path), model.config)[None])
    assert answer.classes.tolist() == [1]
    assert f"3.bin: class {NAMES[1]}, first output spike" in passed("csnn_jax.predict", run, path)
    passed("export", run, "--out", bundle, "--quick")
    program = built(bundle, tmp_path / "built")
    printed = subprocess.run([program, "--events", path], check=True, capture_output=True).stdout.decode()
    assert printed == f"class {NAMES[1]}, spike counts {' '.join(map(str, answer.scores[0]))}\n"
