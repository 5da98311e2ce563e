"""The helper that checks refusals fails when one of the facts is wrong."""

import pytest
from refusals import assert_line, refusing

from csnn_jax.errors import UserError

LINE = "--lr -1: expected 0.5 to 1,000"


def test_facts_are_whole_words_numbers_and_flags():
    assert_line(LINE, "--lr", "--lr -1", -1, 0.5, 1000, "0.5 to 1,000")
    for fact in (1, 5, 0, 0.50001, 100, "--l", "--lr-schedule", "expect", "lr 1"):
        with pytest.raises(AssertionError):
            assert_line(LINE, fact)


@pytest.mark.parametrize("line", ["", f"{LINE}\n{LINE}", f"{LINE} Traceback"])
def test_a_message_is_one_line_without_a_traceback(line):
    with pytest.raises(AssertionError):
        assert_line(line)


@pytest.mark.parametrize("text", ["", "the new", "new"], ids=["emptied", "longer", "same size"])
def test_a_changed_file_is_noticed(tmp_path, text):
    (tmp_path / "file").write_text("old")
    with refusing(UserError, "lr", unchanged=tmp_path):
        raise UserError("--lr")
    with pytest.raises(AssertionError, match="changed"), refusing(UserError, unchanged=tmp_path):  # not another assert
        (tmp_path / "file").write_text(text)
        raise UserError("a")


def test_a_folder_that_appears_is_noticed(tmp_path):
    with pytest.raises(AssertionError, match="changed"), refusing(UserError, unchanged=tmp_path / "new"):  # as above
        (tmp_path / "new").mkdir()
        raise UserError("a")
