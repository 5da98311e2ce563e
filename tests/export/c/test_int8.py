"""Weights of 8 bits: the nearest there are, and the program that has them."""

import numpy as np
import pytest
from c_networks import IMAGES, STACKS, images_for, parameters

from export import reference
from export.c import headers, int8, program
from export.parts import c_int8


def test_a_weight_becomes_the_nearest_of_its_channels_255():
    weight = np.random.default_rng(0).normal(size=(3, 4, 3, 3)).astype(np.float32) * [[[[1.0]]], [[[1e-4]]], [[[30.0]]]]
    weight = weight.astype(np.float32)
    found = int8.quantise(weight)
    assert found.weight.dtype == np.int8 and found.scale.dtype == np.float32 and found.scale.shape == (3,)
    np.testing.assert_array_equal(np.abs(found.weight).reshape(3, -1).max(1), 127)
    half = found.scale.reshape(3, 1, 1, 1) / 2
    assert (np.abs(found.values - weight) <= half * (1 + 1e-5)).all()
    again = int8.quantise(found.values)
    np.testing.assert_array_equal(again.weight, found.weight)
    none = int8.quantise(np.zeros((2, 5), np.float32))
    assert not none.weight.any() and none.scale.tolist() == [1, 1]


@pytest.mark.parametrize("name", ["odd sizes, average, zero", "learnt neurons, latency"])
def test_the_program_of_8_bits_is_the_network_with_rounded_weights(name, tmp_path):
    config, tensors = STACKS[name], parameters(STACKS[name])
    program.write_sources(tmp_path, config, tensors)
    built = program.build(tmp_path, tmp_path, int8=True)
    assert built == (tmp_path / "csnn_int8", tmp_path / "libcsnn_int8.so")
    step = reference.Step(config, c_int8.rounded(config, tensors))
    x = reference.inputs(config, images_for(config))
    trace = reference.trace(step, x, config.time_steps)
    library = program.Library(built.library, config)
    before = [u.numpy() for u in step.initial_membranes(IMAGES)]
    for t, frame in enumerate(reference.frames(x, config.time_steps)):
        after, spikes = library.step(before, frame.numpy())
        before = [u[t].numpy() for u in trace.membranes]
        np.testing.assert_array_equal(spikes, trace.spikes[-1][t].numpy())
        for mine, theirs in zip(after, before, strict=True):
            assert np.all(np.abs(mine - theirs) <= 1e-5 * (1 + np.abs(theirs)))
    counts = program.counts(built.program, program.samples(config, x.numpy()))[1]
    np.testing.assert_array_equal(counts, trace.spikes[-1].sum(0).numpy())
    plain = reference.trace(reference.Step(config, tensors), x, config.time_steps)
    assert any((a != b).any() for a, b in zip(plain.membranes, trace.membranes, strict=True))


def test_the_bytes_of_the_constants_are_told():
    config, tensors = STACKS["default kind"], parameters(STACKS["default kind"])
    weights = sum(tensors[f"{layer.name}.weight"].size for layer in config.layers)
    channels = sum(layer.channels for layer in config.layers)
    assert headers.weight_bytes(config, int8=True) == weights + 4 * channels + 4 * channels
