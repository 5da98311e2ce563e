import json
import re

import numpy as np
import pytest
from bundles import SMALL, TRAIN

from csnn_jax.config import Config, TrainConfig
from csnn_jax.document import html
from csnn_jax.report import subject, training
from csnn_jax.runs import rundir


def made(path, iterations: int, ends: bool = True, **settings) -> subject.ReportedRun:
    """A run with this many iterations, and an evaluation every tenth."""
    run = rundir.create(str(path), Config(SMALL, train=TrainConfig(**settings)))
    for i in range(iterations):
        if i % 10 == 0:
            run.record("test", iter=i, accuracy=0.1 + i / 1000)
        run.record("train", iter=i + 1, **TRAIN | {"loss": 2.3 - i / 1000, "density": {"lif1": 0.1, "lif2": 0.2}})
    if ends:
        run.record("end", iter=iterations, interrupted=False, accuracy=0.5, seconds=3.0)
    return subject.read(str(path), 0, None)


def text(*subjects: subject.ReportedRun) -> str:
    numbered = [subject.ReportedRun(**{**vars(one), "number": number}) for number, one in enumerate(subjects)]
    return html.blocks([training.section(numbered)])


def figures(markup: str) -> list[dict]:
    return [json.loads(spec) for spec in re.findall(r'<script type="application/json">(.*?)</script>', markup)]


def test_curves_match_the_records(tmp_path):
    accuracy, loss, rate, density = figures(text(made(tmp_path / "run", 60, lr=0.01, schedule="constant")))
    points, star = accuracy["data"]
    assert points["x"] == [0, 10, 20, 30, 40, 50] and points["text"][:2] == ["10.00%", "11.00%"]
    assert (star["x"], star["text"], star["marker"]["symbol"]) == ([60], ["50.00%"], "star")
    each, mean = loss["data"]
    np.testing.assert_allclose(each["y"], [2.3 - i / 1000 for i in range(60)], rtol=1e-4)
    np.testing.assert_allclose(mean["y"][0], 2.3 - 0.012, rtol=1e-4)
    assert (mean["x"][0], len(mean["x"])) == (25, 36)
    assert set(rate["data"][0]["y"]) == {0.01}
    assert [(line["name"], set(line["y"])) for line in density["data"]] == [("lif1", {10.0}), ("lif2", {20.0})]


def test_an_unfinished_run_is_reported(tmp_path):
    run = rundir.create(str(tmp_path / "run"), Config(SMALL, train=TrainConfig(schedule="constant")))
    run.record("train", iter=1, loss=float("inf"), images_per_s=1.0, density={"lif1": float("nan")}, gradient={})
    run.record("health", iter=1, what="exploding", state="began", since=1, layers=["fc1"], text="gradients <explode>")
    markup = text(subject.read(str(tmp_path / "run"), 0, None))
    assert "hasn&#x27;t ended: 1 iterations are recorded, the last with a loss of inf" in markup
    assert "gradients &lt;explode&gt;" in markup
    loss, _, density = figures(markup)
    assert loss["data"][0]["y"] == [None]
    assert density["data"][0]["y"] == [None]


def test_only_runs_that_differ_just_in_their_seed_get_a_mean(tmp_path):
    runs = [made(tmp_path / f"run {seed}", 30, seed=seed) for seed in range(10)]
    mean = "Mean of the 10 final test accuracies: 50.00%, standard deviation 0.00%."
    assert mean in text(*runs)
    assert "Mean of the" not in text(*runs, made(tmp_path / "other", 30, lr=0.5))


@pytest.mark.parametrize(
    "settings, first, last", [({"warmup": 20, "schedule": "constant"}, 0.0005, 0.01), ({}, 0.01, 3e-5)]
)
def test_the_learning_rate_follows_the_schedule(tmp_path, settings, first, last):
    rate = figures(text(made(tmp_path / "run", 30, lr=0.01, **settings)))[2]["data"][0]
    assert rate["y"][0] == first and rate["y"][-1] == pytest.approx(last, rel=0.1) and rate["x"][-1] == 30
