"""`python -m export.verify`: one line for every file, and an exit code."""

import re

from bundles import SMALL
from commands import run

from export import parts

ONNX = ("step.onnx", "step_b1.onnx", "sequence.onnx", "step_int8.onnx")
COMPUTED = ("weights.safetensors", *ONNX, "network.nir", "network_nir104.nir", "c/", "golden/")


def test_a_bundle_is_ok_line_by_line(small_bundle):
    done = run("export.verify", small_bundle)
    assert (done.returncode, done.stderr) == (0, ""), done
    said = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert said.pop("all") == "ok"
    assert re.match(
        r"here \(recorded\), median ms a call: step.onnx 0\.\d+ \(0\.\d+\), .* c/ 0\.\d+ ", said.pop("latency")
    )
    names = {name for part in parts.every() for name in part.what}
    assert names >= set(COMPUTED) and set(said) == {"SHA-256", *names, "manifest.json", "report.md", "report.html"}
    assert all(text.startswith("ok") for text in said.values()), said
    spikes = 8 * SMALL.time_steps * (4 * 14 * 14 + 16 + 10)
    assert f"0 of {spikes:,} spikes differ from torch's" in said["step.onnx"]


def test_what_has_no_manifest_is_no_bundle(tmp_path):
    (tmp_path / "folder").mkdir()
    for folder in (tmp_path / "folder", tmp_path / "nowhere"):
        done = run("export.verify", folder)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == f"error: {folder}: is no bundle, expected a directory with manifest.json in it\n"
