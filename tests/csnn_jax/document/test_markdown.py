import pytest

from csnn_jax.document import markdown


def test_a_table_has_a_rule_and_escaped_bars():
    assert markdown.table(("a", "b"), [("1", "|x|")]) == "| a | b |\n| --- | --- |\n| 1 | \\|x\\| |"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.06955, "0.070"),
        (8.94, "8.9"),
        (106.3, "110"),
        (9.96, "10"),
        (1e-4, "0.00010"),
        (0, "0"),
    ],
)
def test_two_digits_are_shown(value, text):
    assert markdown.two_digits(value) == text
