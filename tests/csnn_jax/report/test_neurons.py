import io
import re
from base64 import b64decode

import numpy as np
from bundles import SPIKES, make_run
from digits import few_digits
from PIL import Image

from csnn_jax.config import ModelConfig, NodeConfig
from csnn_jax.document import html
from csnn_jax.report import measure, neurons, subject


def shown(one, measurements) -> str:
    return html.blocks(neurons.neurons(one, measurements))


def pictures(text: str) -> list[np.ndarray]:
    files = [io.BytesIO(b64decode(png)) for png in re.findall(r'src="data:image/png;base64,([^"]*)"', text)]
    return [np.asarray(Image.open(file)) for file in files]


def test_filters_and_feature_maps_are_pictures(measured):
    one, measurements = measured
    filters, *maps = pictures(shown(one, measurements))
    assert filters.shape == (3, 4 * 4 - 1, 4), "four filters of 3x3 pixels side by side"
    weights = one.tensors["conv1.weight"]
    highest = np.unravel_index(weights.argmax(), weights.shape)
    assert tuple(filters[highest[2], 4 * highest[0] + highest[3], :3]) == (176, 70, 0) or weights.max() < -weights.min()
    assert len(maps) == min(10, len(measurements.examples)) and maps[0].shape == (2 * 15 - 1, 3 * 15 - 1, 4)
    counts = measurements.examples[0].spikes[0].sum(0)
    assert f"{counts.sum():,} spikes, up to {counts.max()} per neuron" in shown(one, measurements)


def test_an_integrator_has_only_membranes(measured):
    one, measurements = measured
    text = shown(one, measurements)
    row = re.search(r"<tr><th[^>]*>lif3</th>(.*?)</tr>", text)[1]
    cells = [re.sub("<[^>]*>", "", cell) for cell in re.findall(r"<td[^>]*>.*?</td>", row)]
    neurons_ = measurements.neurons["lif3"]
    if one.sums_membranes:
        assert [cells[place] for place in (0, 1, 2, 5, 6)] == ["-", "integrator", "-", "-", "-"]
        assert "lif3, membranes<" in text and "lif3, firing rates" not in text
    else:
        assert cells[2] == f"{neurons_.dead} of 10" and cells[6] == "1"
        assert "lif3, membranes; dashed: the threshold" in text and "lif3, firing rates" in text


def test_feature_maps_are_those_of_the_first_convolutions_neurons(tmp_path):
    """Also if other neurons come before these."""
    nodes = [
        NodeConfig("flat", "flatten", "image"),
        NodeConfig("fc1", "linear", "flat", channels=3),
        NodeConfig("lif1", "leaky", "fc1", threshold=0.1),
        NodeConfig("conv", "convolution", "image", channels=2, kernel=3),
        NodeConfig("lif2", "leaky", "conv", threshold=0.1),
        NodeConfig("flat2", "flatten", "lif2"),
        NodeConfig("fc2", "linear", "flat2", channels=10),
        NodeConfig("fc3", "linear", "lif1", channels=10),
        NodeConfig("lif3", "leaky", ["fc2", "fc3"]),
    ]
    model = ModelConfig(network=nodes, time_steps=3)
    run = make_run(tmp_path / "run", model, few_digits(tmp_path / "digits", train=20, test=30))
    one = subject.read(str(run), 0, None)
    measurements = measure.measure(one)
    counts = measurements.examples[0].spikes[1].sum(0)
    assert counts.shape == (26, 26, 2) and f"{counts.sum():,} spikes, up to {counts.max()}" in shown(one, measurements)


def test_without_a_convolution_there_are_no_filters(tmp_path):
    run = make_run(tmp_path / "run", SPIKES, few_digits(tmp_path / "digits", train=20, test=30))
    one = subject.read(str(run), 0, None)
    text = shown(one, measure.measure(one))
    assert "Filters and feature maps: not shown, because no convolution makes a current" in text
    assert pictures(text) == []
