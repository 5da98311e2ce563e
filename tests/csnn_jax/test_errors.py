import pytest

from csnn_jax.errors import UserError, first_error, first_line, in_python, naming_arguments, one_line, printable


@pytest.mark.parametrize(
    ("error", "line"), [(ValueError("one\ntwo"), "one"), (ValueError(), "ValueError"), (KeyError("x"), "'x'")]
)
def test_first_line(error, line):
    assert first_line(error) == line


@pytest.mark.parametrize(
    ("output", "line"),
    [("In file a.c\n  a.c:1: error: b\nerror: c", "a.c:1: error: b"), ("killed\nbye", "killed"), ("", "no output")],
)
def test_first_error(output, line):
    assert first_error(output) == line


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--batch-size 8: expected 1 to 4", "batch_size 8: expected 1 to 4"),
        ("--surrogate atan, --lr 0.005", "surrogate atan, lr 0.005"),
        ("try `python -m x --out RUN` or --init torch", "try `python -m x --out RUN` or init torch"),
        ("--out a: expected another path, or --overwrite", "path a: expected another path, or overwrite"),
        ("one -- two, a-b", "one -- two, a-b"),
    ],
)
def test_flags_become_arguments(line, said):
    assert in_python(line) == said
    with pytest.raises(UserError) as error, naming_arguments():
        raise UserError(line)
    assert str(error.value) == said


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b]0;x\x07b", r"a\x1b]0;x\x07b"),
        ("two\nlines\r\t", r"two\nlines\r\t"),
        ("\u202edne\u2066\u200b\ufeff", r"\u202edne\u2066\u200b\ufeff"),
        ("\x9b31m\x85", r"\x9b31m\x85"),
        ("\udcff", r"\udcff"),
        ("Größe 大きさ \N{CAT}", "Größe 大きさ \N{CAT}"),
    ],
)
def test_text_that_could_control_a_terminal_is_escaped_in_every_error(text, shown):
    assert printable(text) == one_line(text) == str(UserError(text)) == f"{UserError(text)}" == shown
    assert printable(shown) == shown, "twice is the same as once"
