"""The flags of csnn_jax.train for devices and for jobs of several processes."""

from dataclasses import dataclass
from typing import Literal

from csnn_jax.config.checks import check, is_count
from csnn_jax.errors import UserError
from csnn_jax.flags import TrainFlags


@dataclass(frozen=True)
class JaxFlags(TrainFlags):
    devices: Literal["all"] | int = 1
    """Number of devices per process that share each batch, or all. --batch-size is the total for all devices."""
    distributed: bool = False
    """Run as one of several processes, as set up by the cluster's environment (Slurm, Open MPI, Kubernetes)."""
    coordinator: str | None = None
    """Run as one of several processes, which connect to process 0 at HOST:PORT; default: a single process, unless
    --distributed is given."""
    num_processes: int | None = None
    """With --coordinator: number of processes."""
    process_id: int | None = None
    """With --coordinator: index of this process, from 0. Only process 0 prints and writes files."""
    connect_timeout: int = 60
    """Seconds to wait for all processes to connect."""

    def __post_init__(self):
        super().__post_init__()
        check(
            "--devices",
            self.devices,
            "all, or a whole number of at least 1",
            self.devices == "all" or is_count(self.devices),
        )
        check("--connect-timeout", self.connect_timeout, "at least 1 second", is_count(self.connect_timeout))
        given = (self.coordinator, self.num_processes, self.process_id)
        if self.distributed and self.coordinator is not None:
            raise UserError("--distributed: expected no --coordinator; the cluster's environment provides it")
        if any(one is not None for one in given):
            self._check_meeting(*given)
        if self.connect_timeout != type(self).connect_timeout and not self.several:
            raise UserError(f"--connect-timeout {self.connect_timeout}: expected --coordinator or --distributed, too")
        if self.several and self.seeds is not None:
            raise UserError("--seeds: expected neither --distributed nor --coordinator; one process trains all seeds")

    @property
    def several(self) -> bool:
        """Whether this is one of several processes."""
        return self.distributed or self.coordinator is not None

    def _check_meeting(self, coordinator: str | None, number: int | None, process: int | None) -> None:
        if coordinator is None or number is None or process is None:
            raise UserError("--coordinator, --num-processes, --process-id: expected all three or none")
        split(coordinator)
        check("--num-processes", number, "a whole number of at least 1", is_count(number))
        expected = f"a whole number below {number}, the value of --num-processes"
        check("--process-id", process, expected, is_count(process, 0) and process < number)


def split(coordinator: str) -> tuple[str, int]:
    """(host, port) of HOST:PORT.

    Raises:
        UserError: it isn't HOST:PORT.
    """
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 2**16:
        raise UserError(f"--coordinator {coordinator}: expected HOST:PORT, with a port from 1 to 65535")
    return host.strip("[]"), int(port)
