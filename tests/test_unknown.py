"""`csnn_jax.evaluate --unknown` stores a margin, and everything that gives answers then gives the same ones."""

import json
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from bundles import GRAPH, INTEGRATOR, SMALL, SPIKES, export, make_checkpoint, make_run
from commands import ENVIRONMENT, passed
from PIL import Image
from refusals import refused
from unknown_runs import HELD_OUT, SHARE, make_unknown_run

import csnn_jax
from csnn_jax import data
from csnn_jax.runs.margins import margins, upper_end
from csnn_jax.runs.rundir import RunDir, write_config
from export.bundle import golden_images
from export.c import program
from export.graphs import onnx_file
from export.parts import golden

NETWORKS = {
    "spikes": SMALL,
    "integrator": INTEGRATOR,
    "rate, 3 bits": replace(SPIKES, readout="membrane"),
    "described": replace(GRAPH, readout="membrane"),
}
"""With random weights, most spike counts are ties, so the others are read from their membranes."""
BY_SPEED = [pytest.param(name, marks=[] if name == "spikes" else [pytest.mark.slow]) for name in NETWORKS]


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The folder of a run that was evaluated with `--unknown`, by name."""
    made = {}

    def make(name):
        if name not in made:
            folder = tmp_path_factory.mktemp("unknown")
            run = make_unknown_run(folder, NETWORKS[name])
            (folder / "printed").write_text(passed("csnn_jax.evaluate", run, "--unknown", SHARE))
            made[name] = folder
        return made[name]

    return make


@pytest.mark.parametrize("name", BY_SPEED)
def test_the_smallest_margin_is_stored_with_what_it_gives(measured, name):
    run = measured(name) / "run"
    result = json.loads((run / "evaluation.json").read_text())["unknown"]
    dataset = data.load_for(RunDir(run).config(), held_out=True)
    assert len(dataset.validation.labels) == HELD_OUT
    network, sets = csnn_jax.load(run), {}
    for split in ("validation", "test"):
        images = getattr(dataset, split).images
        answer, spikes = network.classify(images), network.count(images).fired.sum(1)
        sets[split] = margins(answer.scores), answer.classes != getattr(dataset, split).labels, spikes
        assert answer.known.tolist() == (sets[split][0] >= result["margin"]).tolist()
        assert 0 < answer.known.mean() < 1
    ahead, wrong, spikes = sets["validation"]

    def upper(margin):
        return upper_end(wrong[ahead >= margin].sum(), (ahead >= margin).sum())

    assert upper(result["margin"]) == result["upper_end"] <= SHARE
    assert all(upper(margin) > SHARE for margin in np.unique(ahead[ahead < result["margin"]]))
    (held_out, test, noise, *plain) = result["images"]
    for row, (ahead, wrong, fired) in zip((held_out, test), sets.values(), strict=True):
        given, usual = ahead >= result["margin"], (fired >= spikes.min()) & (fired <= spikes.max())
        assert (row["unknown"], row["wrong"]) == ((~given).sum(), wrong[given].sum())
        assert row["unknown_by_both"] == (~(given & usual)).sum()
        assert f"{row['wrong']} of {given.sum()}" in (run.parent / "printed").read_text()
    assert [row["kind"] for row in plain] == ["black", "white"]
    assert (noise["images"], (noise["unknown"] < 500) == (result["spikes"] is not None)) == (1000, True)
    assert RunDir(run).config().unknown == network.config.unknown


def test_no_margin_is_small_enough(measured, tmp_path):
    """Neither before nor after does the run have one."""
    run = make_run(tmp_path / "run", SMALL, f"idx:{measured('spikes') / 'images'}", validation=HELD_OUT)
    assert "at no margin" in passed("csnn_jax.evaluate", run, "--unknown", 0.001)
    assert json.loads((run / "evaluation.json").read_text())["unknown"] == {"share": 0.001, "margin": None}
    assert RunDir(run).config().unknown.margin is None


def test_runs_that_cannot_be_measured_are_refused(small_run, tmp_path):
    for flags, facts in (((1,), ("--unknown 1", "below 1")), ((0.01,), ("--unknown 0.01", "--validation"))):
        refused("csnn_jax.evaluate", small_run, "--unknown", *flags, names=facts, unchanged=small_run)
    run = RunDir(make_run(tmp_path / "run", SMALL, validation=100))
    config = run.config()
    write_config(run, replace(config, train=replace(config.train, dtype="float64")))
    refused("csnn_jax.evaluate", run.path, "--unknown", 0.01, names=("--unknown 0.01", "float64"), unchanged=run.path)
    path, stored = run.path / "config.json", {"share": 0.1, "steps": 6, "weights": "0" * 64}
    for name, margin in (("margin", 1.5), ("margin", 7), ("margin", -1), ("margin", None), ("margin", 1e39)):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"unknown": stored | {name: margin}}))
        refused("csnn_jax.predict", run.path, "7.png", names=(path, name))


def test_a_margin_applies_only_to_its_own_weights_and_window(measured, tmp_path):
    folder = measured("spikes")
    checkpoint = make_checkpoint(folder / "run", 40).name
    Image.new("L", (28, 28)).save(tmp_path / "black.png")
    network = csnn_jax.load(folder / "run")
    images = data.load_for(network.config, held_out=True).validation.images
    least = images[margins(network.classify(images).scores) == network.config.unknown.margin][0]
    Image.fromarray(least[..., 0]).save(tmp_path / "least.png")
    said = passed("csnn_jax.predict", folder / "run", tmp_path / "black.png", tmp_path / "least.png")
    assert "black.png: unknown" in said and "least.png: class" in said and "note" not in said
    said = passed("csnn_jax.predict", folder / "run", tmp_path / "black.png", "--checkpoint", checkpoint)
    assert "black.png: class" in said and "note: " in said
    assert network.margin_for(6) == network.config.unknown.margin and network.margin_for(5) is None
    assert [network.classify(np.zeros((2, steps, 28, 28, 1), np.uint8)).known is None for steps in (5, 6)] == [
        True,
        False,
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_the_files_of_a_bundle_give_the_same_answers(measured, name):
    folder = measured(name)
    bundle = export(folder / "run", folder)
    network, images = csnn_jax.load(folder / "run"), golden_images(bundle).images[:10]
    margin, names = network.config.unknown.margin, network.config.class_names
    sets = [*golden.read(bundle, "sequence")]
    scores = np.stack([outputs[0][0] for _, outputs in sets])
    known = margins(scores) >= np.float32(margin)
    assert 0 < known.sum() < len(sets) == len(images)
    expected = [names[best] if one else "-" for best, one in zip(scores.argmax(1), known, strict=True)]
    if NETWORKS[name].encoding == "direct":
        answer = network.classify(images)
        assert answer.known.tolist() == known.tolist() and (answer.scores == scores).all()
    printed = (bundle / "golden" / "c" / "expected.txt").read_text()
    assert re.findall("^class (.+), (?:spike counts|scores)", printed, re.M) == expected
    library = program.Library(program.build(bundle / "c", folder / "built").library, NETWORKS[name])
    assert [*map(library.margin, scores)] == margins(scores).tolist()
    assert f"{margin!r}" == str(onnx_file.metadata_of(onnx_file.load(bundle / "sequence.onnx"))["margin"])
    assert examples(bundle, [inputs[0] for inputs, _ in sets]) == 2 * [[one != "-" for one in expected]]


def examples(bundle, inputs):
    """Whether the report's examples with step.onnx and sequence.onnx give an answer for each input."""
    np.savez(bundle.parent / "images", *[x[:, 0] if x.ndim == 5 else x[0] for x in inputs])
    code = re.findall(r"<!-- (?:step|sequence) -->\n```python\n(.*?)```", (bundle / "report.md").read_text(), re.S)
    more = f"for x in np.load({str(bundle.parent / 'images.npz')!r}).values():\n    print('=', classify(x)[0])\n"
    answered = []
    for text in code:
        done = subprocess.run(
            [sys.executable, "-c", text + "\n" + more], cwd=bundle, env=ENVIRONMENT, capture_output=True
        )
        assert (done.returncode, done.stderr) == (0, b""), done
        answered.append([answer != "None" for answer in re.findall("^= (.+)$", done.stdout.decode(), re.M)])
    return answered


@pytest.mark.slow
def test_a_smaller_network_has_its_own_margin(measured, tmp_path):
    """Of fewer steps; and with fewer channels, which changes no score of a held-out image."""
    run, made = measured("spikes") / "run", {}
    for flags in (("--time-steps", 5), ("--drop-silent",)):
        (tmp_path / flags[0]).mkdir()
        bundle = export(run, tmp_path / flags[0], *flags)
        made[flags[0]] = RunDir(bundle).config().unknown
        margin = f"{made[flags[0]].margin or 0:.0f}"
        assert f"#define CSNN_MARGIN {margin} " in (bundle / "c" / "network.h").read_text()
    before = RunDir(run).config().unknown
    assert made["--drop-silent"].margin == before.margin and made["--drop-silent"].weights != before.weights
    assert (made["--time-steps"].steps, made["--time-steps"].weights) == (5, before.weights)
