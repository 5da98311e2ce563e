"""Class folders: their files, order and refusals; and pictures, read as viewers show them."""

from pathlib import Path

import numpy as np
import pytest
from picture_files import COLOR, COLOR_ALPHA, GRAY, GRAY_ALPHA, png, write_shapes
from PIL import Image
from refusals import refusing

from csnn_jax.data import load
from csnn_jax.data.folders import in_turn, read_parts, read_picture, skipped
from csnn_jax.data.images import fit
from csnn_jax.errors import UserError


def made(folder: Path, *names: str) -> str:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return str(folder)


def test_classes_and_files_are_in_the_order_of_their_names(tmp_path):
    where = made(
        tmp_path, "Train/b/2.x", "Train/b/10.X", "Train/b/deep/er/1.x", "Train/a/1.x", "test/a/1.x", "test/b/1.x"
    )
    made(tmp_path, "Train/a/.1.x", "Train/a/.cache/2.x", "Train/.hidden/1.x", "Train/a/notes.txt", "Train/list.x")
    train, test = read_parts(where, (".x",), "things")
    assert [*train] == [*test] == ["a", "b"]
    assert [str(path.relative_to(tmp_path / "Train")) for files in train.values() for path in files] == [
        "a/1.x",
        "b/10.X",
        "b/2.x",
        "b/deep/er/1.x",
    ]


def test_files_that_are_skipped_are_listed(tmp_path):
    where = made(tmp_path, "Train/a/1.x", "Train/a/deep/notes.txt", "test/b/2.y", "list.y", "other/a/1.y", "Train/3.y")
    made(tmp_path, "Train/a/.DS_Store", "Train/.cache/a/1.y")
    (tmp_path / "Train/a/linked").symlink_to(tmp_path / "other")
    first = tmp_path / "Train/a/deep/notes.txt", tmp_path / "Train/a/linked"
    files, links = skipped(where, (".x",), "an x")
    assert files == f"skipped 2 without an x, such as {first[0]}"
    assert links == f"skipped links to folders (1), such as {first[1]}"


def test_the_test_folder_may_be_optional(tmp_path):
    where = made(tmp_path, "train/a/1.x", "train/b/1.x")
    train, test = read_parts(where, (".x",), "things", needs_test=False)
    assert [*train] == ["a", "b"] and test == {}
    with refusing(UserError, "test/CLASS/FILE"):
        read_parts(where, (".x",), "things")


def test_the_first_and_last_files_have_all_classes_in_proportion():
    part = {"few": [Path(f"few/{n}") for n in range(3)], "many": [Path(f"many/{n}") for n in range(12)]}
    files, labels = in_turn(part)
    assert sorted(files) == sorted([*part["few"], *part["many"]])
    for label, name in enumerate(part):
        assert [path for path in files if path.parent.name == name] == part[name]
        so_far = np.cumsum(labels == label)
        share = len(part[name]) / 15 * np.arange(1, 16)
        assert np.abs(so_far - share).max() <= 1
    assert [path.parent.name for path in files] == [tuple(part)[label] for label in labels]
    assert in_turn({"one": part["few"][:1], "three": part["many"][:3]})[1].tolist() == [1, 0, 1, 1]


@pytest.mark.parametrize(
    ("names", "facts"),
    [
        ((), ("no such folder",)),
        (("a/1.x",), ("no folder train",)),
        (("train/1.x",), ("train", "no folders")),
        (("train/a/1.x", "train/b/1.y"), ("train/b",)),
        (("train/a/1.x", "train/b/1.x", "test/a/1.x", "test/c/1.x"), ("class b in train but not in test",)),
        (("train/a/1.x", "test/a/1.x", "test/c/1.x"), ("class c in test but not in train",)),
        (("train/a\nb/1.x",), (r"train/a\nb",)),
        (("train/\udcff/1.x",), (r"train/\udcff",)),
        (("train/-/1.x",), ("train/-",)),
    ],
)
def test_errors_take_one_line(tmp_path, names, facts):
    with refusing(UserError, *facts) as caught:
        where = made(tmp_path / "data", *names) if names else str(tmp_path / "data")
        read_parts(where, (".x",), "things", needs_test=False)
    assert str(caught.value).isprintable()


RANDOM = np.random.default_rng(0)
RGB = RANDOM.integers(0, 256, (8, 6, 3)).astype(np.uint8)
L = RANDOM.integers(0, 256, (8, 6)).astype(np.uint8)
DEEP = RANDOM.integers(0, 65536, (8, 6, 4)).astype(np.uint16)


def read(path, shape=(8, 6, 3)):
    return read_picture(str(path), shape).pixels


def test_classes_are_the_folders_and_images_the_files(tmp_path):
    data = load(write_shapes(tmp_path, {"train": 6, "test": 3}), (16, 16, 1))
    assert (data.names, data.final, data.validation, data.pixels.scale) == (("circle", "cross"), "test", None, 256)
    assert data.train.labels.tolist() == [0, 1] * 6 and data.test.labels.tolist() == [0, 1] * 3
    for split, part in ((data.train, "train"), (data.test, "test")):
        for row, label in enumerate(split.labels):
            with Image.open(tmp_path / part / data.names[label] / f"{row // 2}.png") as file:
                np.testing.assert_array_equal(split.images[row, ..., 0], np.asarray(file))
    assert data.notes == () and data.train.images.dtype == np.uint8


def test_mixed_sizes_and_colors_become_the_wanted_shape(tmp_path):
    for part in ("train", "test"):
        for name in ("a", "b"):
            (tmp_path / part / name).mkdir(parents=True)
            Image.fromarray(RGB).save(tmp_path / part / name / "small.png")
            Image.fromarray(np.repeat(np.repeat(L, 3, 0), 5, 1)).save(tmp_path / part / name / "wide.PNG")
            Image.fromarray(RGB).resize((40, 50)).save(tmp_path / part / name / "x.jpeg")
    name = f"images:{tmp_path}"
    for shape, change in (((8, 6, 3), "gray repeated to color"), ((8, 6, 1), "converted to gray (ITU-R 601 luma)")):
        data = load(name, shape)
        resized = f"{name}: resized to 8x6 (bilinear, antialiased)"
        assert sorted(data.notes) == sorted([resized, f"{name}: {change}"])
        assert data.train.images.shape == (6, *shape)
        np.testing.assert_array_equal(data.train.images[0], fit(RGB[None], shape, "")[0][0])
    with refusing(UserError, "input_shape 8 6 2", 3):
        load(name, (8, 6, 2))


def test_a_note_says_how_to_keep_the_original_size(tmp_path):
    name = write_shapes(tmp_path, {"train": 2, "test": 1})
    note = f"{name}: all pictures have the shape 16 16 1; --input-shape 16 16 1 keeps it"
    assert note in load(name, None).notes and note not in load(name, (8, 8, 1)).notes
    assert load(name, None).train.images.shape[1:] == (28, 28, 1)
    (tmp_path / "train/cross/notes.txt").touch()
    skipped = f"{name}: skipped 1 without a PNG or JPEG extension, such as {tmp_path}/train/cross/notes.txt"
    assert skipped in load(name, None).notes
    Image.fromarray(RGB).save(tmp_path / "test/cross/0.png")
    assert note not in load(name, None).notes


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_upright(tmp_path, orientation):
    ways = Image.Transpose
    back = (None, ways.FLIP_LEFT_RIGHT, ways.ROTATE_180, ways.FLIP_TOP_BOTTOM, ways.TRANSPOSE)
    back += (ways.ROTATE_90, ways.TRANSVERSE, ways.ROTATE_270)  # how a camera held this way turns the scene
    way, exif = back[orientation - 1], Image.Exif()
    exif[0x0112] = orientation
    scene = Image.fromarray(RGB)
    (scene if way is None else scene.transpose(way)).save(tmp_path / "photo.png", exif=exif)
    np.testing.assert_array_equal(read(tmp_path / "photo.png"), RGB)
    turned = Image.fromarray(RGB).resize((60, 80))
    (turned if way is None else turned.transpose(way)).save(tmp_path / "photo.jpg", exif=exif)
    with Image.open(tmp_path / "photo.jpg") as file:
        stored = Image.fromarray(np.asarray(file))
    again = {ways.ROTATE_90: ways.ROTATE_270, ways.ROTATE_270: ways.ROTATE_90}.get(way, way)
    upright = np.asarray(stored if again is None else stored.transpose(again))
    np.testing.assert_array_equal(read(tmp_path / "photo.jpg", (80, 60, 3)), upright)


def on_white(color, alpha):
    """Compositing in real numbers; Pillow's is within 1 of it."""
    return color * (alpha / 255) + 255 * (1 - alpha / 255)


def test_transparent_pixels_are_white(tmp_path):
    alpha = RANDOM.integers(0, 256, (8, 6, 1)).astype(np.uint8)
    alpha[0], alpha[1] = 0, 255
    path = tmp_path / "one.png"
    for color, kind in ((RGB, COLOR_ALPHA), (L[..., None], GRAY_ALPHA)):
        path.write_bytes(png(np.concatenate([color, alpha], -1), kind))
        shape = (8, 6, color.shape[-1])
        pixels = read(path, shape)
        assert np.abs(pixels - on_white(color, alpha)).max() <= 1
        assert (pixels[0] == 255).all() and (pixels[1] == color[1]).all()
    for color, kind in ((RGB, COLOR), (L[..., None], GRAY)):  # one color is transparent
        path.write_bytes(png(color, kind, tuple(color[2, 3].tolist())))
        clear = (color == color[2, 3]).all(-1, keepdims=True)
        np.testing.assert_array_equal(read(path, (8, 6, color.shape[-1])), np.where(clear, 255, color))
    palette = Image.fromarray(L // 64).convert("P")
    palette.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120])
    palette.save(path, transparency=2)
    expected = np.array([[10, 20, 30], [40, 50, 60], [255] * 3, [100, 110, 120]], np.uint8)[L // 64]
    np.testing.assert_array_equal(read(path), expected)


def test_sixteen_bits_become_eight(tmp_path):
    path = tmp_path / "one.png"
    gray = DEEP[..., :1]
    path.write_bytes(png(gray, GRAY))
    np.testing.assert_array_equal(read(path, (8, 6, 1)), np.rint(gray / 257))
    path.write_bytes(png(gray, GRAY, (int(gray[4, 4, 0]),)))
    expected = np.where(gray == gray[4, 4], 255, np.rint(gray / 257))
    np.testing.assert_array_equal(read(path, (8, 6, 1)), expected)
    path.write_bytes(png(DEEP[..., :3], COLOR))
    np.testing.assert_array_equal(read(path), DEEP[..., :3] >> 8)
    for kind, channels in ((GRAY_ALPHA, 2), (COLOR_ALPHA, 4)):
        path.write_bytes(png(DEEP[..., :channels], kind))
        color, alpha = DEEP[..., : channels - 1] / 257, DEEP[..., channels - 1 : channels] / 257
        assert np.abs(read(path, (8, 6, channels - 1)) - on_white(color, alpha)).max() < 3
    spread = np.arange(256, dtype=np.uint16).reshape(16, 16, 1)
    path.write_bytes(png(spread * 257, GRAY))
    np.testing.assert_array_equal(read(path, (16, 16, 1)), spread)


def test_files_of_few_bits_and_photos_with_previews(tmp_path):
    Image.fromarray(L > 99).save(tmp_path / "one.png")
    np.testing.assert_array_equal(read(tmp_path / "one.png", (8, 6, 1))[..., 0], np.where(L > 99, 255, 0))
    photo, preview = Image.fromarray(RGB).resize((60, 80)), Image.new("RGB", (60, 80), "red")
    photo.save(tmp_path / "photo.mpo", save_all=True, append_images=[preview], quality=95)
    photo.save(tmp_path / "plain.jpg", quality=95)
    (tmp_path / "photo.mpo").rename(tmp_path / "photo.jpg")
    plain = read(tmp_path / "plain.jpg", (80, 60, 3))
    np.testing.assert_array_equal(read(tmp_path / "photo.jpg", (80, 60, 3)), plain)


def spoilt(tmp_path, name, make):
    """A data set with one training picture replaced."""
    name = write_shapes(tmp_path, {"train": 2, "test": 1})
    make(tmp_path / "train/cross/1.png")
    return name


def animated(path, form):
    still = Image.fromarray(L)
    still.save(path, form, save_all=True, append_images=[Image.fromarray(255 - L)])


@pytest.mark.parametrize(
    ("make", "facts"),
    [
        (lambda path: (path.unlink(), path.mkdir()), ("a directory",)),
        (lambda path: (path.unlink(), path.symlink_to("nowhere")), ("no such file",)),
        (
            lambda path: animated(path, "PNG"),
            ("animated", "PNG"),
        ),
        (lambda path: Image.fromarray(L).save(path, "GIF"), ("GIF", "PNG", "JPEG")),
        (lambda path: path.write_bytes(b""), ("is empty", "PNG", "JPEG")),
        (lambda path: path.write_bytes(b"no picture"), ("is damaged or isn't a picture", "PNG", "JPEG")),
        (lambda path: path.write_bytes(path.read_bytes()[:-20]), ("is damaged or truncated", "PNG", "JPEG")),
    ],
)
def test_errors_name_unreadable_pictures(tmp_path, make, facts):
    with refusing(UserError, tmp_path / "train/cross/1.png", *facts) as caught:
        load(spoilt(tmp_path, "cross", make), (16, 16, 1))
    assert str(caught.value).isprintable()


def test_without_test_images_the_held_out_ones_are_used(tmp_path):
    name = write_shapes(tmp_path, {"train": 10})
    data = load(name, (16, 16, 1), 4)
    assert (data.final, len(data.train.labels)) == ("validation", 16)
    assert data.test is data.validation and data.test.labels.tolist() == [0, 1, 0, 1]
    assert data.notes == (f"{name}: has no test images; the final accuracy is measured on the held-out images",)
    assert load(name, (16, 16, 1), fallback_validation=4).train.images.tobytes() == data.train.images.tobytes()
    with refusing(UserError, f"name {name}", "validation", 20):
        load(name, (16, 16, 1))


def test_a_subset_has_all_classes_and_a_share_of_the_test_images(tmp_path):
    data = load(write_shapes(tmp_path, {"train": 10, "test": 6}), (16, 16, 1), subset=5)
    assert data.train.labels.tolist() == [0, 1, 0, 1, 0] and data.test.labels.tolist() == [0, 1, 0]
    with refusing(UserError, "subset 21", "1 to 20"):
        load(f"images:{tmp_path}", (16, 16, 1), subset=21)
