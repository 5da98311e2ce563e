"""Neurons in C are traced from their step, so any neuron that can be written down works, not only the built-in ones."""

import re
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from bundles import drawn
from compilers import COMPILERS, STRICT
from export_networks import FEW, SYNAPTIC
from networks import Recipe, made

from csnn_jax.config import ModelConfig, NodeConfig, nodes
from csnn_jax.neurons import NEURONS
from csnn_jax.neurons.neuron import Neuron
from csnn_jax.window import output
from export import reference
from export.c import neurons, program
from export.c.bounds import bounds


def body(text: str, function: str) -> list[str]:
    """The statements of a function."""
    (code,) = re.findall(rf"\b{function}\(struct[^{{]*\{{\n(.*?)\n\}}", text, re.S)
    return [line.strip() for line in code.splitlines()]


def test_the_leaky_step_matches_the_handwritten_one():
    text = "".join(neurons.header(FEW, drawn(FEW)))
    at = "states[CSNN_STATE_MEM * CSNN_NEURONS + c]"
    assert body(text, "step_subtract") == [
        f"const float mem0 = {at};",
        "const float fired1 = mem0 > p.threshold ? 1.0f : 0.0f;",
        f"{at} = unit * (p.beta * mem0) + current[0] - fired1 * p.threshold;",
    ]
    assert body(text, "step") == ["step_subtract(p, states, c, current, unit);"]
    assert body(text, "spikes") == [f"const float mem0 = {at};", "return mem0 > p.threshold;"]
    assert "int32_t reset" not in text and "*beta" not in text


def test_each_reset_has_one_function_and_layers_name_theirs(tmp_path):
    config = replace(FEW, reset=("zero", "none", "zero"))
    program.write_sources(tmp_path, config, drawn(config))
    text = (tmp_path / "neurons.h").read_text()
    assert re.findall(r" step_(\w+)\(struct", text) == ["zero", "none"]
    assert re.findall(r"(\d)\},\n", text) == ["0", "1", "0"]


def _threshold(values, state):
    return values["threshold"] + (state["rise"] - 0.0625)


def _adaptive(ops, values, state, currents, reset):
    """Each spike raises the threshold for a while, and the membrane also gets its value from two steps ago."""
    fired = ops.fired(state["mem"], _threshold(values, state))
    rise = ops.decayed(values["alpha"], state["rise"]) + ops.masked(fired, 0.25)
    new = ops.decayed(1 - values["beta"], state["last"] - (state["mem"] - currents[0]))
    decayed = ops.decayed(values["beta"], ops.decayed(0.9, state["mem"]) - ops.masked(fired, state["mem"]))
    return {"last": state["mem"], "rise": rise, "mem": 0.1 + (new + decayed) + rise - (0.3 - new)}


def _counter(ops, values, state, currents, reset):
    """Nothing decays."""
    return {"mem": state["mem"] + currents[0]}


def made_up(step, states, threshold):
    """Replaces synaptic neurons and has their parameters."""
    parts = NEURONS["synaptic"].parameters
    equations = {"none": ("as above",) * len(states)}
    return Neuron("synaptic", "made up", states, parts, step, equations, resets=("none",), threshold=threshold)


MADE_UP = {
    "adaptive": made_up(_adaptive, ("last", "rise", "mem"), _threshold),
    "counter": made_up(_counter, ("mem",), lambda values, state: values["threshold"]),
}


def beside_others() -> ModelConfig:
    """A network of leaky and made-up neurons."""
    described = [NodeConfig("lif0", "flatten", "image")]
    for number, kind in enumerate(("synaptic", "leaky", "synaptic"), 1):
        described.append(NodeConfig(f"fc{number}", "linear", f"lif{number - 1}", channels=9))
        described.append(NodeConfig(f"lif{number}", kind, f"fc{number}", reset="none"))
    return ModelConfig(FEW.input_shape, network=described, time_steps=FEW.time_steps)


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("kind", ["layers", "channels", "beside others"])
@pytest.mark.parametrize("name", MADE_UP)
def test_a_user_defined_neuron_has_the_states_of_torch(monkeypatch, tmp_path, name, kind, compiler):
    monkeypatch.setitem(NEURONS, "synaptic", MADE_UP[name])
    monkeypatch.setitem(nodes._OPERATIONS, "synaptic", nodes._neurons("synaptic"))
    wide = ("beta", "threshold") if kind == "channels" else ()
    config = beside_others() if kind == "beside others" else replace(SYNAPTIC, reset="none", per_channel=wide)
    network = made(Recipe(config), 1)
    program.write_sources(tmp_path, config, network.tensors)
    command = [*compiler, *STRICT, "-O2", "-fPIC", "-shared", "csnn.c", "-o", "libcsnn.so"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    library, step = program.Library(tmp_path / "libcsnn.so", config), reference.Step(config, network.tensors)
    x = reference.inputs(config, network.x)
    trace = reference.trace(step, x, config.time_steps)
    assert all(layer.any() and not layer.all() for layer in trace.spikes.values())
    states = [u.numpy() for u in step.initial_states(len(x))]
    for t in range(config.time_steps):
        states, spikes = library.step(states, x.numpy())
        np.testing.assert_array_equal(spikes, output(config, *trace)[t].numpy())
        for mine, theirs in zip(states, (x for state in trace.states.values() for x in state.values()), strict=True):
            np.testing.assert_array_equal(mine, theirs[t].numpy())
    for layer, bound in bounds(config, network.tensors, config.time_steps).items():
        for state, ends in bound.states.items():
            values = trace.states[layer][state].moveaxis(2, -1).numpy()
            assert (ends.low <= values).all() and (values <= ends.high).all()
