"""What the C program is to print where it is ported to, and `make check`, which compares it."""

import subprocess

import numpy as np
import pytest
import safetensors.numpy

from export.parts import c_int8, golden, golden_c


def test_the_bytes_are_the_images_and_the_counts_are_the_references(any_bundle):
    lines = (any_bundle / golden_c.EXPECTED).read_text().splitlines()
    counts = [outputs[0][0] for _, (_, outputs) in golden.read(any_bundle, "sequence")]
    assert len(lines) == len(counts) == 10
    for line, expected in zip(lines, counts, strict=True):
        answer = expected.argmax() if expected.any() else "-"
        assert line == f"class {answer}, spike counts {' '.join(str(int(count)) for count in expected)}"
    kept = safetensors.numpy.load_file(any_bundle / "golden" / "images.safetensors")["images"][:10]
    samples = np.fromfile(any_bundle / golden_c.SAMPLES, np.uint8)
    if samples.size == kept.size:  # no encoding
        np.testing.assert_array_equal(samples, kept.ravel())


@pytest.mark.parametrize(
    ("goal", "name", "expected"),
    [("check", "csnn", golden_c.EXPECTED), ("check-int8", "csnn_int8", c_int8.EXPECTED)],
)
def test_make_check_tells_a_right_port_from_a_wrong_one(copy, tmp_path, goal, name, expected):
    command = ["make", "-s", "-C", copy / "c", f"BUILD={tmp_path / 'build'}", goal]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"{name} prints what is expected\n"), done.stderr
    (copy / expected).write_text((copy / expected).read_text().replace("counts 0", "counts 1", 1))
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0 and "differ" in done.stdout + done.stderr
