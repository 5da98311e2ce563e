"""Synaptic operations of a spiking network compared with a dense one of the same shape."""

from collections.abc import Iterator, Sequence
from typing import Any

from csnn_jax.document import charts
from csnn_jax.document import html as page
from csnn_jax.document.html import Content, Html
from csnn_jax.report.measure import Measured
from csnn_jax.report.subject import ReportedRun
from csnn_jax.runs import footprint


def cost(subject: ReportedRun, measured: Measured) -> Iterator[Content]:
    """Operations and energy of one run's network per image."""
    assert subject.tensors is not None
    numbers = footprint.numbers(subject.config.model, subject.tensors, measured.activity)
    steps = numbers["time_steps"]
    yield page.paragraph(_summary(numbers))
    yield _chart(numbers["layers"], steps)
    rows = [_row(one["name"], one, steps) for one in (*numbers["layers"], {**numbers["total"], "name": "total"})]
    head = ("layer", "parameters", "neurons", "spikes", "operations", "dense", "share")
    yield page.table("Per image, over the whole window", head, rows, stacks=True)
    yield page.folded("Energy estimate", page.paragraph(_energy(numbers["energy"])))


def _summary(numbers: dict[str, Any]) -> str:
    total, steps = numbers["total"], numbers["time_steps"]
    dense, done = total["dense_macs_per_step"] * steps, total["synaptic_operations_first_layer_once"]
    return (
        f"An image takes {_amount(done)} synaptic operations. That is {done / dense:.1%} of the {_amount(dense)} that "
        f"a dense network of this shape takes in {steps} steps. An operation is a nonzero weight times a "
        "nonzero input. The first layer's are counted once if the image is constant. "
        f"Mean of {numbers['images']} test images."
    )


def _chart(layers: Sequence[dict[str, Any]], steps: int) -> Html:
    spiking = [one["synaptic_operations_first_layer_once"] for one in layers]
    groups = {"spiking": spiking, "dense": [steps * one["dense_macs_per_step"] for one in layers]}
    names, axis = [one["name"] for one in layers], {**charts.LOG, "tickformat": "~s"}
    caption = "Operations per image by layer, on a logarithmic scale; the table below has the numbers."
    return charts.dots(caption, names, groups, "operations", y_axis=axis, height=280)


def _amount(number: float) -> str:
    return f"{number / 1e6:,.1f} million" if number >= 1e6 else f"{number:,.0f}"


def _row(name: str, one: dict[str, Any], steps: int) -> tuple[str | int, ...]:
    dense, done = one["dense_macs_per_step"] * steps, one["synaptic_operations_first_layer_once"]
    return (name, one["parameters"], one["neurons"], round(one["spikes"]), round(done), dense, f"{done / dense:.1%}")


def _energy(energy: dict[str, Any]) -> str:
    spent = energy["synapses_nj"] + energy["neurons_nj"]
    return (
        f"{spent:,.0f} nJ per image. A non-spiking network of this shape, which processes an image once, takes "
        f"{energy['one_pass_nj']:,.0f} nJ. Formula: {energy['formula']}. Source: {energy['source']}."
    )
