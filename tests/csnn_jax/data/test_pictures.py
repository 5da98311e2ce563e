import numpy as np
import pytest
from PIL import Image, ImageDraw
from refusals import refusing

from csnn_jax.data import pictures
from csnn_jax.errors import UserError

GRAY, COLOUR = (28, 28, 1), (32, 32, 3)


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


def centre(image: np.ndarray) -> tuple[float, float]:
    rows, columns = np.indices(image.shape) + 0.5
    return (rows * image).sum() / image.sum(), (columns * image).sum() / image.sum()


@pytest.mark.parametrize(
    ("mode", "name"), [("L", "l.png"), ("RGB", "l.jpg"), ("1", "l.bmp"), ("P", "l.gif"), ("RGBA", "a.png")]
)
def test_a_digit_is_bright_on_dark_fits_20_pixels_and_is_centered_by_mass(drawn, mode, name):
    found = pictures.read(drawn(mode, name), GRAY, digit=True)
    image = found.pixels[:, :, 0].astype(float)
    assert found.pixels.shape == GRAY and found.pixels.dtype == np.uint8
    assert image.max() > 200 and np.median(image) == 0
    rows, columns = np.flatnonzero(image.any(1)), np.flatnonzero(image.any(0))
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == 20
    assert np.abs(np.subtract(centre(image), 14)).max() < 0.75
    assert any("inverted" in note for note in found.notes) and any("centered by mass" in n for n in found.notes)


def test_transparent_pictures_are_drawn_on_white(tmp_path):
    clear = Image.new("RGBA", (28, 28), (0, 0, 0, 0))
    clear.putpixel((3, 4), (0, 0, 0, 255))
    clear.save(tmp_path / "clear.png")
    found = pictures.read(str(tmp_path / "clear.png"), GRAY, digit=False).pixels[:, :, 0]
    assert found[4, 3] == 255 and found.sum() == 255


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("no.png", ("no such file",)),
        ("folder", ("a directory",)),
        ("scan.tiff", ("a picture",)),
        ("grey.png", ("nothing",)),
    ],
)
def test_files_without_a_digit_are_refused(name, facts, tmp_path):
    (tmp_path / "folder").mkdir()
    for file in ("scan.tiff", "grey.png"):
        Image.new("L", (50, 50), 99).save(tmp_path / file)
    with refusing(UserError, tmp_path / name, *facts):
        pictures.read(str(tmp_path / name), GRAY, digit=True)


def test_phone_photos_are_upright(drawn, tmp_path):
    upright = Image.open(drawn())
    turned = upright.transpose(Image.Transpose.ROTATE_90)  # as the sensor saw it
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn it by 270 degrees
    turned.save(tmp_path / "photo.jpg", exif=exif, quality=100)
    found = pictures.read(str(tmp_path / "photo.jpg"), GRAY, digit=True).pixels.astype(int)
    expected = pictures.read(drawn(), GRAY, digit=True).pixels.astype(int)
    assert np.abs(found - expected).mean() < 3


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


def test_sixteen_bits_are_read_like_eight(drawn, tmp_path):
    eight = np.asarray(Image.open(drawn()))
    Image.fromarray(eight.astype(np.uint16) * 257).save(tmp_path / "sixteen.png")
    found = pictures.read(str(tmp_path / "sixteen.png"), GRAY, digit=True)
    np.testing.assert_array_equal(found.pixels, pictures.read(drawn(), GRAY, digit=True).pixels)
