"""Operations are those of the footprint."""

import html

import pytest
from bundles import SMALL, make_run
from digits import few_digits

from csnn_jax.report import cost, measure, subject
from csnn_jax.runs import footprint


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cost")
    (folder / "digits").mkdir()
    one = subject.read(str(make_run(folder / "run", SMALL, few_digits(folder / "digits", train=20, test=8))), 0, None)
    return one, measure.measure(one)


def test_the_table_is_that_of_the_footprint(measured):
    one, found = measured
    text = "".join(part.text for part in cost.cost(one, found))
    numbers = footprint.numbers(SMALL, one.tensors, found.activity)
    for layer in numbers["layers"]:
        dense, done = layer["dense_macs_per_step"] * 6, layer["synaptic_operations_first_layer_once"]
        assert f">{dense:,}<" in text and f">{round(done):,}<" in text and f">{done / dense:.1%}<" in text
    assert "Mean of 32 test images." in text and html.escape(numbers["energy"]["source"]) in text
