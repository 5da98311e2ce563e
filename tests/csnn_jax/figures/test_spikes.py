"""spikes.png: rasters of named neurons, for images and layers of any kind."""

import numpy as np
import pytest
from drawn import check_printable, words

from csnn_jax.figures import spikes
from csnn_jax.figures.spikes import Sample


def sample(shape=(8, 8, 1), layers=((14, 14, 8), (7, 7, 4), (30,), (3,)), steps=50, threshold=1.0) -> Sample:
    rng = np.random.default_rng(0)
    membranes = [rng.normal(size=(steps, *layer)) for layer in layers]
    image = rng.integers(0, 256, shape, np.uint8)
    names = [*map(str, range(layers[-1][0]))]
    return Sample(image, 1, membranes, [m > threshold for m in membranes], [threshold] * len(layers), names)


@pytest.mark.parametrize(
    "kind",
    [
        {"shape": (8, 8, 3), "layers": ((3,),), "steps": 1},
        {"shape": (50, 8, 8, 2), "layers": ((30,), (200,)), "steps": 1000},
        {"shape": (34, 20, 1), "layers": ((5, 4, 300), (12,), (40,), (20,)), "steps": 7},
    ],
    ids=str,
)
def test_images_stacks_and_windows_of_any_kind_are_drawn(kind):
    check_printable(spikes.draw(sample(**kind)))


def test_classes_have_their_names():
    names = ("cat", "$dog$", "a spider that is very long")
    figure = spikes.draw(sample(layers=((7, 7, 4), (3,)))._replace(names=names))
    check_printable(figure)
    texts = words(figure)
    assert texts.count("a spider\N{HORIZONTAL ELLIPSIS}") == texts.count("cat") == 2  # raster and bars
    assert "test image, class $dog$" in texts
    assert any(text.startswith("a spider\N{HORIZONTAL ELLIPSIS}: ") for text in texts)  # membranes


def test_a_silent_network_can_be_drawn():
    figure = spikes.draw(sample(layers=((7, 7, 4), (30,), (3,)), threshold=np.inf)._replace(thresholds=[1.0] * 3))
    check_printable(figure)
    assert words(figure).count("no spike") == 2


def test_an_integrator_has_sums_of_membranes_and_no_raster():
    one = sample(layers=((4, 4, 2), (10,)))._replace(thresholds=[1.0, None])
    figure = spikes.draw(one)
    check_printable(figure)
    panels = {axes.get_title(loc="left"): axes for axes in figure.axes}
    assert not any("LIF 2" in title for title in panels) and "output spikes" not in panels
    sums = [bar.get_width() for bar in panels["summed membranes"].patches]
    np.testing.assert_array_equal(sums, one.membranes[-1].sum(0))


def test_neurons_are_named_by_channel_row_and_column():
    fired = np.zeros((10, 4, 5, 6), bool)
    fired[:, 3, 2, 1] = True  # row 3, column 2, channel 1
    fired[2:5, 0, 4, 5] = True
    one = sample(layers=((4, 5, 6), (3,)), steps=10)
    figure = spikes.draw(one._replace(spikes=[fired, one.spikes[1]]))
    texts = words(figure)
    assert "1/3/2: 10 spikes" in texts and "5/0/4: 3" in texts
    raster = figure.axes[1]
    assert [label.get_text() for label in raster.get_yticklabels()] == ["1/3/2", "5/0/4"]  # the most spikes on top
    assert raster.get_title(loc="left") == "LIF 1: the 2 that spike, of 120 neurons; density 1.1%"
    drawn = {line.get_lineoffset(): len(line.get_segments()) for line in raster.collections}
    assert drawn == {0: 10, 1: 3}


def test_the_output_has_a_row_and_a_bar_for_each_class():
    one = sample(layers=((4, 4, 2), (10,)))
    figure = spikes.draw(one)
    bars = next(axes for axes in figure.axes if axes.get_title(loc="left") == "output spikes")
    assert [bar.get_width() for bar in bars.patches] == one.spikes[-1].sum(0).tolist()
    assert [label.get_text() for label in bars.get_yticklabels()] == list(map(str, range(10)))
