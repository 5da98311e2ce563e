"""Tables and pictures of the recipes' results say what results/recipes does."""

import json
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
import recipes
from digits import few_digits

import results
from csnn_jax.recipes import RECIPES

ROOT = Path(__file__).parents[2]


def test_every_table_is_what_the_script_writes():
    found = results.read()
    for path in results.PAGES:
        assert path.read_text() == results.filled(path, found), f"{path}: run python benchmarks/results.py"
    assert {recipe for recipe, _ in found} == set(RECIPES)


def test_a_stale_table_is_told(tmp_path, monkeypatch, capsys):
    stale = tmp_path / "README.md"
    stale.write_text(results.PAGES[0].read_text().replace(" %", " per cent"))
    monkeypatch.setattr(results, "ROOT", tmp_path)
    monkeypatch.setattr(results, "PAGES", [stale])
    monkeypatch.setattr(sys, "argv", ["results.py", "--check"])
    assert results.main() == 1
    assert "README.md: says something else than results/ does" in capsys.readouterr().out


def test_every_mark_of_the_picture_is_a_training():
    found = results.read()
    runs = [run for of_recipe in found.values() for run in of_recipe]
    drawn = [point for axes in results.draw(found).axes for line in axes.lines for point in line.get_xydata().tolist()]
    assert sorted(drawn) == sorted([run["synaptic_operations"] / 1e6, 100 * run["accuracy"]] for run in runs)


def test_means_and_deviations_are_those_of_the_files():
    for (recipe, dataset), runs in results.read().items():
        files = [json.loads(path.read_text()) for path in results.RESULTS.glob(f"{recipe}-{dataset}-*.json")]
        assert len(files) == len(runs) == len({run["seed"] for run in runs})
        assert f"{statistics.mean(100 * run['accuracy'] for run in files):.2f}" in results.accuracy(runs)
        for run in files:
            right = sum(run["confusion"][label][label] for label in range(10))
            assert right / sum(map(sum, run["confusion"])) == pytest.approx(run["accuracy"])
            assert run["metrics"][-1]["kind"] == "end" and run["command"].startswith("python -m csnn_jax.train")


def test_no_file_of_a_run_is_large():
    assert all(path.stat().st_size < 200_000 for path in results.RESULTS.glob("*-*-*.json"))


@pytest.mark.slow
def test_a_recipe_is_trained_and_measured(tmp_path, monkeypatch):
    dataset = few_digits(tmp_path)
    monkeypatch.setitem(recipes.NAMES, dataset, "few")
    monkeypatch.setattr(recipes, "COUNTED", 64)
    found = recipes.trained("fast", dataset, 3, ("--batch-size", "32", "--max-iters", "12"))
    assert found["command"].startswith("python -m csnn_jax.train --recipe fast --seed 3 --batch-size 32")
    assert found["metrics"][-1]["kind"] == "end" and found["metrics"][-1]["accuracy"] == found["accuracy"]
    assert sum(map(sum, found["confusion"])) == 64
    assert 0 < found["synaptic_operations"] < 1e8 and found["seconds"] > 1
    assert found["parameters"] == 1_630_090


def test_the_script_says_what_it_takes():
    done = subprocess.run([sys.executable, ROOT / "benchmarks/recipes.py", "best"], capture_output=True, text=True)
    assert done.returncode == 2 and "invalid choice: 'best'" in done.stderr
