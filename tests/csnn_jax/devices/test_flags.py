import pytest
from refusals import refusing

from csnn_jax.devices.flags import JaxFlags, split
from csnn_jax.errors import UserError

MEETING = {"coordinator": "host:1234", "num_processes": 2, "process_id": 1}


@pytest.mark.parametrize(
    "changes, facts",
    [
        ({"connect_timeout": 5, "given": {"connect_timeout"}}, ("connect_timeout 5", "coordinator", "distributed")),
        ({"coordinator": "host:1"}, ("coordinator host:1", "num_processes", "process_id")),
        ({"num_processes": 2}, ("num_processes 2", "coordinator", "process_id")),
        (MEETING | {"coordinator": "host"}, ("coordinator host", "HOST:PORT", 1, 65535)),
        (MEETING | {"coordinator": "h:0"}, ("coordinator h:0", "HOST:PORT")),
        (MEETING | {"coordinator": "h:65536"}, ("coordinator h:65536", "HOST:PORT")),
        (MEETING | {"process_id": 2}, ("process_id 2", "below 2")),
        (MEETING | {"seeds": (1, 2)}, ("seeds", "neither")),
        (MEETING | {"distributed": True}, ("distributed", "no coordinator")),
        ({"distributed": True, "seeds": (1, 2)}, ("seeds", "neither")),
    ],
)
def test_a_mistake_is_named(changes, facts):
    with refusing(UserError, *facts):
        JaxFlags(**changes)


def test_a_host_and_its_port():
    assert [split(f"host:{port}") for port in (1, 65535)] == [("host", 1), ("host", 65535)]
    assert split("10.0.0.1:1234") == ("10.0.0.1", 1234) and split("[::1]:80") == ("::1", 80)
    assert (JaxFlags().devices, JaxFlags().connect_timeout) == (1, 60)
    assert JaxFlags(**MEETING).several and JaxFlags(distributed=True).several and not JaxFlags().several
