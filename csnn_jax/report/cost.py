"""Synaptic operations of a spiking network compared with a dense one of the same shape."""

from csnn_jax.document import charts
from csnn_jax.document.blocks import Block, Folded, Paragraph, Table
from csnn_jax.report.measure import Measured
from csnn_jax.report.subject import ReportedRun
from csnn_jax.runs import footprint


def cost(subject: ReportedRun, measured: Measured) -> list[Block]:
    """Operations and energy of one run's network per image."""
    assert subject.tensors is not None
    numbers = footprint.numbers(subject.config.model, subject.tensors, measured.activity)
    layers, steps = numbers["layers"], numbers["time_steps"]
    rows = []
    for layer in (*layers, {**numbers["total"], "name": "total"}):
        dense, done = layer["dense_macs_per_step"] * steps, layer["synaptic_operations_first_layer_once"]
        sizes = (layer["name"], layer["parameters"], layer["neurons"], round(layer["spikes"]))
        rows.append((*sizes, round(done), dense, f"{done / dense:.1%}"))
    summary = (
        f"An image takes {_amount(done)} synaptic operations. That is {done / dense:.1%} of the {_amount(dense)} that "
        f"a dense network of this shape takes in {steps} steps. An operation is a nonzero weight times a "
        "nonzero input. The first layer's are counted once if the image is constant. "
        f"Mean of {numbers['images']} test images."
    )
    groups = {
        "spiking": [layer["synaptic_operations_first_layer_once"] for layer in layers],
        "dense": [steps * layer["dense_macs_per_step"] for layer in layers],
    }
    caption = "Operations per image by layer, on a logarithmic scale; the table below has the numbers."
    head = ("layer", "parameters", "neurons", "spikes", "operations", "dense", "share")
    return [
        Paragraph(summary),
        charts.dots(caption, [layer["name"] for layer in layers], groups, "operations"),
        Table("Per image, over the whole window", head, rows, stacks=True),
        Folded("Energy estimate", (Paragraph(footprint.energy_in_words(numbers["energy"])),)),
    ]


def _amount(number: float) -> str:
    return f"{number / 1e6:,.1f} million" if number >= 1e6 else f"{number:,.0f}"
