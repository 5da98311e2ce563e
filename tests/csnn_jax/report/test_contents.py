"""Whole reports of all kinds of runs: their contents, what they say is missing, and what they must not reveal."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from bundles import INTEGRATOR, SMALL, make_run
from digits import few_digits
from tfds_files import prepare, tensor

from csnn_jax.config import ModelConfig
from csnn_jax.report.__main__ import main

SECTIONS = ["Training", "Accuracy against steps", "Answers", "Spikes", "Neurons", "Synaptic operations"]


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """The working directory, with a run and its images."""
    monkeypatch.chdir(tmp_path)
    make_run(Path("run"), SMALL, few_digits(tmp_path / "digits", train=20, test=40))
    return tmp_path


def report(*arguments: str) -> str:
    """The page that the command makes in this folder."""
    assert main([*arguments, "--out", "page.html"]) == 0
    return Path("page.html").read_text()


def headings(text: str) -> list[str]:
    return re.findall(r"<h2[^>]*>(.*?)</h2>", text)


def test_a_report_reveals_no_path_but_the_runs(here):
    text = report("run")
    assert headings(text) == [*SECTIONS, "Where it comes from"]
    assert "conv4, fc16, fc10" in text and "trained for 60 iterations on idx:DIR (finished)" in text
    for path in (str(here), str(Path.home()), str(Path(__file__).parents[3])):
        assert path not in text
    assert "python -m csnn_jax.report run --out page.html" in text
    assert "python -m csnn_jax.train --dataset idx:DIR --conv-channels 4" in text


def test_runs_read_from_spikes_and_from_membranes_share_a_page(here):
    make_run(Path("other"), INTEGRATOR, f"idx:{here / 'digits'}")
    text = report("run", "other")
    details = [f"{name} of {run}" for run in ("run", "other") for name in SECTIONS[2:]]
    assert headings(text) == [*SECTIONS[:2], *details, "Where it comes from"]
    assert "<td>spiking</td><td>integrator</td>" in text and "class is read from the output membranes" in report(
        "other"
    )


def test_hostile_names_are_escaped(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ["<script>alert('1')</script>", 'b & "c" <b>']
    features = {"image": tensor((8, 8, 1), np.uint8), "label": tfds.features.ClassLabel(names=names)}
    random = np.random.default_rng(0)
    examples = [{"image": random.integers(0, 256, (8, 8, 1), np.uint8), "label": i % 2} for i in range(20)]
    dataset = prepare(tmp_path, "hostile", features, train=examples, test=examples)
    model = ModelConfig(input_shape=(8, 8, 1), conv_channels=(4,), hidden=(8,), num_classes=2, time_steps=5)
    run = 'a "run" it\'s <script>alert(2)</script>'
    make_run(Path(run), model, dataset)
    text = report(run)
    scripts = re.findall(r"<script[^>]*>", text)
    assert set(scripts) == {"<script>", '<script type="module">', '<script type="application/json">'}
    assert scripts.count("<script>") == 2 and scripts.count('<script type="module">') == 1
    assert "alert(2)</script>" not in text and "alert('1')</script>" not in text
    assert "&lt;script&gt;alert(&#x27;1&#x27;)&lt;/script&gt;" in text and "alert(2)&lt;/script&gt;" in text
    assert '"name":"a \\"run\\" it\'s \\u0026lt;script\\u0026gt;alert(2)\\u0026lt;/script\\u0026gt;"' in text
    assert str(tmp_path) not in text and "tfds:hostile@DATA_DIR" in text


def test_a_report_says_what_is_missing(here):
    shutil.rmtree("digits")
    text = report("run")
    assert headings(text) == ["Training", "Where it comes from"]
    assert "neurons, spikes and operations are missing. Its test images (idx:DIR) aren&#x27;t available." in text
    (here / "run/weights.safetensors").unlink()
    assert "weights can&#x27;t be used (run/weights.safetensors: no such file" in report("run")
