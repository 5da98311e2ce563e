"""Every backend gives the reference's membranes, currents and spikes for every network, or the reason why it can't.

The reference (tests/helpers/reference_graph.py) was written from docs/design.md alone.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch
from backends import BACKENDS, REFUSALS, TOGETHER, WINDOWS, Backend, expected
from networks import NETWORKS, network
from reasons import REASONS
from reference_grids import rounded
from reference_nodes import DEFAULTS
from reference_settings import settings_of

from csnn_jax.runs.equality import differ

pytestmark = pytest.mark.numeric


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Small networks are slower with more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


SLOW = (
    *("1,030 channels", "kernel 7 on spikes", "powers of two", "ten layers", "recurrent, large weights"),
    *("synaptic, averages after", "sums, values per channel", "recurrent twice, averages, 3 bits"),
    *("recurrent on images", "residual, averages after, 3 bits", "mixed neurons", "branches", "delays", "delayed sums"),
    *("feedback", "a recurrent convolution", "70,400 neurons", "full blocks, 70 steps", "2,100 inputs"),
    *("delayed spikes", "one average, no decay, large weights", "recurrent convolution, 4 bits"),
    "averages and sums after, 8 bits",
)
"""Networks that differ least from others; those of the default tests have every kind of layer, neuron and reset."""


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in NETWORKS])
def test_every_backend_equals_the_reference_or_says_why_not(name: str) -> None:
    check(BACKENDS, name)
    if name in TOGETHER:
        check(WINDOWS, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in TOGETHER])
def test_the_engines_other_functions_equal_the_reference(name: str) -> None:
    check(WINDOWS, name)


def test_default_networks_have_every_kind_of_node() -> None:
    def kinds(names: Sequence[str]) -> set[tuple[str, str]]:
        nodes = (node for name in names for node in network(name).described)
        return {(node["operation"], node.get("reset", DEFAULTS["reset"])) for node in nodes}

    assert kinds([name for name in NETWORKS if name not in SLOW]) == kinds(NETWORKS)


def check(backends: dict[str, Backend], name: str) -> None:
    wrong = [f"{backend}: {line}" for backend in backends for line in problems(backends, backend, name)]
    assert not wrong, "\n".join(wrong)


def problems(backends: dict[str, Backend], backend: str, name: str) -> Iterator[str]:
    """One line for each value of a backend that differs from the reference's, or for a wrong reason."""
    run, kinds, whole = backends[backend].run, backends[backend].kinds, backends[backend].whole
    fact = REASONS.get(backend, {}).get(name)
    try:
        values = run(name)
    except REFUSALS as error:
        if fact is None or fact not in str(error) or "\n" in str(error):
            yield f"refused with {error}, expected {fact or 'no error'}"
        return
    if fact is not None:
        yield f"ran, expected an error with {fact}"
    wanted = {key: value for key, value in expected(name).items() if key.rpartition(".")[2] in kinds}
    if missing := wanted.keys() ^ values.keys():
        yield f"missing or unexpected: {', '.join(sorted(missing))}"
    for key in wanted.keys() & values.keys():
        want = wanted[key] if whole else wanted[key][tuple(map(slice, values[key].shape))]
        if want.shape != values[key].shape:
            yield f"{key} has shape {values[key].shape}, expected {want.shape}"
        elif count := differ(values[key], want):
            yield f"{key} differs in {count:,} of {want.size:,} values"


def test_reasons_are_of_networks_and_backends() -> None:
    assert REASONS.keys() <= BACKENDS.keys()
    assert {name for reasons in REASONS.values() for name in reasons} <= {*NETWORKS}


def test_every_layer_spikes_but_not_always() -> None:
    """A silent layer equals any other."""
    for name in NETWORKS:
        layers = list(network(name).layers.values())
        able = len(layers) - (network(name).config.output == "integrator")
        assert all(0.01 < layer["spikes"].mean() < 0.95 for layer in layers[:able]), name
        assert not any(layer["spikes"].any() for layer in layers[able:]), name


@pytest.mark.parametrize("name", NETWORKS)
def test_grids_are_the_references(name: str) -> None:
    """The reference chooses exponents itself here; in the tests above it takes the saved ones, as design.md says."""
    one = network(name)
    masters = {key: value for key, value in one.masters.items() if not key.endswith(".exponents")}
    grids = rounded(one.described, settings_of(one.config), masters)
    assert grids.keys() == one.tensors.keys() - {key for key in one.tensors if key.partition(".")[0] in one.layers}
    for key, values in grids.items():
        np.testing.assert_array_equal(one.tensors[key], values, key)


def test_neurons_settle_stop_at_their_threshold_and_become_subnormal() -> None:
    """In the networks that are there for that."""
    first, second, *_ = network("dark half").layers.values()
    assert not first["spikes"][..., 8:, :].any()
    dark = second["membrane"][-6:, :, :, 5:]
    assert (dark == dark[-1]).all()
    for name in ("even kernels, integrator, 6 bits", "averages, zero, 3 bits", "all pools after, 4 bits"):
        assert sum((layer["membrane"] == 1).sum() for layer in network(name).layers.values()) > 5, name
    for layer in network("counts that end").layers.values():
        assert ((layer["membrane"] != 0) & (abs(layer["membrane"]) < 2.0**-126)).any()
