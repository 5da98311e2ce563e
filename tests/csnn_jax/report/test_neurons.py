import io
import re
from base64 import b64decode

import numpy as np
from bundles import SPIKES, make_run
from digits import few_digits
from PIL import Image

from csnn_jax.document import html
from csnn_jax.report import measure, neurons, subject


def shown(one, found) -> str:
    return html.blocks(neurons.neurons(one, found))


def pictures(text: str) -> list[np.ndarray]:
    found = [io.BytesIO(b64decode(png)) for png in re.findall(r'src="data:image/png;base64,([^"]*)"', text)]
    return [np.asarray(Image.open(file)) for file in found]


def test_filters_and_feature_maps_are_pictures(measured):
    one, found = measured
    filters, *maps = pictures(shown(one, found))
    assert filters.shape == (3, 4 * 4 - 1, 4), "four filters of 3x3 pixels side by side"
    weights = one.tensors["conv1.weight"]
    highest = np.unravel_index(weights.argmax(), weights.shape)
    assert tuple(filters[highest[2], 4 * highest[0] + highest[3], :3]) == (176, 70, 0) or weights.max() < -weights.min()
    assert len(maps) == min(10, len(found.examples)) and maps[0].shape == (2 * 15 - 1, 3 * 15 - 1, 4)
    counts = found.examples[0].spikes[0].sum(0)
    assert f"{counts.sum():,} spikes, up to {counts.max()} per neuron" in shown(one, found)


def test_an_integrator_has_only_membranes(measured):
    one, found = measured
    text = shown(one, found)
    row = re.search(r"<tr><th[^>]*>lif3</th>(.*?)</tr>", text)[1]
    cells = [re.sub("<[^>]*>", "", cell) for cell in re.findall(r"<td[^>]*>.*?</td>", row)]
    neurons_ = found.neurons["lif3"]
    if one.sums_membranes:
        assert [cells[place] for place in (0, 1, 2, 5, 6)] == ["-", "integrator", "-", "-", "-"]
        assert "lif3, membranes<" in text and "lif3, firing rates" not in text
    else:
        assert cells[2] == f"{neurons_.dead} of 10" and cells[6] == "1"
        assert "lif3, membranes; dashed: the threshold" in text and "lif3, firing rates" in text


def test_without_a_convolution_there_are_no_filters(tmp_path):
    run = make_run(tmp_path / "run", SPIKES, few_digits(tmp_path / "digits", train=20, test=30))
    one = subject.read(str(run), 0, None)
    text = shown(one, measure.measure(one))
    assert "Filters and feature maps: not shown, because this network has no convolution." in text
    assert pictures(text) == []
