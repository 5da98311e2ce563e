"""Numbers as a reader sees them."""

import pytest

from export.report.cells import interval, percent, size, table


def test_numbers_are_short():
    assert [size(n) for n in (999, 1000, 1499, 2_560_000)] == ["999 B", "1.0 kB", "1.5 kB", "2.6 MB"]
    assert [percent(share) for share in (None, 0.0, 0.9786)] == ["-", "0.00%", "97.86%"]


def test_a_table_shows_thousands_and_dashes_and_keeps_its_columns():
    text = table(("a", "b"), [(1234567, None), (True, "x|y\nz"), (0.5, "1,000")])
    assert text == "| a | b |\n| --- | --- |\n| 1,234,567 | - |\n| True | x\\|y z |\n| 0.5 | 1,000 |"


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (29, 29, 0.8830, 1.0)],
)
def test_the_interval_of_a_share_is_wilsons(right, count, low, high):
    """The examples of Newcombe (Statistics in Medicine 17, 1998, table I, method 3); the last is its first reversed."""
    assert interval(right / count, count) == pytest.approx((low, high), abs=1e-4)
