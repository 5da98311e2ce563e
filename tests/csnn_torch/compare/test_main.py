"""`python -m csnn_torch.compare` answers its questions, names what is broken, and refuses what would prove nothing."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commands import ENVIRONMENT
from PIL import Image

from csnn_jax.runs import rundir
from csnn_torch.compare import __main__ as command
from csnn_torch.compare.comparison import Comparison

RECORDED = Path(__file__).parents[3] / "results" / "comparison"


@pytest.mark.parametrize(
    "flag", ["images", "variant-images", "iterations", "exact-iterations", "exact-batch", "rounds"]
)
def test_numbers_that_would_prove_nothing_are_refused(flag, capsys):
    assert command.main(["--run", "nowhere", f"--{flag}", "0"]) == 2
    assert capsys.readouterr().err == f"error: --{flag} 0: expected a whole number of at least 1\n"


def test_a_folder_that_can_not_be_made_is_refused_before_anything_is_compared(run, capsys):
    assert command.main(["--run", str(run), "--out", f"{run}/config.json/x"]) == 2
    assert "--out" in capsys.readouterr().err


def test_a_wrong_run_leaves_no_folder_and_a_run_is_not_written_into(run, tmp_path, capsys):
    out = tmp_path / "out"
    assert command.main(["--run", str(tmp_path / "nope"), "--out", str(out)]) == 2
    assert "nope: no such directory" in capsys.readouterr().err and not out.exists()
    assert command.main(["--run", str(run), "--out", str(run)]) == 2
    assert f"--out {run}: is a run directory" in capsys.readouterr().err


def compare(run, out, before: str = "", *flags) -> subprocess.CompletedProcess:
    arguments = ["--run", str(run), "--out", str(out), "--quick", "--images", "8", *map(str, flags)]
    code = f"import sys\n{before}\nfrom csnn_torch.compare.__main__ import main\nsys.exit(main({arguments!r}))"
    environment = ENVIRONMENT | {"OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=500)


@pytest.mark.slow
def test_the_command_answers_all_questions(run, tmp_path):
    flags = ("--iterations", 2, "--exact-iterations", 2, "--rounds", 1, "--figures", "pdf")
    done = compare(run, tmp_path / "out", "", *flags)
    assert done.returncode == 0, done.stdout + done.stderr
    values = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert values["bounds"] > 10 and values["broken"] == []
    assert [(s["engine"], s["dtype"], s["different"]) for s in values["spikes"] if not s["refused"]] == [
        ("scan", "float64", 0),
        ("scan", "float32", 0),
        ("event", "float32", 0),
    ]
    exact = values["trajectories"][1]
    assert exact["dtype"] == "float64" and len(exact["losses"]["snntorch"]) == 2 and max(exact["differences"]) < 1e-12
    assert exact["first_flip"] is None and exact["losses"]["snntorch"][0] != exact["losses"]["snntorch"][1]
    costs = {cost["side"]: cost for cost in values["costs"]}
    origins = values["origins"]
    assert set(origins) == {"cost", "network", "training"}
    assert all(
        o["seconds"] > 0 and o["machine"]["cpus"] and "--run RUN --out OUT" in o["command"] for o in origins.values()
    )
    assert list(costs) == ["scan", "event", "snntorch"]
    for cost in costs.values():
        assert cost["step_s"] > 0 and cost["infer_s"] > 0 and cost["peak_memory_mb"] > 100
        assert cost["predictions"] == costs["snntorch"]["predictions"] and "threads" in cost["description"]
    _, config, tensors = rundir.open_run(str(run))
    later = Comparison(str(run), config, tensors)
    assert later.keep(values, ("cost",)) == ["network", "training"] and later.costs == []
    again = json.loads(json.dumps(later.as_json()))
    assert [again[part] for part in ("spikes", "gradients", "trajectories")] == [
        values[part] for part in ("spikes", "gradients", "trajectories")
    ]
    with pytest.raises(ValueError, match="other weights"):
        Comparison(str(run), config, tensors | {"fc1.bias": tensors["fc1.bias"] + 1}).keep(values, ())
    text = (tmp_path / "out" / "comparison.md").read_text()
    for heading in ("## Same network?", "### Gradients", "## Same training?", "## What does each cost?"):
        assert heading in text
    with Image.open(tmp_path / "out" / "comparison.png") as picture:
        assert min(picture.size) > 400
    assert (tmp_path / "out" / "comparison.pdf").read_bytes().startswith(b"%PDF")


def test_a_picture_is_drawn_again_without_comparing(tmp_path, capsys):
    shutil.copy(RECORDED / "comparison.json", tmp_path)
    assert command.main(["--redraw", "--out", str(tmp_path), "--figures", "pdf"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"comparison.json", "comparison.png", "comparison.pdf"}
    assert command.main(["--redraw", "--out", str(tmp_path / "nowhere")]) == 2
    assert "nowhere/comparison.json: can't be read as a comparison: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--seeds", "1", "1"), "--seeds 1 1: expected each seed once"),
        (("--time-steps", "0"), "--time-steps 0: expected a whole number of at least 1"),
    ],
)
def test_seeds_and_steps_that_are_none_are_refused(flags, message, capsys):
    assert command.main(["--run", "nowhere", *flags]) == 2
    assert capsys.readouterr().err == f"error: {message}\n"


@pytest.mark.slow
def test_every_seed_is_trained_on_both_sides(run, tmp_path):
    flags = ("--questions", "training", "--iterations", 3, "--exact-iterations", 1, "--seeds", 0, 5, "--time-steps", 4)
    done = compare(run, tmp_path, "", *flags)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "comparison.json").read_text())["trajectories"]
    assert [(one["dtype"], one["seed"], one["time_steps"]) for one in found] == [
        ("float32", 0, 4),
        ("float32", 5, 4),
        ("float64", 0, 8),
    ]
    first, second, _ = found
    assert first["losses"]["csnn_jax"] != second["losses"]["csnn_jax"] and first["start"] == "the seed's"
    for one in (first, second):
        assert one["losses"]["csnn_jax"][0] == pytest.approx(one["losses"]["snntorch"][0], abs=1e-4)
    text = (tmp_path / "comparison.md").read_text()
    assert "- Same training, float32: over 2 seeds of 3 iterations the mean loss of the last 20 differs by " in text
    assert "| seed | csnn_jax | snnTorch | difference | iterations until a spike flips |" in text


@pytest.mark.slow
def test_the_command_names_a_broken_bound_and_exits_with_1(run, tmp_path):
    off = (
        "from csnn_jax.network import model, neuron\n"
        "model.leaky = lambda u, i, beta, theta, *rest: neuron.leaky(u, i, beta, 1.01 * theta, *rest)"
    )
    done = compare(run, tmp_path / "out", off, "--questions", "network")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Broken: run, scan, float64: share of spikes that differ" in done.stdout
    assert "**Broken**: run, scan, float64" in (tmp_path / "out" / "comparison.md").read_text()
