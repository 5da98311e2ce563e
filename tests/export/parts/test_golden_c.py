"""What the C program is to print where it is ported to, and `make check`, which compares it."""

import numpy as np
import safetensors.numpy

from export.parts import golden, golden_c


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
