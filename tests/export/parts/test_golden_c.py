"""What the C programs are to print where they are ported to, and `make check`, which compares it."""

import numpy as np
import safetensors.numpy

from csnn_jax.runs import rundir
from export import reference
from export.bundle import golden_images
from export.c import headers
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


def test_the_counts_of_8_bits_are_those_of_torch_with_rounded_weights(small_bundle):
    _, config, tensors = rundir.open_run(str(small_bundle))
    rounded = headers.in_8_bits(config.model, tensors)
    assert (rounded["fc1.weight"] != tensors["fc1.weight"]).any()
    step = reference.Step(config.model, rounded)
    lines = (small_bundle / c_int8.EXPECTED).read_text().splitlines()
    for x, line in zip(golden.inputs(config.model, golden_images(small_bundle).images[:10]), lines, strict=True):
        counts = reference.trace(step, x, config.model.time_steps).spikes[-1].sum(0)[0].int().tolist()
        assert line.endswith(f"spike counts {' '.join(map(str, counts))}")
