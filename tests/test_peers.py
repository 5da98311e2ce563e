"""How other libraries' measurements are reported: medians, order, spike counts, reasons; without their environments."""

import importlib.util
import json
import os
import sys
from argparse import Namespace
from pathlib import Path
from types import ModuleType

import numpy as np
import peer_environments
import peers
import peers_tables
import pytest
from bundles import make_run
from matplotlib.colors import to_rgb
from peer_environments import Unavailable
from peers import Measured, Row
from PIL import Image
from refusals import refusing

from csnn_jax.config import ModelConfig
from csnn_jax.figures.style import BLUE, DPI, GRAY, PAGE, png
from csnn_torch.compare.cost import Cost

SILENT = np.zeros((3, 2, 10))
TOLD = {"python": "3.11", "versions": {"one": "1.0", "torch": "2.0", "numpy": "2.0"}, "differs": "a", "advice": "b"}


def turn(seconds: list[float], first: float = 9.0, memory: int = 500) -> dict:
    """The output of measure.py for a turn with these times per iteration, and a tenth of them per inference batch."""
    rounds = {key: {"clock": values, "processor": values} for key, values in times(seconds).items()}
    return TOLD | rounds | {"first_iteration_s": first, "peak_memory_mb": memory}


def times(seconds: list[float]) -> dict[str, list[float]]:
    return {"step": seconds, "infer": [one / 10 for one in seconds]}


def measured(
    name: str, *turns: dict, spikes: np.ndarray = SILENT, busy: float = 0.0, failed: str | None = None
) -> Measured:
    made = Measured(Row(name, "csnn_jax" if name == peers.OURS else name.split(",")[0]), Cost(name, failed))
    for one in turns:
        made.add(one, spikes, [busy])
    return made


def record(rows: list[Measured], folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """Writes the output of peers.py to the file from which the tables are made; returns its rows."""
    options = Namespace(batch_size=2, time_steps=3, threads=2)
    result = peers.result(rows, options)
    (folder / "peers.json").write_text(json.dumps(result))
    monkeypatch.setattr(peers_tables, "PATH", folder / "peers.json")
    return result["rows"]


def test_figures_are_medians_of_all_turns_and_spikes_are_counted() -> None:
    spikes = SILENT.copy()
    spikes[1, 0, 4] = 1
    ours = measured(peers.OURS, turn([0.1, 0.1], 3.0), turn([0.1, 0.11], 5.0, 700))
    other = measured("slow", turn([2.0, 1.9]), turn([2.2, 2.4]), spikes=spikes)
    mine, row = ours.as_json(ours), other.as_json(ours)
    assert (mine["step_s"], mine["first_iteration_s"], mine["peak_memory_mb"]) == (0.1, 4.0, 700)
    assert row["step_s"] == pytest.approx(2.1) and row["infer_s"] == pytest.approx(0.21)
    assert row["times_as_long"] == {"training": 21.0, "inference": 21.0}
    assert (row["spikes"], row["spikes_that_differ"], row["of"], row["predictions_that_differ"]) == (1, 1, 60, 1)


def test_no_ratio_is_given_for_a_busy_machine_or_unsteady_turns() -> None:
    ours, busy = measured(peers.OURS, turn([0.1])), measured("busy", turn([1.0]), busy=0.4)
    unsteady = measured("unsteady", turn([1.0]), turn([1.5]))
    assert peers.ratio(busy, ours, "step") == "none: the machine was busy, other programs took 40% of it"
    assert peers.ratio(ours, busy, "step").startswith("none: busy: the machine was busy")
    assert peers.ratio(unsteady, ours, "infer") == "none: turns differ by a factor of 1.5"
    alone = measured("other", turn([1.0])).as_json(measured(peers.OURS, failed="no compiler"))
    assert "step_s" in alone and not {"times_as_long", "spikes"} & alone.keys()


def test_the_table_goes_from_fast_to_slow_and_ends_with_failures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast, slow = measured(peers.OURS, turn([0.12])), measured("snnTorch", turn([2.0]))
    broken = measured("sparx", failed="can't be installed: needs Python 3.12, which isn't installed")
    record(
        [broken, slow, measured("slow, a way", turn([1.0])), measured("slow, another", turn([3.0])), fast],
        tmp_path,
        monkeypatch,
    )
    names = [line.split(" | ")[0] for line in peers_tables.peers().splitlines()[2:]]
    assert names == [f"| {name}" for name in (peers.OURS, "slow, a way", "snnTorch", "slow, another", "sparx")]
    assert "| snnTorch | 2.0 (17x) | 0.20 (17x) | 9.0 | 0.5 |" in peers_tables.peers()
    assert "| sparx | can't be installed: needs Python 3.12, which isn't installed |" in peers_tables.peers()
    assert peers_tables.peers_work().splitlines()[2:] == ["| one 1.0, torch 2.0 | 0 | a |"] * 3
    (tmp_path / "peers.png").write_bytes(png(peers_tables.draw()))
    with Image.open(tmp_path / "peers.png") as picture:
        assert picture.width == PAGE * DPI
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    for color in (BLUE, GRAY):
        assert np.count_nonzero(np.abs(pixels - 255 * np.array(to_rgb(color))).max(-1) < 3) > 500


def test_missing_results_are_an_empty_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers_tables, "PATH", tmp_path / "peers.json")
    assert len(peers_tables.peers().splitlines()) == 2


def test_a_build_for_cuda_is_refused_before_anything_is_downloaded() -> None:
    cpu = {"install": [{"metadata": {"name": name}} for name in ("torch", "numpy")]}
    peer_environments.refuse_cuda(cpu)
    cuda = {"install": [*cpu["install"], {"metadata": {"name": "nvidia-cublas-cu12"}}]}
    with refusing(Unavailable, "nvidia-cublas-cu12", "PIP_FIND_LINKS"):
        peer_environments.refuse_cuda(cuda)


def test_a_library_for_a_missing_python_still_has_a_row(tmp_path: Path) -> None:
    assert peer_environments.interpreter((3, 11)) == sys.executable
    future = Measured(Row("future", "future", installs=("future",), python=(9, 9)), Cost("future"))
    assert peers.prepared([future], tmp_path) == {}
    assert future.as_json(future)["failed"] == "can't be installed: needs Python 9.9, which isn't installed"
    assert not any(tmp_path.iterdir())


def test_a_finished_environment_is_used_unchanged(tmp_path: Path) -> None:
    (tmp_path / "installed.json").write_text('["one==1"]')
    assert peer_environments.environment(tmp_path, ("one==1",), (9, 9)) == str(tmp_path / "bin/python")
    with pytest.raises(Unavailable):
        peer_environments.environment(tmp_path, ("one==2",), (9, 9))


def test_channels_last_kernels_give_the_same_results_as_torchs() -> None:
    draw = np.random.default_rng(0)
    shapes = ((4, 1, 3, 3), (6, 4, 3, 3), (8, 6 * 7 * 7), (10, 8))
    layers = [(draw.normal(size=shape), draw.normal(size=shape[0])) for shape in shapes]
    job = measure().Job("-", 1, 1, 0.1, *[np.zeros(0)] * 3, layers)
    (_, _), (window, _), (flat, _), (last, _) = job.channels_last
    image, hidden = draw.normal(size=(6, 7, 7)), draw.normal(size=8)
    assert np.allclose(image.transpose(1, 2, 0).reshape(-1) @ flat, layers[2][0] @ image.reshape(-1))
    assert np.allclose(hidden @ last, layers[3][0] @ hidden)
    assert window.shape == (3, 3, 4, 6) and window[1, 2, 3, 5] == layers[1][0][5, 3, 1, 2]


def measure() -> ModuleType:
    spec = importlib.util.spec_from_file_location("measure", peers.MEASURE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["measure"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_both_engines_are_measured_with_equal_spikes_and_a_failure_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "run", ModelConfig())
    broken = Row("broken", "csnn_jax", "no engine")
    monkeypatch.setattr(peers, "ROWS", (*[row for row in peers.ROWS if row.library == "csnn_jax"], broken))
    monkeypatch.setattr("os.environ", os.environ | {"PYTHONPATH": str(Path(peers.__file__).parents[1])})
    flags = ("--turns", "1", "--rounds", "1", "--batch-size", "4", "--time-steps", "3", "--threads", "1")
    monkeypatch.setattr("sys.argv", ["peers.py", str(run), "--environments", str(tmp_path / "made"), *flags])
    peers.main()
    event, scan, failed = json.loads(capsys.readouterr().out)["rows"]
    assert "no engine" in failed["failed"] and "expected" in failed["failed"]
    assert event["spikes_that_differ"] == scan["spikes_that_differ"] == 0 < event["spikes"]
    for row in (event, scan):
        assert row["first_iteration_s"] > row["step_s"] > 0 < row["infer_s"] and row["versions"]["jax"]
    assert not (tmp_path / "made").exists()


def test_a_run_of_another_network_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", ModelConfig(conv_channels=(2,), hidden=(), time_steps=3))
    with refusing(SystemExit, run, "MNIST"):
        peers.write_job(tmp_path / "job.npz", Namespace(run=run, batch_size=2, time_steps=3, threads=1), 1)
