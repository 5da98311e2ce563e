"""Layers, histograms, filters and feature maps; a network without convolutions has no filters."""

import io
import re
from base64 import b64decode

import numpy as np
import pytest
from bundles import SMALL, SPIKES, make_run
from digits import few_digits
from PIL import Image

from csnn_jax.report import measure, neurons, subject


def made(folder, model):
    (folder / "digits").mkdir()
    one = subject.read(str(make_run(folder / "run", model, few_digits(folder / "digits", train=20, test=30))), 0, None)
    return one, measure.measure(one)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    return made(tmp_path_factory.mktemp("neurons"), SMALL)


def shown(one, found) -> str:
    return "".join(part.text for part in neurons.neurons(one, found))


def pictures(text: str) -> list[np.ndarray]:
    found = [io.BytesIO(b64decode(png)) for png in re.findall(r'src="data:image/png;base64,([^"]*)"', text)]
    return [np.asarray(Image.open(file)) for file in found]


def test_every_layer_has_its_row_and_its_histograms(measured):
    one, found = measured
    text = shown(one, found)
    for name, layer in found.neurons.items():
        assert f"{layer.dead} of {layer.channels}" in text and f"{found.densities[name]:.2%}" in text
        assert f"{name}, firing rates" in text and f"{name}, membranes" in text
    assert text.count('class="plot"') == 2 * len(found.neurons)
    assert "a thousandth of all on either side" in text  # as `measure.histogram` has it


def test_filters_and_feature_maps_are_pictures(measured):
    one, found = measured
    filters, *maps = pictures(shown(one, found))
    assert filters.shape == (3, 4 * 4 - 1, 4), "four filters of 3x3 pixels beside each other"
    weights = one.tensors["conv1.weight"]
    highest = np.unravel_index(weights.argmax(), weights.shape)
    assert tuple(filters[highest[2], 4 * highest[0] + highest[3], :3]) == (176, 70, 0) or weights.max() < -weights.min()
    assert len(maps) == min(10, len(found.examples)) and maps[0].shape == (2 * 15 - 1, 3 * 15 - 1, 4)
    counts = found.examples[0].spikes[0].sum(0)
    assert f"{counts.sum():,} spikes, up to {counts.max()} of a neuron" in shown(one, found)


def test_without_a_convolution_there_are_no_filters(tmp_path):
    text = shown(*made(tmp_path, SPIKES))
    assert "Filters and feature maps: left out, this network has no convolution." in text and pictures(text) == []
