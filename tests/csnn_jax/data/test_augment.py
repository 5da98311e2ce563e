"""Moving training images: closed forms, bounds, and what the random draws depend on."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from refusals import refusing

from csnn_jax import data
from csnn_jax.config import Config, DataConfig, ModelConfig
from csnn_jax.data.augment import Moves, draw, move, thinned
from csnn_jax.errors import UserError

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 9, 9, 2), np.uint8)
FRAMES = np.random.default_rng(1).integers(0, 256, (3, 4, 8, 11, 2), np.uint8)
AMOUNTS = (2.0, 10.0, 0.1)


def alike(count: int, shift=(0.0, 0.0), turn=0.0, scale=1.0, mirror=False) -> Moves:
    """The same move for every image."""
    amounts = np.full((count, 2), shift, float), np.full(count, turn, float), np.full(count, scale, float)
    return Moves(*amounts, np.full(count, mirror))


def shifted(images: np.ndarray, down: int, right: int) -> np.ndarray:
    """`np.roll` along height and width, with zeros where it wraps around."""
    height, width = images.shape[-3:-1]
    rolled = np.roll(images, (down, right), (-3, -2))
    rolled[..., np.arange(height) < down, :, :] = 0
    rolled[..., np.arange(height) >= height + down, :, :] = 0
    rolled[..., np.arange(width) < right, :] = 0
    rolled[..., np.arange(width) >= width + right, :] = 0
    return rolled


@pytest.mark.parametrize("nearest", [False, True])
class TestMove:
    @pytest.mark.parametrize("images", [IMAGES, FRAMES, IMAGES[:, :1], IMAGES[..., :1], np.full((400, 9, 7, 3), 200)])
    def test_no_move_leaves_the_bytes_alone(self, images, nearest):
        images = images.astype(np.uint8)
        moved = move(images, alike(len(images)), nearest)
        assert moved.dtype == np.uint8 and moved.flags.c_contiguous and moved is not images
        np.testing.assert_array_equal(moved, images)

    @given(down=st.integers(-12, 12), right=st.integers(-12, 12))
    def test_a_whole_pixel_shift_rolls_zeros_in(self, down, right, nearest):
        for images in (IMAGES, FRAMES):
            moved = move(images, alike(len(images), (down, right)), nearest)
            np.testing.assert_array_equal(moved, shifted(images, down, right))

    @pytest.mark.parametrize("quarters", [-2, -1, 1, 2])
    def test_a_quarter_turn_is_rot90(self, quarters, nearest):
        for images in (IMAGES, FRAMES[:, :, :, :8]):
            moved = move(images, alike(len(images), turn=90 * quarters), nearest)
            np.testing.assert_array_equal(moved, np.rot90(images, quarters, (-3, -2)))

    @pytest.mark.parametrize("moves", [{}, {"shift": (1.3, -2.0), "turn": 25.0, "scale": 1.1}])
    def test_an_image_is_mirrored_before_it_is_moved(self, moves, nearest):
        for images in (IMAGES, FRAMES):
            mirrored = move(images, alike(len(images), **moves, mirror=True), nearest)
            np.testing.assert_array_equal(mirrored, move(images[..., ::-1, :], alike(len(images), **moves), nearest))

    def test_half_the_size_takes_every_other_pixel(self, nearest):
        moved = move(IMAGES, alike(5, scale=0.5), nearest)
        expected = np.zeros_like(IMAGES)
        expected[:, 2:7, 2:7] = IMAGES[:, ::2, ::2]  # about the center, pixel 4
        np.testing.assert_array_equal(moved, expected)

    def test_it_turns_and_scales_before_it_shifts(self, nearest):
        both = move(IMAGES, alike(5, (1, -2), 90, 0.5), nearest)
        halved = move(IMAGES, alike(5, scale=0.5), nearest)
        np.testing.assert_array_equal(both, shifted(np.rot90(halved, 1, (1, 2)), 1, -2))

    def test_each_image_has_its_own_move(self, nearest):
        count = 3000  # more than one chunk
        images, moves = IMAGES[np.arange(count) % 5], draw(AMOUNTS, count, (0,))
        moved = move(images, moves, nearest)
        for row in (0, 1, 777, count - 1):
            alone = Moves(*(part[row : row + 1] for part in moves))
            np.testing.assert_array_equal(moved[row : row + 1], move(images[row : row + 1], alone, nearest))


def test_interpolation_weights_four_neighbors():
    """Against the definition in floats, image by image, with sources rounded to 1/256 pixel."""
    moves = draw((3.0, 60.0, 0.4), 5, (7,))
    moved = move(IMAGES, moves)
    ring = np.pad(IMAGES.astype(float), ((0, 0), (40, 40), (40, 40), (0, 0)))
    for n, (shift, turn, scale) in enumerate(zip(*moves[:3], strict=True)):
        cos, sin = np.cos(np.radians(turn)) / scale, np.sin(np.radians(turn)) / scale
        for i, j in np.ndindex(9, 9):
            down, right = i - 4 - shift[0], j - 4 - shift[1]
            source = np.array([cos * down + sin * right, cos * right - sin * down]) + 4
            row, column = np.round(256 * source) / 256
            top, left = int(np.floor(row)), int(np.floor(column))
            y, x = np.array([1 - row + top, row - top]), np.array([1 - column + left, column - left])
            four = ring[n, top + 40 : top + 42, left + 40 : left + 42]
            np.testing.assert_allclose(moved[n, i, j], np.einsum("y,x,yxc->c", y, x, four), atol=0.5)


@pytest.mark.parametrize(
    ("images", "count", "facts"),
    [
        (IMAGES / np.float32(255), len(IMAGES), ("float32", "uint8")),  # as bytes they would be black
        (IMAGES[0], len(IMAGES[0]), ("uint8", "[batch, H, W, C]")),
        (IMAGES, 1, (len(IMAGES), 1)),
    ],
)
def test_invalid_images_and_moves_are_refused(images, count, facts):
    with refusing(ValueError, *facts):
        move(images, draw((1, 0, 0), count, (0,)))


def test_draws_are_uniform_within_their_amounts():
    """Within five standard errors of the mean of a uniform variable, and of its square."""
    count = 40_000
    shift, turn, scale, _ = draw(AMOUNTS, count, (0, 3, 5))
    for values in (shift[:, 0] / 2, shift[:, 1] / 2, turn / 10, (scale - 1) / 0.1):
        assert -1 <= values.min() < -0.999 and 0.999 < values.max() <= 1
        assert abs(values.mean()) < 5 * np.sqrt(1 / 3 / count)
        assert abs((values**2).mean() - 1 / 3) < 5 * np.sqrt(4 / 45 / count)
    assert abs(np.corrcoef([*shift.T, turn, scale]) - np.eye(4)).max() < 5 / np.sqrt(count)


def test_draws_depend_on_the_seed_but_not_on_the_batch_size():
    few, many = draw(AMOUNTS, 3, (0, 3, 1)), draw(AMOUNTS, 128, (0, 3, 1))
    for one, other in zip(few, many, strict=True):
        np.testing.assert_array_equal(one, other[:3])
    for seed in ((0, 3, 2), (1, 3, 1)):
        assert (draw(AMOUNTS, 3, seed).turn != few.turn).all()


def test_flip_mirrors_half_of_the_images_and_changes_no_other_draw():
    plain, flipped = draw(AMOUNTS, 4000, (0, 3, 1)), draw(AMOUNTS, 4000, (0, 3, 1), flip=True)
    for one, other in zip(plain[:3], flipped[:3], strict=True):
        np.testing.assert_array_equal(one, other)
    assert not plain.mirror.any() and abs(flipped.mirror.mean() - 0.5) < 5 * 0.5 / np.sqrt(4000)
    assert abs(np.corrcoef(flipped.mirror, flipped.shift[:, 0])[0, 1]) < 5 / np.sqrt(4000)  # from the same random word
    index = np.arange(4000) % len(IMAGES)
    made = data.Augmentation(IMAGES, None, 0, flip=True).batch(1, index)
    mirrored = (made == IMAGES[index, :, ::-1]).all((1, 2, 3))
    assert (mirrored | (made == IMAGES[index]).all((1, 2, 3))).all()
    np.testing.assert_array_equal(mirrored, draw(AMOUNTS, 4000, (0, 3, 1), flip=True).mirror)


def test_all_events_are_equally_likely_to_be_dropped_and_none_is_added():
    counts = np.random.default_rng(2).integers(0, 16, (40, 8, 8, 2), np.uint8)
    remaining = thinned(counts, 0.3, (0, 5, 1, 2))
    events = int(counts.sum())
    assert remaining.dtype == np.uint8 and (remaining <= counts).all()
    assert abs(remaining.sum() / events - 0.7) < 5 * np.sqrt(0.3 * 0.7 / events)
    shares = [remaining[counts == value].sum() / (counts == value).sum() / value for value in (1, 8, 15)]
    assert max(shares) - min(shares) < 0.1
    np.testing.assert_array_equal(thinned(counts, 0.3, (0, 5, 1, 2)), remaining)
    assert (thinned(counts, 0.3, (0, 5, 1, 3)) != remaining).any() and (thinned(counts, 0.0, (0,)) == counts).all()


def test_dropped_events_depend_on_the_position_in_the_batch():
    """Regardless of which rows a process makes; images of bytes have no events."""
    augmentation = data.Augmentation(FRAMES // 90, None, 3, drop=0.5)
    index = np.array([2, 0, 1])
    whole = augmentation.batch(4, index)
    np.testing.assert_array_equal(augmentation.batch(4, index, slice(1, 3)), whole[1:])
    assert (whole <= FRAMES[index] // 90).all() and (whole < FRAMES[index] // 90).any()
    for images, scale in ((IMAGES, 256.0), (FRAMES, 256.0), (IMAGES // 128, 1.0)):
        with refusing(UserError, "event_drop 0.5"):
            data.Augmentation.of(Config(ModelConfig(scale=scale), DataConfig(event_drop=0.5)), images)


def test_the_moves_are_frozen():
    """Repeating a run requires exactly these images, with any NumPy version."""
    made = data.Augmentation(IMAGES, (2.0, 30.0, 0.25), 7).batch(11, np.array([4, 0, 2, 2]))
    digest = hashlib.sha256(made.tobytes()).hexdigest()
    assert digest == "1691792bef1486352217104f677f237365b6c28a177b253586e7d52442b5512c"
    made = data.Augmentation(FRAMES // 90, (2.0, 30.0, 0.25), 7, drop=0.5).batch(11, np.array([2, 0]))
    digest = hashlib.sha256(made.tobytes()).hexdigest()
    assert digest == "bc753caa8dd21c2537a7ddce2c9e21b5d7a036ad97e1d9bebf82a00c4df0265b"


@pytest.mark.parametrize("images", [IMAGES % 2, FRAMES], ids=["of 0 and 1", "frames"])
def test_values_that_have_no_others_between_them_come_from_the_nearest_pixel(images):
    made = data.Augmentation(images, AMOUNTS, 7).batch(11, np.arange(3))
    np.testing.assert_array_equal(made, move(images[:3], draw(AMOUNTS, 3, (7, 3, 11)), nearest=True))
