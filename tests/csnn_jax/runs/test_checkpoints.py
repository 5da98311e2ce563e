"""Checkpoints: restored bit for bit, named and skipped if damaged, and chosen by name."""

import shutil

import numpy as np
import pytest
from refusals import refusing

from csnn_jax.config import ModelConfig
from csnn_jax.errors import UserError
from csnn_jax.runs import checkpoints, layouts, weights

MODEL = ModelConfig(input_shape=(2, 2, 1), conv_channels=(), hidden=(), num_classes=3)


def state(seed: int = 0, **others: np.ndarray) -> checkpoints.State:
    """A matrix, a count, and a float64 array."""
    rng = np.random.default_rng(seed)
    count = {"optimizer/count": np.array(seed, np.int32), "wide": rng.normal(size=2)}
    return {"params/kernel": rng.normal(size=(3, 4)).astype(np.float32)} | count | others


def write(directory, iteration: int, seed: int = 0) -> checkpoints.State:
    tensors = {name: np.full(shape, seed, np.float32) for name, shape in layouts.expected_shapes(MODEL).items()}
    checkpoints.write(directory, iteration, written := state(seed), weights.to_bytes(tensors, MODEL))
    return written


def assert_same(restored: checkpoints.State, expected: checkpoints.State) -> None:
    assert restored.keys() == expected.keys()
    for name, array in expected.items():
        assert (restored[name].dtype, restored[name].shape) == (array.dtype, array.shape)
        assert restored[name].tobytes() == array.tobytes()


def test_the_newest_state_is_restored_bit_for_bit(tmp_path, capsys):
    for iteration in (1, 51, 101):
        expected = write(tmp_path / "checkpoints", iteration, iteration)
    assert checkpoints.numbers(tmp_path / "checkpoints") == [1, 51, 101]
    iteration, restored = checkpoints.restore(tmp_path / "checkpoints", state())
    assert iteration == 101 and capsys.readouterr().out == ""
    assert_same(restored, expected)
    model, tensors = weights.load(tmp_path / "checkpoints" / "101" / "weights.safetensors")
    assert model == MODEL and (tensors["fc1.bias"] == 101).all()


def flip(path) -> None:
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


def truncate(path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def of_another(path) -> None:
    """Replaces the file with an intact one of another checkpoint or another network."""
    if path.name == "state.safetensors":
        shutil.rmtree(path.parent)
        other = {"params/kernel": np.zeros((3, 5), np.float32)}
        checkpoints.write(path.parent.parent, int(path.parent.name), state(0, **other), b"")
    else:
        path.write_bytes((path.parent.parent / "3" / path.name).read_bytes())


@pytest.mark.parametrize("name", ["state.safetensors", "weights.safetensors"])
@pytest.mark.parametrize("damage", [flip, truncate, of_another, lambda path: path.unlink()])
def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_is_used(name, damage, tmp_path, capsys):
    expected = write(tmp_path, 3, 3)
    write(tmp_path, 12, 12)
    damage(tmp_path / "12" / name)
    iteration, restored = checkpoints.restore(tmp_path, state())
    assert iteration == 3
    assert_same(restored, expected)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"Checkpoint: {tmp_path / '12' / name}: ") and "expected" in line
    assert line.endswith("; using the one after 3 iterations")


def test_choosing_a_damaged_checkpoint_lists_the_intact_ones(tmp_path):
    for iteration in (3, 12, 20):
        write(tmp_path, iteration)
    flip(tmp_path / "20" / "weights.safetensors")
    with refusing(UserError, tmp_path / "20" / "weights.safetensors", "3, 12"):
        checkpoints.check_chosen(tmp_path, 20)
    checkpoints.check_chosen(tmp_path, 12)


@pytest.mark.parametrize(
    ("like", "facts"),
    [
        (state(more=np.zeros(1)), ("more", "missing")),
        ({"wide": np.zeros(2), "params/kernel": np.zeros((3, 4), np.float32)}, ("optimizer/count", "unexpected")),
        (state(wide=np.zeros(3)), ("float64", "[2]", "[3]")),
        ({f"torch.{name}": array for name, array in state().items()}, ("another framework",)),
    ],
    ids=["missing", "left over", "shape", "framework"],
)
def test_the_state_of_another_network_is_refused(like, facts, tmp_path):
    write(tmp_path, 3)
    with refusing(UserError, *facts, "3/state.safetensors"):
        checkpoints.restore(tmp_path, like)


def test_if_all_checkpoints_are_damaged_the_error_says_so(tmp_path):
    for number in (3, 6, 9):
        write(tmp_path, number)
        flip(tmp_path / str(number) / "state.safetensors")
    with refusing(UserError, "9/state.safetensors", "each of the 2 older"):
        checkpoints.restore(tmp_path, state())


def test_a_renumbered_checkpoint_and_a_missing_one_are_refused(tmp_path):
    with refusing(UserError, tmp_path, "a checkpoint"):
        checkpoints.restore(tmp_path, state())
    write(tmp_path, 3)
    (tmp_path / "3").rename(tmp_path / "4")
    with refusing(UserError, "4/state.safetensors", "damaged"):
        checkpoints.restore(tmp_path, state())


@pytest.fixture
def directory(tmp_path):
    """Three checkpoints, one without weights, and other entries."""
    for number in (9, 10, 101):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "weights.safetensors").write_bytes(b"")
    for name in ("102", ".11.x", "12.gone"):
        (tmp_path / name).mkdir()
    (tmp_path / "13").write_text("a file")
    return tmp_path


def test_the_best_is_the_first_with_the_highest_score():
    scores = {1: 0.5, 9: 0.7, 10: 0.9, 101: 0.9, 200: 1.0}
    assert checkpoints.best([9, 10, 101], scores) == 10
    assert checkpoints.best([9, 102], scores) == 9
    assert checkpoints.best([102], scores) is None and checkpoints.best([], {}) is None


def test_existing_names(directory):
    assert checkpoints.numbers(directory) == [9, 10, 101, 102] and checkpoints.numbers(directory / "none") == []
    scores = {9: 0.7, 10: 0.9, 102: 1.0}
    chosen = [checkpoints.choose(directory, name, scores) for name in ("best", "last", "9", 9, "010")]
    assert chosen == [10, 101, 9, 9, 10]


@pytest.mark.parametrize("name", ["102", "8", "-9", "9.0", "latest", ""])
def test_an_unknown_name_lists_the_existing_ones(name, directory):
    with refusing(UserError, f"checkpoint {name}:", "best", "last", directory, "9, 10, 101"):
        checkpoints.choose(directory, name, {})


def test_the_best_is_not_chosen_by_test_images(directory):
    with refusing(UserError, "checkpoint best", "validation", "9, 10, 101"):
        checkpoints.choose(directory, "best", None)
