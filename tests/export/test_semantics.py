"""Both descriptions of what is computed state the same facts, in the words of existing bundles."""

import json
from dataclasses import replace

import pytest
from bundles import drawn
from export_networks import OTHER as SCALED

from export import semantics
from export.reference import Step

OTHER = replace(SCALED, scale=256.0)
EQUATIONS = {
    "subtract": "U[t] = beta U[t-1] + I[t] - R[t] threshold, R[t] = H(U[t-1] - threshold)",
    "zero": "U[t] = beta (1 - R[t]) U[t-1] + I[t], R[t] = H(U[t-1] - threshold)",
    "none": "U[t] = beta U[t-1] + I[t]",
}
ENCODINGS = {
    "direct": "direct: the same image at every step, or each step's own frame if the data has a time axis",
    "rate": "rate: a pixel spikes at each step with probability pixel / 255",
    "latency": "latency: one spike per pixel at step round((1 - pixel / 255) (T - 1)), none for a pixel of 0",
}


@pytest.mark.parametrize(("reset", "encoding"), [*zip(EQUATIONS, ENCODINGS, strict=True)])
def test_the_words_match_those_in_files(reset, encoding):
    config = replace(OTHER, reset=reset, encoding=encoding)
    network = Step(config, drawn(config, 0))
    graph = semantics.of_graph(network)
    assert graph["equation"] == f"{EQUATIONS[reset]}; S[t] = H(U[t] - threshold); H(x) = 1 where x > 0, else 0"
    assert graph["encoding"] == ENCODINGS[encoding]
    bundle = semantics.of_bundle(network, sequence=encoding != "direct", names=())
    assert bundle["equations"]["membrane"].replace(" * ", " ") == EQUATIONS[reset].split(",")[0]
    assert bundle["input"]["layout"] == ("N, C, H, W" if encoding == "direct" else "T, N, C, H, W")
    assert str([layer["beta"] for layer in bundle["layers"]]) == graph["beta"]
    assert str([layer["threshold"] for layer in bundle["layers"]]) == graph["threshold"]


def test_an_equation_names_its_reset_if_layers_differ_and_every_state_is_named():
    config = replace(OTHER, neuron="synaptic", reset=("zero", "subtract", "zero", "zero"), output="integrator")
    network = Step(config, drawn(config, 0))
    graph, bundle = semantics.of_graph(network), semantics.of_bundle(network, sequence=False, names=())
    assert graph["equation"].split("; ")[:4] == [
        "A[t] = alpha A[t-1] + I[t]",
        "U[t] = (1 - R[t]) (beta U[t-1] + A[t]) (reset zero)",
        "U[t] = beta U[t-1] + A[t] - R[t] threshold (reset subtract)",
        "U[t] = beta U[t-1] + A[t] (reset none), R[t] = H(U[t-1] - threshold)",
    ]
    assert graph["states"] == "syn: A[t], mem: U[t]; 0 before the first step"
    assert graph["reset"] == "zero, subtract, zero, none"
    assert [layer["reset"] for layer in bundle["layers"]] == graph["reset"].split(", ")
    assert json.loads(graph["threshold"])[-1] is bundle["layers"][-1]["threshold"] is None
    assert bundle["states"] == {"syn": "A[t]", "mem": "U[t]"} and bundle["output"] == "membrane"
    assert "sums of the outputs' membranes" in graph["readout"] and "sum of output membranes" in bundle["readout"]


@pytest.mark.parametrize(
    ("pools", "said"),
    [
        ({"pool": "none", "pool_after": True}, "none"),
        ({"pool": "max"}, "2x2 max, before the neurons"),
        ({"pool": "sum", "pool_after": True}, "2x2 sum, after the neurons"),
        ({"pool": ("max", "none")}, "2x2 max after conv1, none after conv2, before the neurons"),
        (
            {"pool": ("avg", "max"), "pool_size": (2, 3), "pool_after": True},
            "2x2 avg after conv1, 3x3 max after conv2, after the neurons",
        ),
    ],
)
def test_pools_are_described_with_their_place(pools, said):
    config = replace(OTHER, **pools)
    bundle = semantics.of_bundle(Step(config, drawn(config, 0)), sequence=False, names=())
    assert bundle["pooling"] == said
    pooled = [layer["operation"].startswith("pool ") for layer in bundle["layers"]]
    assert pooled == ([False, True, True, False] if config.pool_after and said != "none" else [False] * 4)


def test_frames_of_the_data_are_no_constant_image_and_keep_their_scale():
    config = replace(SCALED, scale=64.0)
    given = semantics.of_bundle(Step(config, drawn(config, 0)), sequence=True, names=())["input"]
    assert (given["meaning"], given["layout"]) == ("the frames of the data, one per step", "T, N, C, H, W")
    assert given["shape"] == [2, 12, 10]
    assert given["range"] == "pixel / 64: float32, whole multiples of 1/64 from 0 to 4"


def test_counts_are_integers_up_to_the_networks_limit():
    config = replace(SCALED, scale=1.0, input_bits=4)
    network = Step(config, drawn(config, 0))
    given = semantics.of_bundle(network, sequence=True, names=())["input"]["range"]
    assert given == "pixel: float32, whole multiples of 1 from 0 to 16"
    said = "pixel: whole multiples of 1 from 0 to 16, for which all sums are exact"
    assert semantics.of_graph(network)["image"] == f"float32 [N, channels, height, width], {said}"
