"""The flags of csnn_jax.train that say on which devices a job runs, and with which other processes."""

from dataclasses import dataclass
from typing import Literal

from csnn_jax.config.checks import check, is_count
from csnn_jax.errors import UserError
from csnn_jax.flags import TrainFlags


@dataclass(frozen=True)
class JaxFlags(TrainFlags):
    devices: Literal["all"] | int = 1
    """Devices of each process that share a batch: how many, or all. --batch-size stays that of all together."""
    distributed: bool = False
    """This process is one of several, which the cluster's environment names (Slurm, Open MPI, Kubernetes)."""
    coordinator: str | None = None
    """This process is one of several, which meet at HOST:PORT of process 0; None: it is alone, or --distributed."""
    num_processes: int | None = None
    """With --coordinator: how many there are."""
    process_id: int | None = None
    """With --coordinator: which one this is, from 0. Process 0 alone prints and writes."""
    connect_timeout: int = 60
    """Seconds to wait until all processes have come."""

    def __post_init__(self):
        super().__post_init__()
        check(
            "--devices",
            self.devices,
            "all, or a whole number of at least 1",
            self.devices == "all" or is_count(self.devices),
        )
        check("--connect-timeout", self.connect_timeout, "seconds, at least 1", is_count(self.connect_timeout))
        given = (self.coordinator, self.num_processes, self.process_id)
        if self.distributed and self.coordinator is not None:
            raise UserError("--distributed: the cluster names the coordinator, expected no --coordinator beside it")
        if any(one is not None for one in given):
            self._check_meeting(*given)
        if self.connect_timeout != type(self).connect_timeout and not self.several:
            raise UserError(
                f"--connect-timeout {self.connect_timeout}: expected --coordinator or --distributed beside it"
            )
        if self.several and self.seeds is not None:
            raise UserError("--seeds: one process trains them, expected neither --distributed nor --coordinator")

    @property
    def several(self) -> bool:
        """Whether this process is one of several."""
        return self.distributed or self.coordinator is not None

    def _check_meeting(self, coordinator: str | None, number: int | None, process: int | None) -> None:
        if coordinator is None or number is None or process is None:
            raise UserError("--coordinator: expected --num-processes and --process-id beside it, and it beside them")
        split(coordinator)
        check("--num-processes", number, "a whole number of at least 1", is_count(number))
        expected = f"a whole number below {number}, which --num-processes says"
        check("--process-id", process, expected, is_count(process, 0) and process < number)


def split(coordinator: str) -> tuple[str, int]:
    """(host, port) of HOST:PORT.

    Raises:
        UserError: it is none.
    """
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 2**16:
        raise UserError(f"--coordinator {coordinator}: expected HOST:PORT, with a port from 1 to 65535")
    return host.strip("[]"), int(port)
