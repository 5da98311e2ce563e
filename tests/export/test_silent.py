"""Channels that never fire can be removed, and nothing else changes."""

import functools
import json
from dataclasses import replace

import numpy as np
import pytest
from bundles import GRAPH, INTEGRATOR, SMALL, drawn, make_run
from commands import call
from digits import few_digits
from refusals import refusing

import csnn_jax
from csnn_jax import data
from csnn_jax.config import Config, ModelConfig
from csnn_jax.config.nodes import NodeConfig
from csnn_jax.data import Dataset, Split
from csnn_jax.runs import weights
from csnn_jax.runs.layouts import on_grid, parameters
from csnn_jax.window import output
from export import channels, reference, silent
from export.c import program
from export.proof import statements
from export.proof.runners import window
from export.work import Work

STACKS = {
    "no convolution": replace(SMALL, conv_channels=(), hidden=(14,), bias=False),
    "other neurons": INTEGRATOR,
    "sums after the neurons": replace(
        SMALL, conv_channels=(5, 6), hidden=(), pool="sum", pool_size=(2, 4), pool_after=True, learn_beta=True
    ),
    "recurrent": replace(SMALL, hidden=(12, 9), recurrent=("fc1", "fc2:one", "fc3"), neuron="synaptic"),
    "recurrent, 3 bits": replace(SMALL, recurrent=("fc1",), weight_bits=3),
    "graph": GRAPH,
    "residual": replace(SMALL, conv_channels=(6, 6, 8), residual=("conv2", "conv3"), pool=("max", "none", "max")),
    "delays": ModelConfig(
        network=[
            NodeConfig("conv1", "convolution", "image", channels=6, kernel=5, stride=4),
            NodeConfig("a", "leaky", "conv1"),
            NodeConfig("conv2", "convolution", ["a", "a@1", "a@3"], channels=6, kernel=3, padding=1),
            NodeConfig("b", "leaky", "conv2"),
            NodeConfig("flat", "flatten", ["b@2", "a"]),
            NodeConfig("fc", "linear", ["flat", "flat@1"], channels=10),
            NodeConfig("last", "leaky", "fc"),
            NodeConfig("flat2", "flatten", "b"),
            NodeConfig("fc2", "linear", "flat2", channels=10),
            NodeConfig("out", "leaky", ["fc2", "fc3"]),
            NodeConfig("fc3", "linear", "last", channels=10),
        ],
        time_steps=8,
    ),
}


def quiet(model, seed=0):
    """Parameters where every second hidden channel can never fire, because its weights and bias are negative."""
    tensors = drawn(model, seed)
    last = model.graph.sources(model.graph.neurons[-1])
    for layer in (node for node in model.graph.weighted if node not in last):
        tensors[f"{layer.name}.weight"][::2] = -np.abs(tensors[f"{layer.name}.weight"][::2])
        if f"{layer.name}.bias" in tensors:
            tensors[f"{layer.name}.bias"][::2] = -0.1
    return on_grid(model, tensors)


@functools.cache
def mnist() -> Dataset:
    return data.load("mnist", SMALL.input_shape)


def digits(train=40, test=30) -> Dataset:
    dataset = mnist()
    parts = (Split(one.images[:n], one.labels[:n]) for one, n in ((dataset.train, train), (dataset.test, test)))
    return replace(dataset, **dict(zip(("train", "test"), parts, strict=True)))


def traced(model, tensors, dataset: Dataset):
    """torch's results on the test images."""
    x = reference.inputs(model, dataset.test.images)
    return reference.trace(reference.Step(model, tensors), x, model.time_steps)


@pytest.mark.parametrize(
    "name",
    ["residual", *(pytest.param(one, marks=pytest.mark.slow) for one in ("other neurons", "recurrent", "delays"))],
)
def test_a_network_without_its_silent_channels_has_the_same_spikes(name):
    model = STACKS[name]
    tensors, dataset, config = quiet(model), digits(), Config(model)
    dataset = replace(dataset, test=dataset.train)  # channels silent there can't fire here
    smaller, left, dropped = silent.drop(config, tensors, dataset, Work("Exporting"))
    for (name, remaining, of), layer in zip(dropped.layers, model.graph.neurons, strict=False):
        assert name == model.graph.label(layer) and of == layer.shape[-1] and 0 < remaining <= (of + 1) // 2
    assert dropped.fired_on == 0 and dropped.other_answers == 0 and dropped.test_images == 40
    assert dropped.parameters[1] == parameters(left) < dropped.parameters[0]
    before, after = (traced(one.model, held, dataset) for one, held in ((config, tensors), (smaller, left)))
    *hidden, last = before.spikes
    for old, new in ((before.spikes[node], after.spikes[node]) for node in hidden):
        assert new.sum() == old.sum() > 0, "kept channels spike as often, and dropped ones never did"
    np.testing.assert_array_equal(before.membranes[last], after.membranes[last])
    assert before.membranes[last].any()


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (place % 2)) for place, name in enumerate(STACKS)]
)
def test_channels_that_cannot_fire_are_left_out_and_nothing_else_changes(name, tmp_path):
    """Torch has them, and the C program hasn't; they stay silent on noise, too."""
    model = STACKS[name]
    tensors = quiet(model)
    smaller, left, masks = channels.able(model, tensors)
    images = np.random.default_rng(3).integers(0, 256, (6, *model.input_shape)).astype(np.uint8)
    x = reference.inputs(model, images)
    trace = reference.trace(reference.Step(model, tensors), x, model.time_steps)
    program.write_sources(tmp_path, smaller, left)
    library = program.Library(program.build(tmp_path, tmp_path).library, smaller)
    c_trace = window(library.step, reference.Step(smaller, left), x, model.time_steps)
    for name, stays in masks.items():
        spikes, states = trace.spikes[name].numpy(), trace.states[name]
        assert not spikes[:, :, ~stays].any()
        for state, values in states.items():
            np.testing.assert_array_equal(c_trace.states[name][state], values.numpy()[:, :, stays])
    *hidden, last = masks.values()
    assert any(not stays.all() for stays in hidden) and last.all()


def test_all_channels_stay_where_none_can_be_left_out():
    model = replace(SMALL, hidden=(6, 5))
    tensors = quiet(model)
    tensors["fc2.weight"][:], tensors["fc2.bias"][:] = -1.0, -1.0
    assert channels.able(model, on_grid(model, tensors)).kept["lif3"].tolist() == [True, False, False, False, False]
    shortcut = replace(SMALL, conv_channels=(6, 8), residual=("conv2",))
    tensors = drawn(shortcut)
    for name, channel in (("conv1", 5), ("conv2", slice(5, None)), ("res2", slice(5, None))):
        tensors[f"{name}.weight"][channel], tensors[f"{name}.bias"][channel] = -1, -1
    network = channels.able(shortcut, on_grid(shortcut, tensors))
    assert network.config == shortcut and all(stays.all() for stays in network.kept.values())


def test_a_channel_that_fires_only_on_test_images_is_counted():
    """The training images are black, so a channel that needs light is removed."""
    model = replace(SMALL, conv_channels=(), hidden=(4,), pool="avg")
    tensors = drawn(model, 0)
    tensors["fc1.weight"][:] = 0.05
    tensors["fc1.bias"][:] = (2.0, 2.0, 0.0, 0.0)  # two fire without light
    tensors = on_grid(model, tensors)
    real = digits()
    dark = replace(real, train=Split(np.zeros_like(real.train.images), real.train.labels))
    smaller, left, dropped = silent.drop(Config(model), tensors, dark, Work("Exporting"))
    assert dropped.layers == [("fc1", 2, 4)] and dropped.fired_on == 30
    sides = ((model, tensors), (smaller.model, left))
    answers = [output(side[0], *traced(*side, real)).numpy().sum(0).argmax(1) for side in sides]
    assert dropped.other_answers == (answers[0] != answers[1]).sum()
    said = f"on 30 of 30 test images, one of the others would have fired; {dropped.other_answers} answers"
    assert said in dropped.lines()[-1]


SHARED = ModelConfig(
    network=[
        NodeConfig("flat", "flatten", "image"),
        NodeConfig("both", "linear", "flat", channels=4),
        NodeConfig("one", "one_to_one", "a", channels=4),
        NodeConfig("rec", "linear", "c@1", channels=4, bias=False),
        NodeConfig("a", "leaky", ["both", "rec"]),
        NodeConfig("b", "leaky", "one"),
        NodeConfig("own", "linear", "flat", channels=4),
        NodeConfig("c", "leaky", "own", learn=["threshold"], per_channel=["threshold"]),
        NodeConfig("out", "linear", "b", channels=10),
        NodeConfig("more", "linear", "c", channels=10),
        NodeConfig("last", "leaky", ["out", "more"]),
    ],
    time_steps=4,
)


@pytest.mark.slow
def test_channels_of_layers_that_one_weight_for_each_feature_joins_go_together():
    tensors = drawn(SHARED)
    for name, value in tensors.items():
        value[...] = 0.01 if name.endswith("weight") else 0
    tensors["both.bias"][:] = 2, 2, -9, -9
    tensors["one.weight"][:] = 2, 0, 0, 0  # b fires only in channel 0, and a in 0 and 1
    tensors["own.bias"][:] = 2, -9, -9, -9
    tensors["c.threshold"][:] = 1, 1, 1, -2
    tensors["more.weight"][:] = 2
    tensors = on_grid(SHARED, tensors)
    smaller, left, dropped = silent.drop(Config(SHARED), tensors, digits(), Work("Exporting"))
    # Channel 3 of c fires in no step, but before the first, where its membrane of 0 is above -2.
    assert sorted(dropped.layers) == [("a", 2, 4), ("b", 2, 4), ("c", 2, 4)]
    assert left["c.threshold"].tolist() == [1, -2] and left["rec.weight"].shape == (2, 2)
    before, after = (traced(*network, digits()) for network in ((SHARED, tensors), (smaller.model, left)))
    np.testing.assert_array_equal(before.membranes["a"][..., :2], after.membranes["a"])
    np.testing.assert_array_equal(before.membranes["last"], after.membranes["last"])
    assert not before.spikes["c"][..., 3].any() and before.spikes["last"].any()


def test_channels_that_meet_the_output_or_flattened_features_one_by_one_stay():
    nodes = [
        NodeConfig("conv", "convolution", "image", channels=3, kernel=28),
        NodeConfig("a", "leaky", "conv"),
        NodeConfig("flat", "flatten", "a"),
        NodeConfig("one", "one_to_one", "flat", channels=3),
        NodeConfig("b", "leaky", "one"),
        NodeConfig("fc", "linear", "b", channels=10),
        NodeConfig("c", "leaky", "fc"),
        NodeConfig("same", "one_to_one", "c", channels=10),
        NodeConfig("last", "leaky", "same"),
    ]
    model = ModelConfig(network=nodes, time_steps=4)
    assert silent.drop(Config(model), drawn(model), digits(), Work("Exporting"))[2].layers == [
        *(("conv", 3, 3), ("one", 3, 3), ("fc", 10, 10))
    ]


def test_a_shortcut_that_would_need_no_convolution_is_refused_by_name():
    model = replace(SMALL, conv_channels=(6, 8), residual=("conv2",))
    alive = [np.arange(6) < 5, np.arange(8) < 5, np.ones(model.hidden[0], bool)]
    with refusing(csnn_jax.UserError, "drop_silent", "res2.weight"):
        channels.without(model, drawn(model), alive)


def test_a_layer_that_would_be_empty_is_refused_by_name():
    model = replace(SMALL, hidden=(6, 5))
    tensors = quiet(model)
    tensors["fc2.weight"][:] = -1.0
    tensors["fc2.bias"][:] = -1.0
    with refusing(csnn_jax.UserError, "drop_silent", "fc2", 40):
        silent.drop(Config(model), tensors, digits(), Work("Exporting"))


def test_weights_with_more_bits_than_a_smaller_layer_allows_are_refused():
    """With 78,400 inputs each neuron has its own grid, of up to 11 bits; with 62,720 all have 8."""
    model = replace(SMALL, conv_channels=(100,), kernel_size=1, pool="none", hidden=(2,))
    tensors = drawn(model)
    tensors["fc1.weight"] /= 64
    tensors["fc1.weight"][:, 0] *= 64
    tensors = on_grid(model, tensors)
    alive = [np.arange(100) < 80, np.ones(2, bool)]
    with refusing(csnn_jax.UserError, "drop_silent", "fc1.weight"):
        channels.without(model, tensors, alive)


@pytest.mark.slow
def test_a_bundle_without_silent_channels_is_a_bundle_of_the_smaller_network(tmp_path):
    name = few_digits(tmp_path / "digits", train=30, test=40)
    run, bundle, whole = make_run(tmp_path / "run", SMALL, name), tmp_path / "bundle", tmp_path / "whole"
    weights.save(run / "weights.safetensors", quiet(SMALL), SMALL)
    assert call("export", run, "--out", whole, "--quick").returncode == 0
    entry = json.loads((whole / "manifest.json").read_text())["results"]["files"]["c/"]
    assert (
        entry["unable_channels"] == {"lif1": 2, "lif2": 8, "lif3": 0} and entry["bounds"]["lif3"]["most_spikes"] == 10
    )
    assert call("export.verify", whole, "--dataset", name).returncode == 0
    done = call("export", run, "--out", bundle, "--quick", "--drop-silent")
    assert done.returncode == 0 and done.stdout.startswith("--drop-silent keeps conv1 "), done
    made, smaller = json.loads((bundle / "manifest.json").read_text()), csnn_jax.load(bundle)
    counts = [*statements.hidden_channels(made["results"]).values()]
    assert made["statements"]["dropped"]["channels"] == {"conv1": 4, "fc1": 16}
    assert [*smaller.config.model.conv_channels, *smaller.config.model.hidden] == counts < [4, 16]
    assert "Made with `--drop-silent`" in (bundle / "report.md").read_text()
    whole = csnn_jax.load(run)
    accuracy = whole.evaluate(data.load(name, SMALL.input_shape).test).accuracy
    assert made["statements"]["dropped"]["accuracy"] == accuracy
    done = call("export.verify", bundle, "--dataset", name)
    assert done.returncode == 0, done.stdout


def test_only_the_frames_within_the_window_count():
    model = replace(SMALL, conv_channels=(), hidden=(2,), scale=1.0, time_steps=2)
    tensors = drawn(model, 0)
    tensors["fc1.weight"][:] = 0.01
    tensors["fc1.bias"][:] = (2.0, -1.0)  # the second fires only with light
    tensors = on_grid(model, tensors)
    frames = np.zeros((30, 4, *model.input_shape), np.uint8)
    frames[:, 2:] = 1
    split = Split(frames, np.arange(30) % 10)
    dataset = replace(digits(), train=split, test=split)
    whole = silent.drop(Config(replace(model, time_steps=4)), tensors, dataset, Work("Exporting"))[2]
    first = silent.drop(Config(model), tensors, dataset, Work("Exporting"))[2]
    assert whole.layers == [("fc1", 2, 2)] and first.layers == [("fc1", 1, 2)]
