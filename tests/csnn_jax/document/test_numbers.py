import pytest

from csnn_jax.document import numbers


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.06955, "0.070"), (8.94, "8.9"), (106.3, "110"), (9.96, "10"), (1e-4, "0.00010"), (0, "0")],
)
def test_two_digits_are_shown(value, text):
    assert numbers.two_digits(value) == text
