import re

import numpy as np
import pytest
from bundles import SMALL, make_run
from commands import passed
from digits import few_digits
from refusals import refused

from csnn_jax.config import ModelConfig

REPORT = "csnn_jax.report"


def test_a_run_becomes_one_file(small_run, tmp_path):
    out = tmp_path / "a report.html"
    printed = passed(REPORT, small_run, "--out", out)
    size = out.stat().st_size
    assert printed == f"{small_run}: running 10,000 test images\nReport: {out} ({size / 1e6:.1f} MB)\n"
    assert size < 8e6
    text = re.sub(r"<script>.*?</script>", "", out.read_text(), flags=re.S)
    assert not re.search(r'(src|href)="(?!data:|#)', text)
    accuracy = re.search(r"final test accuracy is (\S+%)", text)[1]
    assert f"{accuracy} of 10,000 test images are classified correctly." in text


def test_a_report_is_replaced_and_nothing_else(tmp_path):
    one = make_run(tmp_path / "run", SMALL, few_digits(tmp_path / "digits", train=20, test=8))
    out = tmp_path / "page.html"
    passed(REPORT, one, "--out", out)
    first = out.read_text()
    passed(REPORT, one, "--details", 0, "--out", out)
    assert first != out.read_text() and "<h2" in out.read_text()
    other = tmp_path / "mine.html"
    other.write_text("<p>mine</p>")
    refused(REPORT, one, "--out", other, names=(f"--out {other}", "report"))
    refused(REPORT, one, "--out", one, names=(f"--out {one}", "report"))


def test_a_network_trained_on_float_arrays(tmp_path):
    model = ModelConfig((8, 8, 1), (4,), hidden=(8,), num_classes=3, time_steps=4)
    one, out = make_run(tmp_path / "run", model, "arrays"), tmp_path / "page.html"
    images, labels = np.random.default_rng(0).random((9, 8, 8, 1)), np.arange(9) % 3
    np.savez(tmp_path / "own.npz", images=images, labels=labels, classes=["cat", "dog", "owl"])
    passed(REPORT, one, "--dataset", f"arrays:{tmp_path / 'own.npz'}", "--out", out)
    text = out.read_text()
    assert "of 9 test images are classified correctly." in text and "owl" in text and "own.npz" not in text
    assert "--dataset arrays:FILE.npz" in text
    assert "Skipping everything that needs test images; another --dataset may have some: --dataset" in passed(
        REPORT, one, "--out", out
    )
    assert "test images are classified correctly" not in out.read_text()


@pytest.mark.parametrize(
    "flags, names",
    [
        ((), ["RUN"]),
        (("run", "./run"), ("RUN ./run", "once")),
        (("nowhere",), ("nowhere", "run directory")),
        (("run", "--out", "run/config.json/a.html"), ("--out run/config.json/a.html", "directory")),
        (("run", "--out", ""), ("--out ''", "path")),
        (("run", "--out", "/proc/a.html"), ("--out /proc/a.html", "/proc", "can't be written")),
        (("run", "--details", -1), ("--details -1", "at least 0")),
        (("run", "--checkpoint", "best"), ("--checkpoint best", "run", "--validation")),
        (("run", "--dataset", "idx:nowhere"), ("nowhere", "no such folder")),
    ],
)
def test_mistakes_are_named(flags, names, tmp_path):
    make_run(tmp_path / "run", SMALL, few_digits(tmp_path / "digits", train=20, test=8))
    refused(REPORT, *flags, names=names, cwd=tmp_path)
