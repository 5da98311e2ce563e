import json
import re
import shutil

import numpy as np
import pytest
from bundles import SMALL, make_checkpoint, make_run
from commands import call, passed, passed_by_process
from digits import few_digits
from disk import largest_file
from refusals import assert_line, refused, snapshot


def test_reports_accuracy_classes_confusion_and_densities(small_run, tmp_path):
    out = shutil.copytree(small_run, tmp_path / "run")
    printed = passed_by_process("csnn_jax.evaluate", out, "--figures", "pdf")
    result = json.loads((out / "evaluation.json").read_text())
    confusion = np.array(result["confusion"])
    labels = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]  # MNIST's test images by class
    assert confusion.sum(1).tolist() == labels
    assert result["accuracy"] == confusion.trace() / 10000
    assert result["per_class"] == (confusion.diagonal() / labels).tolist()
    assert f"Test Accuracy: {result['accuracy']:.2%} (10000 images of mnist)" in printed
    assert set(result["density"]) == {"lif1", "lif2", "lif3", "lif4"}
    for name, layer in result["health"].items():
        assert layer["state"] == "healthy" and layer["dead"] < layer["channels"]
        dead = rf"{result['density'][name]:.2%}  healthy  {layer['dead']} of {layer['channels']}"
        assert re.search(rf"^{name} +{dead} .* \+- .*%", printed, re.M)
    end = json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])
    assert (result["accuracy"], result["density"]) == (end["accuracy"], end["density"])
    assert (out / "confusion.png").read_bytes().startswith(b"\x89PNG")
    assert (out / "confusion.pdf").read_bytes().startswith(b"%PDF")


def test_the_accuracy_against_the_steps_used_and_the_bits_of_the_weights(small_run, tmp_path):
    copy = shutil.copytree(small_run, tmp_path / "run")
    some = few_digits(tmp_path / "digits", train=320, test=300)
    printed = passed("csnn_jax.evaluate", copy, "--by-steps", "--by-bits", "--dataset", some)
    result = json.loads((copy / "evaluation.json").read_text())
    by_steps = result["accuracy_by_steps"]
    assert len(by_steps) == 10 and by_steps[0] < by_steps[-1] == pytest.approx(result["accuracy"], abs=2e-4)
    table = printed.split("Accuracy if the window ended after this many steps:\n")[1].splitlines()[1:9]
    assert [line.split() for line in table] == [[str(t), f"{by_steps[t - 1]:.2%}"] for t in (1, 2, 3, 4, 5, 6, 8, 10)]
    assert (copy / "steps.png").exists()
    by_bits = result["by_bits"]
    assert [one["bits"] for one in by_bits] == list(range(2, 9))
    assert by_bits[0]["accuracy"] < by_bits[-1]["accuracy"] == pytest.approx(result["accuracy"], abs=0.01)
    assert 3 < by_bits[-1]["kilobytes"] / by_bits[0]["kilobytes"] < 4
    rows = re.split("bits  accuracy +kB\n", printed)[1].splitlines()
    assert [row.split()[:2] for row in rows] == [[str(one["bits"]), f"{one['accuracy']:.2%}"] for one in by_bits]


def test_a_checkpoints_network(tmp_path):
    some = few_digits(tmp_path / "digits", train=20, test=100)
    out = make_run(tmp_path / "run", SMALL, some)
    folder = make_checkpoint(out, 40)
    make_checkpoint(out, 20)
    printed = passed("csnn_jax.evaluate", out, "--checkpoint", "last")
    assert f"(100 images of {some}, checkpoint 40)" in printed
    result = json.loads((out / "evaluation.json").read_text())
    assert result["checkpoint"] == 40
    (out / "weights.safetensors").write_bytes((folder / "weights.safetensors").read_bytes())
    assert f"(100 images of {some})" in passed("csnn_jax.evaluate", out)
    assert {"checkpoint": 40} | json.loads((out / "evaluation.json").read_text()) == result
    refused("csnn_jax.evaluate", out, "--checkpoint", 50, names=("--checkpoint 50", "20, 40"), unchanged=out)


def test_a_result_that_cannot_be_saved_is_printed(tmp_path):
    """Such as that of a shared run that only its owner can change; as root, a full disk is the same."""
    out = make_run(tmp_path / "run", SMALL, few_digits(tmp_path / "digits", train=20, test=8))
    printed = passed("csnn_jax.evaluate", out, "--by-steps")
    for name in ("evaluation.json", "confusion.png", "steps.png"):
        (out / name).unlink()
    before = snapshot(out)
    with largest_file(0):
        done = call("csnn_jax.evaluate", out, "--by-steps")
    assert (done.returncode, done.stdout) == (0, printed) and snapshot(out) == before
    assert_line(done.stderr.removesuffix("\n"), "warning", out / "evaluation.json", "wasn't saved")
