import pytest
from recordings import drawn

from csnn_jax.data.events.recording import check

EVENTS = drawn(0, 5, (8, 6))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({name: getattr(EVENTS, name)[:0] for name in EVENTS._fields}, "has no events"),
        ({"x": EVENTS.x + 6}, r"has an event at x = \d+, expected 0 to 5"),
        ({"y": EVENTS.y + 8}, r"has an event at y = \d+, expected 0 to 7"),
        ({"y": EVENTS.y - 8}, r"has an event at y = -\d+, expected 0 to 7"),
        ({"t": EVENTS.t[::-1]}, r"has an event at \d+ us after one at \d+ us, expected time order"),
    ],
)
def test_what_is_wrong_is_named(change, message):
    check(EVENTS, (8, 6))
    with pytest.raises(ValueError, match=message):
        check(EVENTS._replace(**change), (8, 6))
