"""Numbers as a reader sees them."""

from export.report.cells import percent, size, table


def test_numbers_are_short():
    assert [size(n) for n in (999, 1000, 1499, 2_560_000)] == ["999 B", "1.0 kB", "1.5 kB", "2.6 MB"]
    assert [percent(share) for share in (None, 0.0, 0.9786)] == ["-", "0.00%", "97.86%"]


def test_a_table_shows_thousands_and_dashes_and_keeps_its_columns():
    text = table(("a", "b"), [(1234567, None), (True, "x|y\nz"), (0.5, "1,000")])
    assert text == "| a | b |\n| --- | --- |\n| 1,234,567 | - |\n| True | x\\|y z |\n| 0.5 | 1,000 |"
