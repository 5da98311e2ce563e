"""Which checkpoint a name means."""

import pytest

from csnn_jax.errors import UserError
from csnn_jax.runs import checkpoints


@pytest.fixture
def directory(tmp_path):
    """Three checkpoints, one without weights, and what is none."""
    for number in (9, 10, 101):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "weights.safetensors").write_bytes(b"")
    for name in ("102", ".11.x", "12.gone"):
        (tmp_path / name).mkdir()
    (tmp_path / "13").write_text("a file")
    return tmp_path


def test_numbers_are_in_order(directory):
    assert checkpoints.numbers(directory) == [9, 10, 101, 102]
    assert checkpoints.numbers(directory / "none") == []


def test_the_best_is_the_first_with_the_highest_score():
    scores = {1: 0.5, 9: 0.7, 10: 0.9, 101: 0.9, 200: 1.0}
    assert checkpoints.best([9, 10, 101], scores) == 10
    assert checkpoints.best([9, 102], scores) == 9
    assert checkpoints.best([102], scores) is None and checkpoints.best([], {}) is None


def test_names_that_there_are(directory):
    scores = {9: 0.7, 10: 0.9, 102: 1.0}
    found = [checkpoints.choose(directory, name, scores) for name in ("best", "last", "9", 9, "010")]
    assert found == [10, 101, 9, 9, 10]


@pytest.mark.parametrize("name", ["102", "8", "-9", "9.0", "latest", ""])
def test_a_name_that_there_is_not_lists_those_that_there_are(name, directory):
    with pytest.raises(UserError) as caught:
        checkpoints.choose(directory, name, {})
    expected = f"expected best, last or one of those in {directory}: 9, 10, 101"
    assert str(caught.value) == f"--checkpoint {name}: {expected}"


def test_a_run_without_any_says_so(tmp_path):
    for name in ("last", "best", "4"):
        with pytest.raises(UserError, match=f"--checkpoint {name}: expected best, last or one of those in .*: none"):
            checkpoints.choose(tmp_path / "checkpoints", name, {})


def test_test_images_do_not_choose_the_best(directory):
    with pytest.raises(UserError, match=r"--checkpoint best: .* was trained without --validation, .*: 9, 10, 101"):
        checkpoints.choose(directory, "best", None)
