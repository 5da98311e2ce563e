"""The benchmarks run, plot recorded results, and give no ratio if there isn't one."""

import json
import re
import subprocess
import sys
from pathlib import Path

import dense
import engine_scaling
import hashes
import jax.numpy as jnp
import numpy as np
import pytest
import rounding
import snntorch as snn
import speed
import speed_tables
import torch
import train_step
from bundles import make_run
from commands import OPTIMISED
from matplotlib.colors import to_rgb
from PIL import Image

import csnn_jax
from csnn_jax.config import Config, DataConfig, ModelConfig, TrainConfig
from csnn_jax.data import load
from csnn_jax.engine import scan
from csnn_jax.figures.style import BLUE, DPI, ORANGE, PAGE

ROOT = Path(__file__).parents[1]
BUSY = "none: the machine was busy, other programs took 40% of it"
SIDE = {"step_s": 0.0512, "step_processor_s": 0.0987, "infer_s": 0.00931, "infer_processor_s": 0.0157}
MEASURED = {
    "time_steps": 5,
    "processor": "Intel(R) Xeon(R) Processor, family 6, model 167",
    "csnn_jax": SIDE | {"densities": {"lif1": 0.1234, "lif2": 0.3}, "peak_memory_mb": 812},
    "snntorch": SIDE | {"step_s": 0.171, "peak_memory_mb": 1012},
    "times_faster": {"snntorch": {"training": 3.3, "inference": BUSY}},
}


def run(script: str, *arguments: object, seconds: int = 60) -> subprocess.CompletedProcess:
    command = [sys.executable, ROOT / "benchmarks" / script, *arguments]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, env=OPTIMISED, timeout=seconds)


def test_a_plot_can_be_redrawn_from_recorded_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded, drawn = ROOT / "results/engine_scaling.json", tmp_path / "drawn.png"
    monkeypatch.setattr("sys.argv", ["engine_scaling.py", "--from", str(recorded), "--plot", str(drawn)])
    engine_scaling.main()
    assert capsys.readouterr() == ("", "")
    with Image.open(drawn) as picture:
        assert picture.width == PAGE * DPI
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    for color in (BLUE, ORANGE):
        assert np.count_nonzero(np.abs(pixels - 255 * np.array(to_rgb(color))).max(-1) < 3) > 500


def test_a_machine_without_a_gpu_is_not_a_failure() -> None:
    done = run("gpu.py")
    assert (done.returncode, done.stdout) == (0, "") and done.stderr.startswith("no GPU to measure: JAX runs on cpu")


def test_a_ratio_or_a_dash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "train_step_fast.json").write_text(json.dumps(MEASURED))
    monkeypatch.setattr(speed_tables, "RESULTS", tmp_path)
    row = "12, 30 | 0.051 | 3.3 | not measured | 0.0093 | - | not measured |"
    assert f"| `--recipe fast` and `accurate` | {row}" in speed_tables.ratios()
    assert "| tutorial 6 | not measured | not measured |" in speed_tables.ratios()


def test_one_call_measures_what_the_pages_state() -> None:
    for name, command in speed.SCRIPTS.items():
        assert (ROOT / f"results/{name}.json").exists() and (ROOT / "benchmarks" / command.split()[0]).exists()
    used = set(re.findall(r"{folder}/runs/(\w+)", " ".join(speed.SCRIPTS.values())))
    assert used == set(speed.RUNS)
    assert set(speed_tables.NETWORKS) <= set(speed.SCRIPTS)


@pytest.mark.slow
def test_a_small_run_is_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = make_run(tmp_path / "run", ModelConfig(conv_channels=(2,), hidden=(), time_steps=3))
    monkeypatch.setattr("sys.argv", ["train_step.py", str(small), "--rounds", "1"])
    monkeypatch.setattr(train_step, "TURNS", 1)
    train_step.main()
    timed = json.loads(capsys.readouterr().out)
    assert timed["time_steps"] == 3 and set(timed["densities"]) == {"lif1", "lif2"}
    assert list(timed["times_faster"]) == list(train_step.BASELINES) and "default_job_s_extrapolated" not in timed
    for side in ("csnn_jax", "snntorch", "snntorch_channels_last", "snntorch_first_convolution_once"):
        assert all(timed[side][name] > 0 for name in SIDE)


@pytest.mark.slow
def test_a_network_is_made_to_fire_and_timed_layer_by_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense, "NETWORK", ModelConfig((12, 12, 3), (16, 8), hidden=(), time_steps=6))
    monkeypatch.setattr(dense, "BATCH", 8)
    data = DataConfig(dataset=f"arrays:{dense.noise(tmp_path)}")
    config = Config(dense.NETWORK, data, TrainConfig(batch_size=8, engine="event"))
    network = dense.firing(config, 0.3)
    images = load(f"arrays:{tmp_path}/noise.npz", (12, 12, 3)).train.images[:8]
    spikes = scan.trace(network, jnp.asarray(images))[1].spikes
    assert np.allclose([np.mean(spikes[node]) for node in ("lif1", "lif2")], 0.3, atol=0.02)
    csnn_jax.save(network, config, tmp_path / "run")
    layers = dense.layers(str(tmp_path / "run"))
    assert [layer["layer"] for layer in layers] == ["conv1", "conv2", "fc1"]
    assert all(layer[work]["ms"] > 0 for layer in layers for work in ("inference", "training"))


def test_the_spikes_that_rounding_changes_are_counted() -> None:
    mnist = load("mnist", (28, 28, 1))
    torch.manual_seed(0)
    network = rounding.Network((2,), (288, 10), 3, snn.Leaky, beta=0.5)
    before = network.layers[1].weight.clone()
    row = rounding.row("small", network, mnist, 1)
    assert not torch.equal(network.layers[1].weight, before)
    assert row["spikes"] == 1000 * 3 * (2 * 12 * 12 + 10) and 0 <= row["changed"] < row["spikes"] / 10
    assert row["images"] == 1000 and len(row["correct"]) == 2


def test_changing_one_bit_of_a_membrane_changes_its_hash() -> None:
    membranes = np.random.default_rng(0).normal(size=(3, 2, 4, 5, 6)).astype(np.float32)
    spikes = membranes > 0
    before = hashes.of(membranes, spikes)
    assert before.shape == (2, 3, hashes.WORDS)
    for bit in range(31):
        changed = membranes.copy()
        changed.view(np.uint32)[1, 1, 2, 3, 4] ^= np.uint32(1 << bit)
        differ = hashes.of(changed, spikes) != before
        assert differ[1, 1, 0] and differ[..., :2].any(-1).sum() == 1
    spikes[2, 0, 1, 1, 1] ^= True
    assert (hashes.of(membranes, spikes) != before).sum() == 1


@pytest.mark.slow
def test_a_network_is_bit_identical_everywhere(tmp_path: Path) -> None:
    """Browsers and a Cortex-M7 aren't tested, because they take minutes."""
    model = ModelConfig(conv_channels=(6, 8), hidden=(20,), beta=0.9, time_steps=12, scale=256.0, input_bits=8)
    out, sides = make_run(tmp_path / "run", model), ("scan", "event", "ONNX Runtime", "C, GCC -O3", "C, aarch64")
    done = run("everywhere.py", out, "--images", 24, "--sides", *sides, seconds=600)
    assert done.returncode == 0, done.stderr
    rows = {row.pop("side"): row for row in json.loads(done.stdout)["rows"]}
    assert rows.keys() == set(sides)
    for row in rows.values():
        if "skipped" not in row:
            assert row["steps_with_other_membranes"] == row["steps_with_other_spikes"] == 0 < row["membranes"]


@pytest.mark.slow
def test_snntorch_handles_nir_files_as_recorded() -> None:
    """The other programs in docs/coming-from-nir.md need separate environments."""
    done = run("nir/rules_snntorch.py")
    assert done.returncode == 0, done.stderr
    printed, recorded = json.loads(done.stdout), json.loads((ROOT / "results/nir/rules-snntorch.json").read_text())
    assert printed["neurons"].keys() == recorded["neurons"].keys() and len(printed["read"]) > 40
    for where in ("commit", "processor", "python", "versions"):
        printed.pop(where), recorded.pop(where)
    assert printed == recorded
