"""What csnn 0.1.0 left behind still works: an interrupted run goes on, a bundle verifies."""

import json
import tarfile
from pathlib import Path

import pytest
from commands import run

from csnn_jax.runs.config_json import SCHEMA_VERSION
from csnn_jax.runs.rundir import RunDir
from export.demo import facts

FIXTURES = Path(__file__).parent / "fixtures"


def unpack(name: str, folder: Path) -> Path:
    with tarfile.open(FIXTURES / name) as archive:
        archive.extractall(folder, filter="data")
    return folder


def losses(path: Path) -> list[float]:
    records = map(json.loads, path.read_text().splitlines())
    return [record["loss"] for record in records if record["kind"] == "train"]


@pytest.mark.slow
def test_an_interrupted_run_goes_on_as_if_nothing_had_been(tmp_path):
    folder = unpack("run-0.1.0.tar.xz", tmp_path)
    assert "schema_version" not in json.loads((folder / "run" / "config.json").read_text())
    done = run("csnn_jax.train", "--resume", "--out", folder / "run")
    assert done.returncode == 0, done.stderr
    assert "resumed after 6 iterations" in done.stdout
    found, expected = losses(folder / "run" / "metrics.jsonl"), losses(folder / "uninterrupted.jsonl")
    assert len(expected) == 24 and found[:6] == expected[:6]
    # To the bit where JAX and the processor are the same; elsewhere rounding flips a spike some day.
    assert found[6:8] == pytest.approx(expected[6:8], rel=1e-4)
    assert found[8:] == pytest.approx(expected[8:], rel=5e-3)
    assert RunDir(folder / "run").finished
    assert json.loads((folder / "run" / "config.json").read_text())["schema_version"] == SCHEMA_VERSION


def test_a_bundle_verifies(tmp_path):
    folder = unpack("bundle-0.1.0.tar.xz", tmp_path)
    done = run("export.verify", folder / "bundle", "--quick")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("all ok")


def test_a_bundle_is_demonstrated(tmp_path):
    source = facts.read(unpack("bundle-0.1.0.tar.xz", tmp_path) / "bundle", None)
    assert json.loads(facts.files(source, "1.2.3")["demo.json"])["layers"][0]["layer"] == "conv1"
