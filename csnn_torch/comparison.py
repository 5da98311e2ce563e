"""All results of one comparison, and the bounds on them."""

from dataclasses import dataclass, field

from csnn_jax.config import Config
from csnn_jax.weights import Tensors
from csnn_torch.check import Check
from csnn_torch.cost import Cost
from csnn_torch.gradients import Gradients
from csnn_torch.parity import DENSITY, Spikes
from csnn_torch.trajectory import Trajectory


@dataclass
class Comparison:
    """All results of one command, and the run that they are about: its directory, configuration and weights."""

    run: str
    config: Config
    tensors: Tensors
    arguments: str
    spikes: list[Spikes] = field(default_factory=list)
    gradients: list[Gradients] = field(default_factory=list)
    trajectories: list[Trajectory] = field(default_factory=list)
    costs: list[Cost] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)  # that each question took

    @property
    def checks(self) -> list[Check]:
        """Every bound. The run's own network must fire, or nothing is shown; a variant that does not is left out."""
        own = [s for s in self.spikes if s.network == "run" and s.densities]
        firing = [
            Check(f"run: density of {layer}", density, *DENSITY)
            for layer, density in ((own[0].densities or {}).items() if own else ())
        ]
        results: list[Spikes | Gradients | Trajectory] = [*self.spikes, *self.gradients, *self.trajectories]
        return firing + [check for result in results for check in result.checks()]

    @property
    def broken(self) -> list[Check]:
        return [check for check in self.checks if not check.holds]
