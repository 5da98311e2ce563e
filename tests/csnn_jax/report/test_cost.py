from html import escape

from bundles import SMALL

from csnn_jax.document import html
from csnn_jax.report import cost
from csnn_jax.runs import footprint


def test_the_table_matches_the_footprint(measured):
    one, results = measured
    text = html.blocks(cost.cost(one, results))
    numbers = footprint.numbers(SMALL, one.tensors, results.activity)
    for layer in numbers["layers"]:
        dense, done = layer["dense_macs_per_step"] * 6, layer["synaptic_operations_first_layer_once"]
        assert f">{dense:,}<" in text and f">{round(done):,}<" in text and f">{done / dense:.1%}<" in text
    assert "Mean of 32 test images." in text and escape(numbers["energy"]["source"]) in text
