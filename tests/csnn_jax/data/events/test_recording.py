import pytest
from recordings import drawn
from refusals import refusing

from csnn_jax.data.events.recording import check

EVENTS = drawn(0, 5, (8, 6))


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        ({name: getattr(EVENTS, name)[:0] for name in EVENTS._fields}, ("no events",)),
        ({"x": EVENTS.x + 6}, ("x", 0, 5)),
        ({"y": EVENTS.y + 8}, ("y", 0, 7)),
        ({"y": EVENTS.y - 8}, ("y", 0, 7)),
        ({"t": EVENTS.t[::-1]}, ("time order",)),
    ],
)
def test_what_is_wrong_is_named(change, facts):
    check(EVENTS, (8, 6))
    with refusing(ValueError, *facts):
        check(EVENTS._replace(**change), (8, 6))
