"""Networks that aren't chains: every state equals torch's in every step, however much csnn.c is optimized.

tests/test_matrix.py doesn't optimize it.
"""

import subprocess

import numpy as np
import pytest
from c_networks import NETWORKS, RANDOM, STEPS, case, conv, drawn, graph, linear, node
from compilers import COMPILERS, SANITIZE, STRICT, constants, stated_memory
from refusals import assert_line, refusing

from csnn_jax.window import output, summed
from export import parts, reference
from export.c import headers, layout, program
from export.proof.runners import window

FLAGS = ("-O3", "-ffp-contract=fast", "-march=native")


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (place % 2))
        for place, name in enumerate([*NETWORKS, *range(RANDOM)])
    ],
)
def test_every_state_is_torchs(tmp_path, name, compiler):
    config, tensors, x = case(name)
    program.write_sources(tmp_path, config, tensors)
    step = reference.Step(config, tensors)
    expected = reference.trace(step, x, STEPS)
    rates = {node.name: expected.spikes[node.name].mean().item() for node in config.graph.spiking}
    assert isinstance(name, int) or all(0.02 < rate < 0.98 for rate in rates.values()), rates
    scores = summed(output(config, *expected)).numpy()
    command = [*compiler, *STRICT, *FLAGS, "-fPIC", "-shared", "csnn.c", "-o", "libcsnn.so"]
    subprocess.run(command, cwd=tmp_path, check=True)
    library = program.Library(tmp_path / "libcsnn.so", config)
    trace = window(library.step, step, x, STEPS)
    for layer, states in expected.states.items():
        for state, values in states.items():
            np.testing.assert_array_equal(trace.states[layer][state], values.numpy(), f"{layer} {state}")
    for sample, wanted in zip(program.samples(config, x.numpy()), scores, strict=True):
        np.testing.assert_array_equal(library.classify(np.ascontiguousarray(sample))[1], wanted)


@pytest.mark.slow
@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize(
    "name", ["feedback", "convolutions, 4 bits", "at rest", "residual, maxima, 4 bits", "residual, averages", "delays"]
)
def test_sanitizers_find_nothing(tmp_path, name, compiler):
    config, tensors, x = case(name)
    program.write_sources(tmp_path, config, tensors)
    command = [*compiler, *STRICT, *SANITIZE, "-O1", "main.c", "events.c", "csnn.c", "-o", "csnn"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    trace = reference.trace(reference.Step(config, tensors), x, STEPS)
    found = program.answers(tmp_path / "csnn", program.samples(config, x.numpy()))[1]
    np.testing.assert_array_equal(found, summed(output(config, *trace)).numpy())


@pytest.mark.parametrize("name", ["feedback, 8 bits", "convolutions", "three layers, 4 bits", "delays"])
def test_the_stated_memory_is_correct(tmp_path, name):
    config, tensors, _ = case(name)
    program.write_sources(tmp_path, config, tensors)
    flash, ram, _ = stated_memory(tmp_path)
    state = program.Library(program.build(tmp_path, tmp_path).library, config).state_bytes
    assert 0 <= state - ram < 8
    assert flash == headers.weight_bytes(config) == 4 * constants(tmp_path)


@pytest.mark.parametrize(
    ("nodes", "names"),
    [
        ((node("small", "avg_pool", "image"), conv("conv", "small")), ("small", "image")),
        (
            (conv("one", "image"), node("pool-1", "max_pool", "one"), node("conv", "max_pool", "pool-1", size=2)),
            ("conv", "pool-1"),
        ),
        ((conv("one", "image"), conv("two", "image"), node("conv", "max_pool", "one two")), ("conv", "one")),
        ((conv("conv", "image image@2"),), ("conv", "image@2")),
        ((conv("conv", "image"), node("lif", "leaky", "conv conv@2"), conv("next", "lif")), ("lif", "conv@2")),
    ],
    ids=["a pooled image", "a pool of a pool", "a maximum of a sum", "a delayed image", "a delayed current"],
)
def test_what_c_lacks_is_refused_by_name(tmp_path, nodes, names):
    config = graph(
        *nodes,
        node("last", "leaky", nodes[-1].name),
        node("flat", "flatten", "last"),
        linear("fc", "flat", 3),
        node("answer", "leaky", "fc"),
        input_shape=(8, 8, 1),
    )
    tensors = drawn(config, 0)
    reason = layout.reason_against(config)
    assert_line(reason, *names)
    assert not [name for part in parts.possible(config, tensors) for name in part.what if "c/" in name]
    with refusing(ValueError, *names):
        program.write_sources(tmp_path, config, tensors)
    assert not [*tmp_path.iterdir()]
