"""What the program of 8 bits is to print are the counts of a network with the rounded weights."""

from csnn_jax.runs import rundir
from export import reference
from export.bundle import golden_images
from export.parts import c_int8, golden


def test_the_expected_counts_are_those_of_torch_with_rounded_weights(small_bundle):
    _, config, tensors = rundir.open_run(str(small_bundle))
    rounded = c_int8.rounded(config.model, tensors)
    assert (rounded["fc1.weight"] != tensors["fc1.weight"]).any() and rounded["fc1.bias"] is tensors["fc1.bias"]
    step = reference.Step(config.model, rounded)
    lines = (small_bundle / c_int8.EXPECTED).read_text().splitlines()
    for x, line in zip(golden.inputs(config.model, golden_images(small_bundle).images[:10]), lines, strict=True):
        counts = reference.trace(step, x, config.model.time_steps).spikes[-1].sum(0)[0].int().tolist()
        assert line.endswith(f"spike counts {' '.join(map(str, counts))}")
