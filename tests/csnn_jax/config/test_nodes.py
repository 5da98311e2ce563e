"""Networks of nodes: what's refused, and that random changes of a description are refused or run."""

import copy
import json
import random
from typing import Any

import numpy as np
import pytest
from backends import simulated
from limits import limited
from networks import Recipe, made
from refusals import refused, refusing

from csnn_jax import NodeConfig
from csnn_jax.config import ModelConfig
from csnn_jax.config.nodes import MOST_BYTES, OPERATIONS, read
from csnn_jax.data.images import as_floats
from csnn_jax.errors import UserError
from csnn_jax.options import from_json, to_json

Json = dict[str, Any]
SHAPE = (6, 6, 1)


def node(name: str, operation: str, *inputs: str, **settings: Any) -> Json:
    return {"name": name, "operation": operation, "inputs": list(inputs)} | settings


FLAT, FC, LIF = node("flat", "flatten", "image"), node("fc", "linear", "flat", channels=3), node("lif", "leaky", "fc")
CONV, OTHER = node("conv", "convolution", "image", channels=3, kernel=3), node("b", "linear", "flat", channels=4)
NEXT = (node("fc2", "linear", "lif", channels=3), node("end", "leaky", "fc2"))
EARLY = node("early", "leaky", "conv")
REC = node("rec", "linear", "lif@1", channels=3)


def recurrent(reads: str) -> list[Json]:
    return [FLAT, FC, LIF | {"inputs": ["fc", "rec"]}, REC | {"inputs": [reads]}]


INVALID: dict[str, tuple[Any, tuple[object, ...]]] = {
    "cycle": (recurrent("lif"), ("lif -> rec -> lif", "lif@1")),
    "own spikes": ([FLAT, FC, LIF | {"inputs": ["lif"]}], ("lif -> lif", "lif@1")),
    "unknown node": ([FLAT, FC | {"inputs": ["flatten"]}, LIF], ("fc", "flatten", "flat")),
    "unknown operation": ([FLAT, FC | {"operation": "dense"}, LIF], ("fc", "dense", *OPERATIONS)),
    "unknown setting": ([FLAT, FC | {"width": 3}, LIF], ("fc", "width", "linear", "channels", "bias")),
    "a setting called self": ([FLAT | {"self": 1}, FC, LIF], ("flat", "self")),
    "missing setting": ([FLAT, node("fc", "linear", "flat"), LIF], ("fc", "channels")),
    "wrong value": ([FLAT, FC, LIF | {"beta": 2}], ("lif", "beta 2", 0, 1)),
    "NaN": ([FLAT, FC, LIF | {"beta": float("nan")}], ("lif", "beta nan", 0, 1)),
    "reset": ([FLAT, FC, LIF | {"reset": "clear"}], ("lif", "reset clear", "mute")),
    "different shapes": ([FLAT, FC, OTHER, LIF | {"inputs": ["fc", "b"]}], ("lif", "fc", "(3,)", "b", "(4,)")),
    "features as an image": (
        [FLAT, CONV | {"inputs": ["flat"]}, LIF | {"inputs": ["conv"]}],
        ("conv", "flat", "(36,)"),
    ),
    "one name twice": ([FLAT, FC, FC, LIF], ("fc", "another node")),
    "unreachable": (
        [FLAT, FC, LIF, node("x", "linear", "y@1", channels=3), node("y", "leaky", "x"), *NEXT],
        ("x", "image"),
    ),
    "two outputs": ([FLAT, FC, LIF, OTHER, node("lif2", "leaky", "b")], ("lif", "lif2", "one output")),
    "negative delay": (recurrent("lif@-1"), ("rec", "lif@-1", "whole steps", "lif@1")),
    "a delay of 1.5 steps": (recurrent("lif@1.5"), ("rec", "lif@1.5", "whole steps")),
    "a delay that's no number": (recurrent("lif@²"), ("rec", "whole steps")),
    "a delay over the window": (recurrent("lif@101"), ("rec", "lif@101", 100, "time_steps")),
    "a current of itself": (recurrent("rec@1"), ("rec", "cycle without neurons")),
    "a pool of itself": (
        [CONV, node("p", "max_pool", "conv", "p@1", stride=1), LIF | {"inputs": ["p"]}],
        ("p", "conv of shape (4, 4, 3)", "(3, 3, 3)"),
    ),
    "one input twice": ([FLAT, FC, LIF | {"inputs": ["fc", "fc@1", "fc"]}], ("lif", "fc", "twice")),
    "a delayed input twice": ([FLAT, FC, LIF | {"inputs": ["fc@2", "fc@2"]}], ("lif", "fc@2", "twice")),
    "spikes of neurons": ([FLAT, FC, LIF | {"inputs": ["fc", "lif@1"]}], ("lif", "current")),
    "a current and spikes": (
        [CONV, EARLY, CONV | {"name": "c", "inputs": ["early"], "padding": 1}, node("p", "max_pool", "c", "early")],
        ("p", "early", "c", "one kind"),
    ),
    "features in other orders": (
        [
            CONV,
            EARLY,
            node("f", "flatten", "early"),
            node("wide", "convolution", "image", channels=12, kernel=5),
            node("two", "leaky", "wide"),
            node("g", "flatten", "two"),
            FC | {"inputs": ["f", "g"]},
            LIF,
        ],
        ("fc", "f", "g", "different orders"),
    ),
    "delay into a cycle": (
        [
            FLAT | {"inputs": ["last@1"]},
            FC,
            LIF,
            *NEXT,
            node("last", "leaky", "other"),
            node("other", "linear", "last", channels=3),
        ],
        ("last", "other", "last@1"),
    ),
    "inexact average": (
        [CONV, node("p", "avg_pool", "conv", size=3), LIF | {"inputs": ["p"]}],
        ("p", "size 3", "power of two"),
    ),
    "integrator in the middle": ([FLAT, FC, LIF | {"integrator": True}, *NEXT], ("lif", "integrator", "end")),
    "spikes of an integrator": (
        [FLAT, FC, LIF | {"inputs": ["fc", "rec"], "integrator": True}, REC],
        ("rec", "lif@1", "integrator", "never spikes"),
    ),
    "names as text": ([FLAT, FC, LIF | {"learn": "beta"}], ("lif", "learn beta", "a list")),
    "convolution at the end": ([CONV], ("conv", "neurons")),
    "image at the end": ([CONV, LIF | {"inputs": ["conv"]}], ("lif", "(4, 4, 3)", "classes", 2)),
    "one class": ([FLAT, FC | {"channels": 1}, LIF], ("lif", "(1,)", "classes", 2)),
    "no inputs": ([FLAT, FC, LIF | {"inputs": []}], ("lif", "inputs")),
    "a name with a dot": ([FLAT | {"name": "a.b"}, FC, LIF], ("a.b", "letter")),
    "a number among inputs": ([FLAT, FC, LIF | {"inputs": ["fc", 3]}], ("lif", "inputs")),
    "a delay of nine digits": (recurrent("lif@100000000"), ("rec", "whole steps")),
    "a name of 42 letters": ([FLAT | {"name": "a" * 42}, FC, LIF], ("letter", 40)),
    "a name that begins with a digit": ([FLAT | {"name": "1a"}, FC, LIF], ("1a", "letter")),
    "too many features": ([FLAT, FC | {"channels": 2**24 + 1}, LIF], ("fc", "16,777,216")),
    "no nodes": ([], ("list of nodes",)),
    "no list": ("fc", ("list of nodes",)),
    "no node": ([3], ("node 1", 3, "name", "operation", "inputs")),
    "a key that isn't a name": ([FLAT | {1: 2}], ("node 1", "name")),
    "100,000 nodes": ([FLAT, FC, LIF, OTHER] * 25_000, (100_000, 3_000)),
}


@pytest.mark.parametrize("name", INVALID)
def test_a_network_that_cannot_be_built_names_the_node(name: str) -> None:
    nodes, facts = INVALID[name]
    with limited(), refusing(UserError, *facts):
        ModelConfig(SHAPE, network=nodes)


def test_too_few_bits_name_the_nodes_that_share_them() -> None:
    nodes = [FLAT, *({**FC, "name": name} for name in ("x", "y", "z")), LIF | {"inputs": ["x", "y", "z"]}]
    with refusing(UserError, "x", "1,600 inputs of 8 bits", "y", "z", 3, 4):
        ModelConfig((40, 40, 1), network=nodes)


@pytest.mark.parametrize("of", ["image", "conv"])
def test_doubled_sums_stop_at_24_bits(of: str) -> None:
    """So do the parts of a current, of which there would be 2^30."""
    nodes, last = [CONV], of
    for number in range(30):
        nodes.append(node(f"p{number}", "max_pool", last, f"{last}@1", stride=1))
        last = f"p{number}"
    with refusing(UserError, "p16" if of == "image" else "p24", "2^25", "2^24"):
        ModelConfig((40, 40, 1), network=[*nodes, LIF | {"inputs": [last]}])


def test_thousands_of_nodes_take_seconds() -> None:
    nodes = [FLAT, *recurrent("lif@1")[1:]]
    for number in range(900):
        before = f"n{number - 1}" if number else "lif"
        nodes += [
            node(f"f{number}", "linear", before, channels=3),
            node(f"n{number}", "leaky", f"f{number}", f"r{number}"),
            node(f"r{number}", "one_to_one", f"n{number}@1", channels=3),
        ]
    with limited():
        assert len(ModelConfig(SHAPE, network=nodes[::-1]).graph.neurons) == 901


@pytest.mark.parametrize("flags", [{"hidden": (5,)}, {"recurrent": ("fc1",)}, {"beta": 0.9}, {"pool": "avg"}])
def test_options_of_chains_are_refused(flags: Json) -> None:
    with refusing(UserError, *flags, "no network"):
        ModelConfig(SHAPE, network=[FLAT, FC, LIF], **flags)


@pytest.mark.parametrize(("name", "value", "own"), [("num_classes", 5, 3), ("output", "integrator", "spiking")])
def test_what_the_last_node_determines_must_match_it(name: str, value: Any, own: Any) -> None:
    nodes = [FLAT | {"name": "a" * 41}, FC | {"inputs": ["a" * 41]}, *recurrent("lif@100")[2:]]
    assert getattr(ModelConfig(SHAPE, network=nodes), name) == own
    with refusing(UserError, f"{name} {value}", own):
        ModelConfig(SHAPE, network=nodes, **{name: value})


@pytest.mark.parametrize("names", [("fc9",), ("conv1",), ("fc1", "fc1:one"), ("fc1:two",), ("fc0",)])
def test_recurrent_layers_are_linear_layers(names: tuple[str, ...]) -> None:
    with refusing(UserError, f"recurrent {' '.join(names)}", "fc1"):
        ModelConfig(recurrent=names)


def test_an_integrators_spikes_are_not_fed_back() -> None:
    with refusing(UserError, "recurrent fc2", "output integrator"):
        ModelConfig(recurrent=("fc2",), output="integrator")
    assert ModelConfig(recurrent=("fc1",), output="integrator").graph.recurrent


FILES = {
    "empty": b"",
    "binary": bytes(range(256)),
    "truncated": json.dumps([FLAT, FC, LIF]).encode()[:-5],
    "nested 10,000 deep": b"[" * 10_000 + b"]" * 10_000,
    "NaN": b"[NaN]",
    "a number": b"3",
    "a run without a network": b'{"model": {"hidden": [5]}}',
    "too large": b" " * (MOST_BYTES + 1),
    "a long number": b"[" + b"9" * 5000 + b"]",
}


@pytest.mark.parametrize("content", FILES)
def test_a_file_that_is_no_network_is_refused(content: str, tmp_path) -> None:
    path = tmp_path / "network.json"
    path.write_bytes(FILES[content])
    with refusing(UserError, path):
        read(str(path))
    if content in ("empty", "NaN"):
        refused("csnn_jax.train", "--network", path, "--out", tmp_path / "run", names=("--network", path))


def test_a_path_without_a_file_is_refused(tmp_path) -> None:
    for path in (tmp_path, tmp_path / "missing", "/dev/zero"):
        with refusing(UserError, path):
            read(str(path))


def test_a_file_is_a_list_or_a_runs_configuration(tmp_path) -> None:
    nodes, path = recurrent("lif@1"), tmp_path / "network.json"
    path.write_text(json.dumps(nodes))
    assert read(str(path)).described() == nodes
    config = ModelConfig(SHAPE, network=nodes)
    path.write_text(json.dumps({"model": json.loads(to_json(config))}))
    path = path.rename(tmp_path / "config.json")
    assert read(str(path)) == read(str(tmp_path)) == config.network
    assert from_json(ModelConfig, to_json(config), "it") == config
    assert ModelConfig(SHAPE, network=[NodeConfig(**one) for one in nodes]) == config


VALID = [
    CONV | {"padding": 1},
    node("pool", "avg_pool", "conv", "conv@2"),
    node("early", "leaky", "pool", reset="zero", learn=["beta"]),
    CONV | {"name": "late", "inputs": ["early"], "padding": 1},
    node("block", "leaky", "late"),
    node("flat", "flatten", "block", "early@3"),
    FC,
    *recurrent("lif@1")[2:],
    node("end", "linear", "lif", channels=4),
    node("last", "synaptic", "end", alpha=0.5),
]
WORDS = [*OPERATIONS, "image", "lif@1", "last@1", "lif@2", "", "é", None, True, -1, 0, 2, 3, 10**9, 0.5, [], {}, ["fc"]]


def mutated(rng: random.Random) -> Any:
    """A description with one to three random changes."""
    nodes: Any = copy.deepcopy(VALID)
    for _ in range(rng.randint(1, 3)):
        one = rng.choice(nodes)
        match rng.randrange(6):
            case 0:
                nodes.remove(one)
            case 1:
                nodes.append(copy.deepcopy(one))
            case 2:
                one[rng.choice([*one, "stride", "padding", "separate", "size", "bias"])] = rng.choice(WORDS)
            case 3:
                one["inputs"] = [rng.choice([each["name"] for each in VALID]) + rng.choice(["", "", "@1", "@2"])]
            case 4 if isinstance(one.get("inputs"), list):
                one["inputs"].append(rng.choice([each["name"] for each in VALID]) + rng.choice(["", "@1", "@3"]))
            case _:
                one.pop(rng.choice([*one]))
        if not nodes:
            break
        nodes = [each for each in nodes if each]
        rng.shuffle(nodes)
    return nodes


@pytest.mark.parametrize("seed", range(4))
def test_changed_descriptions_are_refused_or_run(seed: int) -> None:
    rng, ran = random.Random(seed), 0
    for _ in range(300):
        nodes = mutated(rng)
        try:
            config = ModelConfig(SHAPE, network=nodes, time_steps=3)
        except UserError as error:
            assert len(str(error).splitlines()) == 1, nodes
            continue
        if all(one.size < 10_000 for one in config.graph.neurons) and ran < 8:
            ran += 1
            one = made(Recipe(config), seed)
            values = simulated(config, one.tensors, as_floats(one.x, config))
            for name, states in one.layers.items():
                np.testing.assert_array_equal(values[f"{name}.membrane"], states["membrane"])
    assert ran
