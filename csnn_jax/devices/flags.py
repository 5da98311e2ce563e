"""The flags of csnn_jax.train for devices and for jobs of several processes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from csnn_jax.flags import TrainFlags
from csnn_jax.options import Rule, flag_of, option
from csnn_jax.options.kinds import SWITCH, count, either, text

_MEETING = ("coordinator", "num_processes", "process_id")


def split(coordinator: str) -> tuple[str, int] | None:
    """(host, port) of HOST:PORT; None if it's something else."""
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 2**16:
        return None
    return host.strip("[]"), int(port)


def _meeting(name: str) -> Rule:
    """The rule that an option is given only with the others that say where processes meet."""
    others = " and ".join(flag_of(other) for other in _MEETING if other != name)
    return Rule(
        name,
        f"{others}, too",
        lambda flags: getattr(flags, name) is None or all(getattr(flags, other) is not None for other in _MEETING),
    )


@dataclass(frozen=True)
class JaxFlags(TrainFlags):
    # fmt: off
    devices: Literal["all"] | int = option(1, either(("all",), count()), """
        Number of devices per process that share each batch, or all. --batch-size is the total for all devices.""")
    distributed: bool = option(False, SWITCH, """
        Run as one of several processes, as set up by the cluster's environment (Slurm, Open MPI, Kubernetes).""")
    coordinator: str | None = option(
        None, text("HOST:PORT, with a port from 1 to 65535", lambda value: split(value) is not None, "HOST:PORT"), """
        Run as one of several processes, which connect to process 0 at HOST:PORT; default: a single process, unless
        --distributed is given.""")
    num_processes: int | None = option(None, count(), "With --coordinator: number of processes.")
    process_id: int | None = option(None, count(0), """
        With --coordinator: index of this process, from 0. Only process 0 prints and writes files.""")
    connect_timeout: int = option(60, count(), "Seconds to wait for all processes to connect.")
    # fmt: on

    RULES: ClassVar[Sequence[Rule]] = (
        *TrainFlags.RULES,
        Rule(
            "distributed",
            "no --coordinator; the cluster's environment provides it",
            lambda flags: not flags.distributed or flags.coordinator is None,
        ),
        *map(_meeting, _MEETING),
        Rule(
            "process_id",
            lambda flags: f"a whole number below {flags.num_processes}, the value of --num-processes",
            lambda flags: flags.process_id is None or flags.process_id < flags.num_processes,
        ),
        Rule(
            "connect_timeout",
            "--coordinator or --distributed, too",
            lambda flags: flags.several or "connect_timeout" not in flags.given,
        ),
        Rule(
            "seeds",
            "neither --distributed nor --coordinator; one process trains all seeds",
            lambda flags: flags.seeds is None or not flags.several,
        ),
    )

    @property
    def several(self) -> bool:
        """Whether this is one of several processes."""
        return self.distributed or self.coordinator is not None
