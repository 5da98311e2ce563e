"""The neuron models, one file each, and their configuration fields. Imports no framework."""

from dataclasses import dataclass, field, make_dataclass
from typing import TYPE_CHECKING, Any, Literal

from csnn_jax.neurons import leaky, synaptic

NEURONS = {neuron.name: neuron for neuron in (leaky.NEURON, synaptic.NEURON)}
PARAMETERS = tuple(dict.fromkeys(name for neuron in NEURONS.values() for name in neuron.parameters))
"""The parameters of all neurons."""


def _fields() -> list[tuple[str, Any, Any]]:
    """`neuron`, then two fields for each parameter of any neuron."""
    made: list[tuple[str, Any, Any]] = []

    def add(name: str, kind: Any, default: Any, text: str) -> None:
        made.append((name, kind, field(default=default, metadata={"help": text})))

    names = ", ".join(NEURONS)
    add("neuron", Literal[tuple(NEURONS)], "leaky", f"Neuron model of all layers, as in snnTorch: {names}.")
    for name in PARAMETERS:
        owners = [neuron for neuron in NEURONS.values() if name in neuron.parameters]
        parameter = owners[0].parameters[name]
        shared = len(owners) == len(NEURONS)
        default = parameter.default if shared else None
        of = "" if shared else f", {' and '.join(map(str, owners))} only"
        usual = "" if shared else f"; default: {parameter.default:g}"
        kind = float | tuple[float, ...] if shared else float | tuple[float, ...] | None
        add(name, kind, default, f"{parameter.help}{of}: one value for all layers, or one per layer{usual}.")
    for name in PARAMETERS:
        add(
            f"learn_{name}",
            bool,
            False,
            f"Train {name}, one value per layer (or per channel, see --per-channel), starting from --{name}.",
        )
    several = "Parameters with one value per channel of a convolution or per neuron of a linear layer."
    add("per_channel", tuple[Literal[PARAMETERS], ...], (), several)  # type: ignore[valid-type]
    return made


if TYPE_CHECKING:  # for editors and type checkers, which don't see generated fields

    @dataclass(frozen=True, kw_only=True)
    class NeuronFields:
        """The fields of `ModelConfig` that the neurons declare."""

        neuron: str = "leaky"
        beta: float | tuple[float, ...] = 0.5
        threshold: float | tuple[float, ...] = 1.0
        alpha: float | tuple[float, ...] | None = None
        learn_beta: bool = False
        learn_threshold: bool = False
        learn_alpha: bool = False
        per_channel: tuple[str, ...] = ()
else:
    NeuronFields = make_dataclass("NeuronFields", _fields(), frozen=True, kw_only=True)
