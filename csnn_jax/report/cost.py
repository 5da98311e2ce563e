"""Synaptic operations of a spiking network against those of a dense one of the same shape."""

from collections.abc import Iterator
from typing import Any

from csnn_jax.report import charts, page
from csnn_jax.report.measure import Measured
from csnn_jax.report.page import Content
from csnn_jax.report.subject import Subject
from csnn_jax.runs import footprint


def cost(subject: Subject, found: Measured) -> Iterator[Content]:
    """What an image costs one run's network."""
    assert subject.tensors is not None
    numbers = footprint.numbers(subject.config.model, subject.tensors, found.activity)
    total, steps = numbers["total"], numbers["time_steps"]
    dense, done = total["dense_macs_per_step"] * steps, total["synaptic_operations_first_layer_once"]
    yield page.paragraph(
        f"An image takes {_amount(done)} synaptic operations. That is {done / dense:.1%} of the "
        f"{_amount(dense)} that a dense network of this shape takes in {steps} steps. An operation is a "
        "weight that is not 0 meeting an input that is not 0. The first layer's are counted once where the image is "
        f"held. Mean of {numbers['images']} test images."
    )
    names = [one["name"] for one in numbers["layers"]]
    spiking = [one["synaptic_operations_first_layer_once"] for one in numbers["layers"]]
    groups = {"spiking": spiking, "dense": [steps * one["dense_macs_per_step"] for one in numbers["layers"]]}
    axis = {**charts.LOG, "tickformat": "~s"}
    caption = "Operations of an image by layer"
    yield charts.grouped(caption, names, groups, "operations (log scale)", y_axis=axis, height=280)
    rows = [_row(one["name"], one, steps) for one in (*numbers["layers"], {**total, "name": "total"})]
    head = ("layer", "parameters", "neurons", "spikes", "operations", "dense", "share")
    yield page.table("Of an image, over the whole window", head, rows)
    energy = numbers["energy"]
    yield page.folded("Energy, by a proxy", page.paragraph(_energy(energy)))


def _amount(number: float) -> str:
    return f"{number / 1e6:,.1f} million" if number >= 1e6 else f"{number:,.0f}"


def _row(name: str, one: dict[str, Any], steps: int) -> tuple[str | int, ...]:
    dense, done = one["dense_macs_per_step"] * steps, one["synaptic_operations_first_layer_once"]
    return (name, one["parameters"], one["neurons"], round(one["spikes"]), round(done), dense, f"{done / dense:.1%}")


def _energy(energy: dict[str, Any]) -> str:
    spent = energy["synapses_nj"] + energy["neurons_nj"]
    return (
        f"{spent:,.0f} nJ an image, {energy['dense_nj']:,.0f} nJ if computed densely. Formula: {energy['formula']}. "
        f"Source: {energy['source']}."
    )
