"""The training state on disk: bit-equal after a restart, and what is damaged is noticed, named and passed over."""

import json
import shutil

import numpy as np
import pytest
import safetensors
from disk import largest_file

from csnn_jax.config import ModelConfig
from csnn_jax.errors import UserError
from csnn_jax.runs import checkpoints, layouts, weights
from csnn_jax.training import checkpoint

MODEL = ModelConfig(input_shape=(2, 2, 1), conv_channels=(), hidden=(), num_classes=3)


def state(seed: int = 0, **others: np.ndarray) -> checkpoint.State:
    """A matrix, a count, and something in float64."""
    rng = np.random.default_rng(seed)
    count = {"optimizer/count": np.array(seed, np.int32), "wide": rng.normal(size=2)}
    return {"params/kernel": rng.normal(size=(3, 4)).astype(np.float32)} | count | others


def write(directory, iteration: int, seed: int = 0) -> checkpoint.State:
    tensors = {name: np.full(shape, seed, np.float32) for name, shape in layouts.expected_shapes(MODEL).items()}
    checkpoint.write(directory, iteration, found := state(seed), weights.to_bytes(tensors, MODEL))
    return found


def assert_same(found: checkpoint.State, expected: checkpoint.State) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert found[name].tobytes() == array.tobytes()


def content(directory):
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_the_newest_state_comes_back_bit_by_bit(tmp_path, capsys):
    for iteration in (1, 51, 101):
        expected = write(tmp_path / "checkpoints", iteration, iteration)
    assert checkpoints.numbers(tmp_path / "checkpoints") == [1, 51, 101]
    iteration, found = checkpoint.restore(tmp_path / "checkpoints", state())
    assert iteration == 101 and capsys.readouterr().out == ""
    assert_same(found, expected)
    model, tensors = weights.load(tmp_path / "checkpoints" / "101" / "weights.safetensors")
    assert model == MODEL and (tensors["fc1.bias"] == 101).all()


def test_equal_states_have_equal_bytes(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / name, 7)
    assert content(tmp_path / "a") == content(tmp_path / "b")


@pytest.mark.parametrize("make", [False, True])
def test_no_checkpoint_is_named(make, tmp_path):
    directory = tmp_path / "checkpoints"
    if make:
        directory.mkdir()
    with pytest.raises(UserError, match=f"^{directory}: expected a checkpoint in it"):
        checkpoint.restore(directory, state())


def flip(path) -> None:
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


def truncate(path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def of_another(path) -> None:
    """A file that is sound, but another checkpoint's, or another network's."""
    if path.name == "state.safetensors":
        shutil.rmtree(path.parent)
        other = {"params/kernel": np.zeros((3, 5), np.float32)}
        checkpoint.write(path.parent.parent, int(path.parent.name), state(0, **other), b"")
    else:
        path.write_bytes((path.parent.parent / "3" / path.name).read_bytes())


@pytest.mark.parametrize("name", ["state.safetensors", "weights.safetensors"])
@pytest.mark.parametrize("damage", [flip, truncate, of_another, lambda path: path.unlink()])
def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_is_taken(name, damage, tmp_path, capsys):
    expected = write(tmp_path, 3, 3)
    write(tmp_path, 12, 12)
    damage(tmp_path / "12" / name)
    iteration, found = checkpoint.restore(tmp_path, state())
    assert iteration == 3
    assert_same(found, expected)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"Checkpoint: {tmp_path / '12' / name}: ") and "expected" in line
    assert line.endswith("; the one of 3 iterations is taken")


def test_where_all_are_damaged_the_newest_is_named(tmp_path, capsys):
    for iteration in (3, 12):
        write(tmp_path, iteration)
        flip(tmp_path / str(iteration) / "state.safetensors")
    with pytest.raises(UserError, match=f"^{tmp_path / '12' / 'state.safetensors'}: expected .* damaged"):
        checkpoint.restore(tmp_path, state())
    assert capsys.readouterr().out == ""


def test_whoever_asks_for_a_damaged_one_is_told_the_sound_ones(tmp_path):
    for iteration in (3, 12, 20):
        write(tmp_path, iteration)
    flip(tmp_path / "20" / "weights.safetensors")
    with pytest.raises(UserError, match=f"^{tmp_path / '20' / 'weights.safetensors'}: .*; sound ones in .*: 3, 12$"):
        checkpoints.check_chosen(tmp_path, 20)
    checkpoints.check_chosen(tmp_path, 12)


def test_no_flipped_byte_goes_unnoticed(tmp_path):
    """Of the header too: it changes nothing that is read, or is noticed."""
    expected = write(tmp_path, 5)
    path = tmp_path / "5" / "state.safetensors"
    sound = path.read_bytes()
    noticed = 0
    for place in range(len(sound)):
        data = bytearray(sound)
        data[place] ^= 1 << place % 8
        path.write_bytes(data)
        try:
            iteration, found = checkpoint.restore(tmp_path, state())
        except UserError:
            noticed += 1
            continue
        assert iteration == 5
        assert_same(found, expected)
    assert noticed > 0.95 * len(sound)


@pytest.mark.parametrize(
    ("like", "message"),
    [
        (state(more=np.zeros(1)), "more is missing"),
        ({"wide": np.zeros(2), "params/kernel": np.zeros((3, 4), np.float32)}, "optimizer/count is left over"),
        (state(wide=np.zeros(3)), r"wide is float64 \[2\], expected float64 \[3\]"),
        (state(wide=np.zeros(2, np.float32)), r"wide is float64 \[2\], expected float32 \[2\]"),
    ],
    ids=["missing", "left over", "shape", "type"],
)
def test_the_state_of_another_network_is_refused(like, message, tmp_path):
    write(tmp_path, 3)
    with pytest.raises(UserError, match=f"3/state.safetensors: expected the training state of this network: {message}"):
        checkpoint.restore(tmp_path, like)


def test_the_state_of_another_framework_is_told_as_such(tmp_path):
    write(tmp_path, 7)
    expected = "it is of another framework; the command that began the run, csnn_jax.train or csnn_torch.train, goes on"
    with pytest.raises(UserError, match=expected):
        checkpoint.restore(tmp_path, {f"torch.{name}": array for name, array in state().items()})


def test_a_checkpoint_under_another_number_is_refused(tmp_path):
    write(tmp_path, 3)
    (tmp_path / "3").rename(tmp_path / "4")
    with pytest.raises(UserError, match=r"4/state.safetensors: expected .*damaged"):
        checkpoint.restore(tmp_path, state())


def test_the_newest_and_the_best_are_kept(tmp_path):
    for iteration in (1, 2, 3, 10, 20):
        write(tmp_path, iteration)
    checkpoint.keep(tmp_path, 2, 2)
    assert checkpoints.numbers(tmp_path) == [2, 10, 20]
    checkpoint.keep(tmp_path, 1, None)
    assert [path.name for path in tmp_path.iterdir()] == ["20"]


def test_those_after_an_iteration_are_dropped(tmp_path):
    for iteration in (9, 10, 11):
        write(tmp_path, iteration)
    checkpoint.drop_after(tmp_path, 10)
    assert checkpoints.numbers(tmp_path) == [9, 10]


def test_a_full_disk_is_one_line_and_keeps_the_checkpoints_before(tmp_path):
    write(tmp_path, 3)
    before = content(tmp_path)
    with largest_file(200), pytest.raises(UserError) as caught:
        write(tmp_path, 4)
    assert str(caught.value).startswith(f"{tmp_path / '4' / 'weights.safetensors'}: can't be written: File too large")
    assert content(tmp_path) == before and [path.name for path in tmp_path.iterdir()] == ["3"]
    write(tmp_path, 4)
    assert checkpoint.restore(tmp_path, state())[0] == 4


def test_the_state_says_of_which_checkpoint_it_is(tmp_path):
    write(tmp_path, 3)
    with safetensors.safe_open(tmp_path / "3" / "state.safetensors", "numpy") as file:
        about = json.loads(file.metadata()["checkpoint"])
    assert about == checkpoints.about(tmp_path / "3" / "state.safetensors") and about["iteration"] == 3
