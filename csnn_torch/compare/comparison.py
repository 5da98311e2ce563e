"""All results of one comparison."""

from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from csnn_jax import machine
from csnn_jax.config import Config
from csnn_jax.errors import UserError
from csnn_jax.files import create_folder
from csnn_jax.runs.layouts import Tensors
from csnn_torch.compare.cost import Cost
from csnn_torch.compare.results import DENSITY, Check, GradientResult, SpikeResult, Trajectory

NAME = "comparison.json"
PARTS = ("spikes", "gradients", "trajectories", "costs")


@dataclass(frozen=True)
class Origin:
    """Where an answer comes from: the command, the code's commit (None: unknown), date, seconds, machine."""

    command: str
    commit: str | None
    date: str
    seconds: float
    machine: dict[str, Any]

    @classmethod
    def of_now(cls, command: str, seconds: float) -> "Origin":
        """The origin of an answer from this process."""
        return cls(command, machine.commit(), date.today().isoformat(), round(seconds, 1), machine.describe())


@dataclass
class Comparison:
    """All results, and the compared run: its directory, configuration and weights."""

    run: str
    config: Config
    tensors: Tensors
    spikes: list[SpikeResult] = field(default_factory=list)
    gradients: list[GradientResult] = field(default_factory=list)
    trajectories: list[Trajectory] = field(default_factory=list)
    costs: list[Cost] = field(default_factory=list)
    origins: dict[str, Origin] = field(default_factory=dict)  # by question

    @property
    def checks(self) -> list[Check]:
        """All bounds. The run's network must fire, because otherwise they show nothing; silent variants are skipped."""
        densities = (result.densities for result in self.spikes if result.network == "run" and result.densities)
        firing = [
            Check(f"run: density of {layer}", density, *DENSITY) for layer, density in next(densities, {}).items()
        ]
        results: list[SpikeResult | GradientResult | Trajectory] = [*self.spikes, *self.gradients, *self.trajectories]
        return firing + [check for result in results for check in result.checks()]

    @property
    def broken(self) -> list[Check]:
        """The bounds that don't hold."""
        return [check for check in self.checks if not check.holds]

    @property
    def pictured(self) -> bool:
        """Whether anything was compared that the picture shows."""
        return bool(self.trajectories) or any(not cost.failed for cost in self.costs)

    def as_json(self) -> dict[str, Any]:
        """The contents of comparison.json."""
        return {
            "origins": {question: asdict(origin) for question, origin in self.origins.items()},
            **{part: [result.as_json() for result in getattr(self, part)] for part in PARTS},
            "bounds": len(self.checks),
            "broken": [str(check) for check in self.broken],
        }


def make_folder(out: str, overwrite: bool = False) -> Path:
    """Creates the directory for the results.

    Raises:
        UserError: it can't be created or written, is a run directory, or already has a comparison without `overwrite`.
    """
    path = Path(out)
    if (path / "config.json").exists():
        raise UserError(f"--out {out}: is a run directory, expected another path for the comparison")
    if (path / NAME).exists() and not overwrite:
        raise UserError(f"--out {out}: already contains a comparison; expected another path, or --overwrite")
    create_folder(path)
    return path
