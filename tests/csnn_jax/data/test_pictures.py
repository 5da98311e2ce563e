import re

import numpy as np
import pytest
from PIL import Image, ImageDraw
from refusals import refusing

from csnn_jax.data import pictures
from csnn_jax.errors import UserError

GRAY = (28, 28, 1)


@pytest.fixture
def drawn(tmp_path):
    """Saves a dark L on white, off center, and returns its path."""

    def make(mode="L", name="l.png", ground="white", ink="black"):
        image = Image.new("RGB", (120, 90), ground)
        draw = ImageDraw.Draw(image)
        draw.line([(80, 10), (80, 60), (105, 60)], fill=ink, width=9)
        image.convert(mode).save(tmp_path / name)
        return str(tmp_path / name)

    return make


def center(image: np.ndarray) -> tuple[float, float]:
    rows, columns = np.indices(image.shape) + 0.5
    return (rows * image).sum() / image.sum(), (columns * image).sum() / image.sum()


@pytest.mark.parametrize(
    ("mode", "name"), [("L", "l.png"), ("RGB", "l.jpg"), ("1", "l.bmp"), ("P", "l.gif"), ("RGBA", "a.png")]
)
def test_a_digit_is_bright_on_dark_fits_20_pixels_and_is_centered_by_mass(drawn, mode, name):
    picture = pictures.read(drawn(mode, name), GRAY, digit=True)
    image = picture.pixels[:, :, 0].astype(float)
    assert picture.pixels.shape == GRAY and picture.pixels.dtype == np.uint8
    assert image.max() > 200 and np.median(image) == 0
    rows, columns = np.flatnonzero(image.any(1)), np.flatnonzero(image.any(0))
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == 20
    assert np.abs(np.subtract(center(image), 14)).max() < 0.75
    size = re.search(r"cropped to (\d+)x(\d+), scaled to (\d+)x20,", str(picture.notes))
    assert int(size[3]) == round(20 * int(size[1]) / int(size[2])) == np.ptp(columns) + 1
    assert any("inverted" in note for note in picture.notes) and any("centered by mass" in n for n in picture.notes)


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("no.png", ("no such file",)),
        ("folder", ("a directory",)),
        ("scan.tiff", ("a picture",)),
        ("gray.png", ("nothing",)),
        ("two.gif", ("animated", "GIF")),
    ],
)
def test_files_without_a_digit_are_refused(name, facts, tmp_path):
    (tmp_path / "folder").mkdir()
    for file in ("scan.tiff", "gray.png"):
        Image.new("L", (50, 50), 99).save(tmp_path / file)
    two = [Image.fromarray(np.full((28, 28), gray, np.uint8)) for gray in (0, 99)]
    two[0].save(tmp_path / "two.gif", save_all=True, append_images=two[1:])
    with refusing(UserError, tmp_path / name, *facts):
        pictures.read(str(tmp_path / name), GRAY, digit=True)


def strokes(tmp_path, *lines):
    image = Image.new("L", (200, 100), "white")
    for line in lines:
        ImageDraw.Draw(image).line(line, fill="black", width=8)
    image.save(tmp_path / "strokes.png")
    return pictures.read(str(tmp_path / "strokes.png"), GRAY, digit=True).notes


def test_warnings_about_pictures_of_more_than_one_digit(tmp_path):
    one, another = [(40, 15), (40, 85)], [(140, 15), (160, 85)]
    frame = [(20, 10), (180, 10), (180, 90), (20, 90), (20, 6)]
    assert any("more than one digit" in note for note in strokes(tmp_path, one, another))
    assert any("a frame around" in note for note in strokes(tmp_path, frame, one))
    for single in (one, [*one, (90, 50)], [(30, 20), (80, 20), (80, 50), (30, 50), (30, 80), (80, 80)]):
        assert not any("warning" in note for note in strokes(tmp_path, single))
