"""The reference against hand calculations of graphs, and both frameworks' gradients against it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference_graph as reference
import torch
from drawn_graphs import drawn
from flax import nnx
from networks import Network, network
from reasons import REASONS
from reference_grids import rounded
from reference_nodes import built
from reference_settings import settings_of
from refusals import refusing

from csnn_jax.config import ModelConfig
from csnn_jax.config.network import surrogate_of
from csnn_jax.config.operations import Linear
from csnn_jax.data.images import as_floats
from csnn_jax.engine import scan
from csnn_jax.network.model import from_tensors, tensors
from csnn_jax.runs.layouts import Tensors
from csnn_torch import model as companions

ONE = {"input_shape": (1, 1, 1), "input_bits": 12}
FLAT = {"name": "flat", "operation": "flatten", "inputs": ["image"]}
FC = {"name": "fc", "operation": "linear", "inputs": ["flat"], "channels": 1, "bias": False}
REC = {"name": "rec", "operation": "one_to_one", "inputs": ["lif@1"], "channels": 1}
LIF = {"name": "lif", "operation": "leaky", "inputs": ["fc", "rec"]}


def steps(currents: list[float], weight: float, **settings: Any) -> dict[str, list[float]]:
    """The states of one neuron that also gets `weight` times its last spike."""
    values = {"fc.weight": np.ones((1, 1)), "rec.weight": np.array([weight])}
    x = np.reshape(currents, (-1, 1, 1, 1, 1))
    states = reference.trace([FLAT, FC, REC, LIF | settings], ONE, values, x)["lif"]
    return {name: array.ravel().tolist() for name, array in states.items()}


@pytest.mark.parametrize(
    ("settings", "membranes"),
    [
        ({}, [0.75, 1.125, 0.8125, 2.40625]),
        ({"separate": True}, [0.75, 1.125, 0.8125, 2.40625]),
        ({"reset": "zero"}, [0.75, 1.125, 1.25, 2.5]),
        ({"reset": "mute"}, [0.75, 1.125, 0.0, 2.0]),
        ({"reset": "mute", "separate": True}, [0.75, 1.125, 0.0, 2.0]),
        ({"reset": "deduct"}, [0.75, 1.125, 1.3125, 2.65625]),
        ({"reset": "deduct", "separate": True}, [0.75, 1.125, 1.3125, 2.65625]),
        ({"operation": "synaptic", "reset": "deduct"}, [0.75, 1.5, 2.0625, 3.9375]),
        ({"reset": "none"}, [0.75, 1.125, 1.8125, 3.40625]),
    ],
)
def test_a_recurrent_neuron(settings: dict[str, Any], membranes: list[float]) -> None:
    assert steps([0.75, 0.75, 0.75, 2.0], 0.5, **settings)["membrane"] == membranes


def test_spikes_before_the_first_step_follow_from_the_threshold() -> None:
    values = {"fc.weight": np.ones((1, 1)), "rec.weight": np.array([0.25]), "lif.threshold": np.array(-1.0)}
    states = reference.trace([FLAT, FC, REC, LIF | {"reset": "none"}], ONE, values, np.zeros((2, 1, 1, 1, 1)))
    assert states["lif"]["membrane"].ravel().tolist() == [0.25, 0.375]


def test_a_group_has_one_unit() -> None:
    # t = 9 + 9 = 18: P = 24 - 5 = 19. fc: b = 8, e = 2^-8, x = 0; rec: b = 0, e = 1, x = 4. X = 4, u = 2^-15.
    values = {"fc.weight": np.full((1, 1), 0.7), "rec.weight": np.array([9.3])}
    grids = rounded([FLAT, FC, REC, LIF], ONE | {"input_bits": 8}, values)
    assert grids["rec.weight"].item() == np.rint(9.3 * 2**15) / 2**15
    assert grids["fc.weight"].item() == np.rint(0.7 * 2**7) / 2**7  # multiples of u / e
    few = rounded([FLAT, FC, REC, LIF], ONE | {"input_bits": 8, "weight_bits": 6}, values)
    assert few["fc.weight"].item() == np.rint(0.7 * 2**5) / 2**5
    alone = rounded([FLAT, FC, REC, LIF | {"separate": True}], ONE | {"input_bits": 8}, values)
    assert alone["fc.weight"].item() == np.rint(0.7 * 2**12) / 2**12


def test_a_cycle_an_island_and_an_unknown_reset_are_errors() -> None:
    for kind, reset in (("leaky", "clear"), ("synaptic", "mute"), ("leaky", "other")):
        with refusing(ValueError, "lif", kind, reset):
            built([FLAT, FC, REC, LIF | {"operation": kind, "reset": reset}], ONE)
    with refusing(ValueError, "cycle"):
        built([FLAT, FC, REC | {"inputs": ["lif"]}, LIF], ONE)
    with refusing(ValueError, "image"):
        built([FLAT, FC, LIF | {"inputs": ["fc"]}, REC | {"name": "x", "operation": "leaky", "inputs": ["x"]}], ONE)


def test_sums_and_delays_by_hand() -> None:
    """A neuron without a leak gets its input, that of two steps before, and twice both; its spikes come again later."""
    nodes = [
        FLAT | {"inputs": ["image", "image@2"]},
        FC,
        REC | {"inputs": ["lif@2", "lif@3"]},
        LIF | {"inputs": ["fc", "fc@1", "rec"], "beta": 0.0, "reset": "none"},
    ]
    values = {"fc.weight": np.ones((1, 1)), "rec.weight": np.array([0.5])}
    x = np.reshape([0.5, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0], (-1, 1, 1, 1, 1))
    states = reference.trace(nodes, ONE, values, x)["lif"]
    # fc: 0.5 1 0.5 1 0 0 0; with fc@1: 0.5 1.5 1.5 1.5 1 0 0; spikes at 1, 2, 3, each of which comes twice
    assert states["membrane"].ravel().tolist() == [0.5, 1.5, 1.5, 2.0, 2.0, 1.0, 1.0]
    assert states["spikes"].ravel().tolist() == [0, 1, 1, 1, 1, 0, 0]


def test_sums_of_signals_have_one_step() -> None:
    # The image has b = 8, e = 2^-8; with spikes b = 9, with two more b = 10: B = 24 - 10 - ceil(log2(1 + 8)) = 10.
    nodes = [FLAT, FC, LIF | {"inputs": ["fc"]}, FC | {"name": "fc2", "inputs": ["flat", "lif", "lif@2", "lif@1"]}]
    last = LIF | {"name": "last", "inputs": ["fc2"]}
    values = {"fc.weight": np.ones((1, 1)), "fc2.weight": np.full((1, 1), 0.7)}
    grids = rounded([*nodes, last], ONE | {"input_bits": 8}, values)
    assert grids["fc2.weight"].item() == np.rint(0.7 * 2**10) / 2**10
    twice = rounded([*nodes, last | {"inputs": ["fc2", "fc2@1"]}], ONE | {"input_bits": 8}, values)
    assert twice["fc2.weight"].item() == np.rint(0.7 * 2**9) / 2**9


Cotangents = dict[str, dict[str, np.ndarray]]
GRAPHS = (
    *("recurrent, one weight, synaptic", "feedback", "branches", "residual", "delays", "separate inputs"),
    "deduct",
)
OTHERS = ("mixed neurons", "recurrent", "delayed spikes", "residual, averages after, 3 bits")


@pytest.mark.parametrize("name", [*GRAPHS, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)])
def test_gradients_through_time_equal_the_references(name: str) -> None:
    """Those of the scan engine, and of the companion, whose first currents may be computed before the loop."""
    check(network(name), companion=name not in REASONS["snnTorch"])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 1012))
def test_gradients_of_random_networks_equal_the_references(seed: int) -> None:
    check(drawn(seed), companion=False)


def check(one: Network, companion: bool) -> None:
    """Checks the gradients, in float64, of everything that's learned, for random cotangents of states and output."""
    x, rng = as_floats(one.x, one.config).astype(np.float64), np.random.default_rng(5)
    masters = {key: value.astype(np.float64) for key, value in one.masters.items()}
    cotangents = {name: {"membrane": rng.normal(size=state["membrane"].shape)} for name, state in one.layers.items()}
    *_, (last, state) = one.layers.items()
    cotangents[last]["spikes"] = rng.normal(size=state["spikes"].shape)
    settings = settings_of(one.config) | {"surrogate": surrogate_of(one.config)}
    expected = reference.gradients(one.described, settings, masters, x, cotangents)
    all_gradients = [of_scan(one.config, masters, x, cotangents)]
    if companion:
        all_gradients += [of_companion(one.config, masters, x, cotangents, once) for once in (False, True)]
    nodes = one.config.graph
    learned = {f"{node.name}.{name}" for node in nodes.neurons for name in node.operation.learned}
    learned |= {f"{node.name}.weight" for node in nodes.weighted}
    learned |= {f"{node.name}.bias" for node in nodes.weighted if node.bias}
    for name in learned:
        bound = 1e-10 * max(1, np.abs(expected[name]).max())
        for gradients in all_gradients:
            np.testing.assert_allclose(gradients[name], expected[name], rtol=0, atol=bound, err_msg=name)


def of_scan(config: ModelConfig, masters: Tensors, x: np.ndarray, cotangents: Cotangents) -> Tensors:
    with jax.enable_x64(True):
        graph, parameters, rest = nnx.split(from_tensors(config, masters, jnp.float64), nnx.Param, ...)

        def loss(parameters: Any) -> Any:
            trace = scan.trace(nnx.merge(graph, parameters, rest), jnp.asarray(x))[1]
            read = {name: {"membrane": trace.states[name]["mem"], "spikes": trace.spikes[name]} for name in cotangents}
            return sum((read[name][kind] * d).sum() for name, own in cotangents.items() for kind, d in own.items())

        return tensors(nnx.merge(graph, jax.jit(jax.grad(loss))(parameters), rest))


def of_companion(config: ModelConfig, masters: Tensors, x: np.ndarray, cotangents: Cotangents, once: bool) -> Tensors:
    made = companions.sequential(config, torch.float64)
    companions.load_tensors(made, masters)
    membranes: dict[str, list[torch.Tensor]] = {name: [] for name in cotangents}
    for name, collected in membranes.items():
        made.get_submodule(name).register_forward_hook(
            lambda neurons, inputs, output, collected=collected: collected.append(neurons.mem)
        )
    output = companions.output_of(made, companions.channels_first(x), config.time_steps, "spikes", once)
    *_, last = cotangents
    loss = (output * torch.tensor(cotangents[last]["spikes"])).sum()
    for name, collected in membranes.items():
        d = cotangents[name]["membrane"]
        loss += (torch.stack(collected) * torch.tensor(np.moveaxis(d, -1, 2) if d.ndim == 5 else d)).sum()
    loss.backward()
    return companions.gradients(made)


@pytest.mark.parametrize("name", ["residual, averages after, 3 bits", "delays", "recurrent"])
def test_dropout_drops_spikes_on_their_way_to_linear_layers(name: str) -> None:
    one = network(name)
    graph, masters = one.config.graph, {key: value.astype(np.float64) for key, value in one.masters.items()}
    rng, x = np.random.default_rng(1), as_floats(one.x, one.config).astype(np.float64)
    masks = {node.name: rng.random((len(x), node.size)) < 0.5 for node in graph.feeding(Linear)}
    assert len(masks) > 1 or name == "recurrent"
    factors = {key: 2.0 * mask.reshape(-1, *graph[key].shape) for key, mask in masks.items()}
    expected = reference.trace(one.described, settings_of(one.config), masters, x, np.float64, factors)
    with jax.enable_x64(True):
        model, dropout = from_tensors(one.config, masters, jnp.float64), scan.Dropout(tuple(masks.values()), 2.0)
        output, densities = jax.jit(lambda x: scan.forward_with_densities(model, x, dropout=dropout))(x)
    states = [expected[node.name]["spikes"] for node in graph.neurons]
    np.testing.assert_array_equal(output, states[-1])
    np.testing.assert_allclose(densities, [spikes.mean() for spikes in states], rtol=1e-12)
    assert (states[-1] != list(one.layers.values())[-1]["spikes"]).any()
