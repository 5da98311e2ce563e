import pytest

from csnn_jax.devices.flags import JaxFlags, split
from csnn_jax.errors import UserError

MEETING = {"coordinator": "host:1234", "num_processes": 2, "process_id": 1}


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"devices": 0}, "devices 0: expected all, or a whole number of at least 1"),
        ({"connect_timeout": 5}, "connect_timeout 5: expected coordinator or distributed, too"),
        ({"connect_timeout": 0}, "connect_timeout 0: expected at least 1 second"),
        ({"coordinator": "host:1"}, "coordinator, num_processes, process_id: expected all three or none"),
        ({"num_processes": 2}, "coordinator, num_processes, process_id: expected all three or none"),
        (MEETING | {"coordinator": "host"}, "coordinator host: expected HOST:PORT, with a port from 1 to 65535"),
        (MEETING | {"coordinator": "h:0"}, "coordinator h:0: expected HOST:PORT"),
        (MEETING | {"coordinator": "h:65536"}, "coordinator h:65536: expected HOST:PORT"),
        (MEETING | {"num_processes": 0}, "num_processes 0: expected a whole number of at least 1"),
        (MEETING | {"process_id": 2}, "process_id 2: expected a whole number below 2"),
        (MEETING | {"seeds": (1, 2)}, "seeds: expected neither"),
        (MEETING | {"distributed": True}, "distributed: expected no coordinator"),
        ({"distributed": True, "seeds": (1, 2)}, "seeds: expected neither"),
    ],
)
def test_a_mistake_is_named(changes, message):
    with pytest.raises(UserError) as caught:
        JaxFlags(**changes)
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


def test_a_host_and_its_port():
    assert split("10.0.0.1:1234") == ("10.0.0.1", 1234) and split("[::1]:80") == ("::1", 80)
    assert JaxFlags(**MEETING).several and JaxFlags(distributed=True).several and not JaxFlags().several
