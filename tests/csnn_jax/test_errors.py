import pytest

from csnn_jax.errors import first_error, first_line


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
