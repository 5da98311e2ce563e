"""What the C program must print on a target, and `make check`, which compares it."""

import json
import shlex
import subprocess

import numpy as np
import safetensors.numpy

from csnn_jax.runs.rundir import RunDir
from export.parts import c_program, golden


def test_the_bytes_match_the_images_and_the_scores_match_the_reference(any_bundle):
    """Membrane scores match bit for bit, because 9 digits identify any float."""
    lines = (any_bundle / golden.EXPECTED_C).read_text().splitlines()
    scores = [outputs[0][0] for _, outputs in golden.read(any_bundle, "sequence")]
    what = "scores" if RunDir(any_bundle).config().model.readout == "membrane" else "spike counts"
    assert len(lines) == len(scores) == 10
    for line, expected in zip(lines, scores, strict=True):
        answer = expected.argmax() if expected.any() else "-"
        assert line == f"class {answer}, {what} {' '.join(f'{score:.9g}' for score in expected)}"
    kept = safetensors.numpy.load_file(any_bundle / "golden" / "images.safetensors")["images"][:10]
    samples = np.fromfile(any_bundle / c_program.SAMPLES, np.uint8)
    if samples.size == kept.size:  # no encoding
        np.testing.assert_array_equal(samples, kept.ravel())


def test_a_program_that_prints_scores_is_proven_and_checks_itself(integrator, tmp_path):
    proof = json.loads((integrator / "manifest.json").read_text())["results"]["files"]["c/"]
    assert proof["program"]["counts"] > 0 == proof["program"]["different_counts"]
    assert proof["library"]["membranes"] > 0 == proof["library"]["different_membranes"]
    assert "the program prints the class's name and the scores" in (integrator / "report.md").read_text()
    command = [*shlex.split(c_program.MAKE), "-s", f"BUILD={tmp_path}", "check"]
    done = subprocess.run(command, cwd=integrator, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "csnn prints what is expected\n", "")
