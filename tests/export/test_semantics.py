"""What is computed is described in the words of existing bundles."""

import json
from dataclasses import replace
from typing import Any

import pytest
from bundles import drawn
from export_networks import GRAPH, RECURRENT
from export_networks import OTHER as SCALED

from csnn_jax.config import ModelConfig
from export import semantics
from export.reference import Step

OTHER = replace(SCALED, scale=256.0)
EQUATIONS = {
    "subtract": "U[t] = beta * U[t-1] + I[t] - R[t] * threshold",
    "zero": "U[t] = beta * (1 - R[t]) * U[t-1] + I[t]",
    "none": "U[t] = beta * U[t-1] + I[t]",
}
ENCODINGS = {
    "direct": "the same image at every step",
    "rate": "each pixel spikes (1, else 0) at each step with probability pixel / 255",
    "latency": "each pixel above 0 spikes once (1, else 0), at step round((1 - pixel / 255) * (T - 1))",
}


def facts(config: ModelConfig, sequence: bool = False) -> dict[str, Any]:
    return semantics.of_bundle(Step(config, drawn(config, 0)), sequence, ())


@pytest.mark.parametrize(("reset", "encoding"), [*zip(EQUATIONS, ENCODINGS, strict=True)])
def test_the_words_match_those_in_files(reset, encoding):
    bundle = facts(replace(OTHER, reset=reset, encoding=encoding), encoding != "direct")
    assert bundle["equations"]["membrane"] == EQUATIONS[reset]
    fired = "none" if reset == "none" else "R[t] = 1 where U[t-1] > threshold, else 0"
    assert bundle["equations"]["reset"] == fired
    assert bundle["equations"]["spike"] == "S[t] = 1 where U[t] > threshold, else 0"
    assert bundle["input"]["meaning"] == ENCODINGS[encoding]
    assert bundle["input"]["layout"] == ("N, C, H, W" if encoding == "direct" else "T, N, C, H, W")


def test_an_equation_names_its_reset_if_layers_differ_and_every_state_is_named():
    bundle = facts(replace(OTHER, neuron="synaptic", reset=("zero", "subtract", "zero", "zero"), output="integrator"))
    assert bundle["equations"]["membrane"].split("; ") == [
        "A[t] = alpha * A[t-1] + I[t]",
        "U[t] = (1 - R[t]) * (beta * U[t-1] + A[t]) (reset zero)",
        "U[t] = beta * U[t-1] + A[t] - R[t] * threshold (reset subtract)",
        "U[t] = beta * U[t-1] + A[t] (reset none)",
    ]
    assert bundle["reset"] == "zero, subtract, zero, none" == ", ".join(layer["reset"] for layer in bundle["layers"])
    assert bundle["layers"][-1]["threshold"] is None
    assert bundle["states"] == {"syn": "A[t]", "mem": "U[t]"} and bundle["output"] == "membrane"
    assert "sum of output membranes" in bundle["readout"]


def test_layers_of_a_graph_name_what_they_read_and_how_they_add_it():
    bundle = facts(GRAPH)
    first, second, third, last = bundle["layers"]
    assert first["operation"] == (
        "image -> mem1 (kernel 3, stride 1, padding 1) + counts[t-1] -> back (kernel 1, stride 1, no padding, no bias)"
    )
    assert third["operation"].startswith("counts -> window (2x2 avg) -> scores -> time_steps (linear) + batch[t-1] -> ")
    assert [one["layer"] for one in bundle["layers"]] == ["t", "counts", "batch", "out"]
    assert [one["kind"] for one in bundle["layers"]] == ["leaky", "synaptic", "synaptic", "leaky"]
    assert "alpha" in second and "alpha" not in first | last and bundle["states"] == {"mem": "U[t]", "syn": "A[t]"}
    assert bundle["equations"]["currents"].split("; ") == [
        "I[t] = the sum of a layer's inputs, exact in any order",
        "in t, batch, + I[t] adds the inputs one by one, in order, and rounds each sum",
        "NAME[t-1] = the spikes S[t-1] of layer NAME",
        "S[-1] = 1 where 0 > threshold, else 0",
    ]
    assert bundle["equations"]["membrane"].split("; ") == [
        "U[t] = (1 - R[t]) * (beta * U[t-1] + I[t]) (leaky, reset mute)",
        "U[t] = beta * U[t-1] + I[t] - R[t] * threshold (leaky, reset subtract)",
        "A[t] = alpha * A[t-1] + I[t] (synaptic)",
        "U[t] = (1 - R[t]) * (beta * U[t-1] + A[t]) (synaptic, reset zero)",
        "U[t] = beta * U[t-1] + A[t] - R[t] * threshold (synaptic, reset subtract)",
    ]
    assert bundle["pooling"] == "window 2x2 avg" and "currents" not in facts(OTHER)["equations"]
    recurrent = facts(RECURRENT)["layers"]
    assert [one["layer"] for one in recurrent] == ["lif1", "lif2", "lif3", "lif4"] and "kind" not in recurrent[0]
    assert recurrent[2]["operation"].endswith(" + lif3[t-1] -> rec2 (one weight for each feature, no bias)")


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
    bundle = facts(config)
    assert bundle["pooling"] == said
    pooled = [layer["operation"].startswith("pool ") for layer in bundle["layers"]]
    assert pooled == ([False, True, True, False] if config.pool_after and said != "none" else [False] * 4)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"scale": 64.0}, "pixel / 64: float32, whole multiples of 1/64 from 0 to 4"),
        (
            {"scale": 1.0, "input_bits": 4},
            "pixel: float32, whole multiples of 1 from 0 to 16",
        ),
        ({"encoding": "rate"}, "spikes: float32, 0 or 1"),
    ],
)
def test_frames_of_the_data_are_no_constant_image_and_keep_their_scale(changes, said):
    frames = facts(replace(SCALED, **changes), sequence=True)["input"]
    assert frames["layout"] == "T, N, C, H, W" and frames["shape"] == [2, 12, 10] and frames["range"] == said
    assert "encoding" in changes or frames["meaning"] == "the frames of the data, one per step"


def test_metadata_are_the_same_facts_as_text():
    bundle = facts(OTHER)
    texts = semantics.metadata(bundle)
    assert texts["neuron"] == bundle["neuron"] and json.loads(texts["layers"]) == bundle["layers"]
    assert texts.keys() == bundle.keys() and all(isinstance(value, str) for value in texts.values())
