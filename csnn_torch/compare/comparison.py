"""All results of one comparison, from and to comparison.json."""

import hashlib
import json
import tempfile
from collections.abc import Collection
from dataclasses import asdict, dataclass, field, fields
from datetime import date
from pathlib import Path
from typing import Any

from csnn_jax import machine
from csnn_jax.config import Config
from csnn_jax.errors import UserError
from csnn_jax.runs.layouts import Tensors
from csnn_torch.compare import bounds
from csnn_torch.compare.bounds import Check
from csnn_torch.compare.results import Flip, Gradients, Spikes, Trajectory
from csnn_torch.compare.timings import Cost

NAME = "comparison.json"
PARTS: dict[str, dict[str, type]] = {  # what answers a question
    "network": {"spikes": Spikes, "gradients": Gradients},
    "training": {"trajectories": Trajectory},
    "cost": {"costs": Cost},
}


@dataclass(frozen=True)
class Origin:
    """Where an answer comes from: the command, the commit of the code (None: unknown), day, seconds, machine."""

    command: str
    commit: str | None
    date: str
    seconds: float
    machine: dict[str, Any]

    @classmethod
    def of_now(cls, command: str, seconds: float) -> "Origin":
        """The origin of an answer that this process has found."""
        return cls(command, machine.commit(), date.today().isoformat(), round(seconds, 1), machine.describe())


@dataclass
class Comparison:
    """All results, and the run that they are about: its directory, configuration and weights."""

    run: str
    config: Config
    tensors: Tensors
    spikes: list[Spikes] = field(default_factory=list)
    gradients: list[Gradients] = field(default_factory=list)
    trajectories: list[Trajectory] = field(default_factory=list)
    costs: list[Cost] = field(default_factory=list)
    origins: dict[str, Origin] = field(default_factory=dict)  # by question

    @property
    def checks(self) -> list[Check]:
        """Every bound. The run's own network must fire, or nothing is shown; a variant that does not is left out."""
        own = [s for s in self.spikes if s.network == "run" and s.densities]
        firing = [
            Check(f"run: density of {layer}", density, *bounds.DENSITY)
            for layer, density in ((own[0].densities or {}).items() if own else ())
        ]
        results: list[Spikes | Gradients | Trajectory] = [*self.spikes, *self.gradients, *self.trajectories]
        return firing + [check for result in results for check in result.checks()]

    @property
    def broken(self) -> list[Check]:
        """The bounds that do not hold."""
        return [check for check in self.checks if not check.holds]

    @property
    def weights(self) -> str:
        """SHA-256 of the weights, and of what the configuration has beside defaults: a new field changes no digest."""
        plain = asdict(Config())
        parts = asdict(self.config).items()
        told = [(part, name, value) for part, values in parts for name, value in values.items()]
        told = [(part, name, value) for part, name, value in told if value != plain[part][name]]
        digest = hashlib.sha256(json.dumps(told).encode())
        for name in sorted(self.tensors):
            digest.update(name.encode() + self.tensors[name].tobytes())
        return digest.hexdigest()

    def as_json(self) -> dict[str, Any]:
        """The contents of comparison.json."""
        return {
            "weights": self.weights,
            "origins": {question: asdict(origin) for question, origin in self.origins.items()},
            **{part: [r.as_json() for r in getattr(self, part)] for parts in PARTS.values() for part in parts},
            "bounds": len(self.checks),
            "broken": [str(check) for check in self.broken],
        }

    def keep(self, values: dict[str, Any], questions: Collection[str]) -> list[str]:
        """Takes over the answers of an earlier comparison of the same weights.

        Args:
            values: its `as_json`.
            questions: those that will be answered anew.

        Returns:
            The questions whose answers are kept.

        Raises:
            ValueError, KeyError, TypeError, AttributeError: it is about other weights, or no comparison.
        """
        if values["weights"] != self.weights:
            raise ValueError("other weights")
        kept = [question for question in values["origins"] if question not in questions]
        for question in kept:
            self.origins[question] = Origin(**values["origins"][question])
            for part, results in recorded(values, question).items():
                setattr(self, part, results)
        return kept


def recorded(values: dict[str, Any], question: str) -> dict[str, list[Any]]:
    """The results that a comparison's `as_json` holds of a question, by part: `figure.draw` draws them again."""
    return {part: [_read(kind, result) for result in values[part]] for part, kind in PARTS[question].items()}


def _read(kind: type, values: dict[str, Any]) -> Any:
    """A result from its `as_json`, which may hold more than its fields."""
    if kind is Cost:
        return Cost.of_json(values)
    found = {f.name: values[f.name] for f in fields(kind) if f.name in values}
    if kind is Spikes:
        found["first"] = tuple(Flip(**flip | {"neuron": tuple(flip["neuron"])}) for flip in found["first"])
    return kind(**found)


def make_folder(out: str) -> Path:
    """Makes the directory for the results.

    Raises:
        UserError: it can't be made or written, or is a run directory.
    """
    path = Path(out)
    if (path / "config.json").exists():
        raise UserError(f"--out {out}: is a run directory, expected one for the comparison's files")
    try:
        path.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        raise UserError(f"--out {out}: can't be made or written: {error.strerror}") from None
    return path


def keep_earlier(found: Comparison, out: Path, questions: Collection[str], overwrite: bool = False) -> None:
    """Takes over what an earlier command found out about these weights, but for the `questions`; says so.

    Raises:
        UserError: there is a comparison of other weights, unless it may be overwritten.
    """
    path = out / NAME
    try:
        kept = found.keep(json.loads(path.read_text()), questions)
    except FileNotFoundError:
        return
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        if not overwrite:
            raise UserError(
                f"--out {out}: holds a comparison of other weights; expected another path, or --overwrite"
            ) from None
        return
    if kept:
        print(f"{path}: its answers are kept: {', '.join(kept)}", flush=True)
