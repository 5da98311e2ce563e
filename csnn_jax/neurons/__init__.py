"""The neuron models, one file each, and their options. Imports no framework."""

from dataclasses import dataclass, make_dataclass
from typing import TYPE_CHECKING, Any

from csnn_jax.neurons import leaky, synaptic
from csnn_jax.neurons.neuron import THRESHOLDS, is_threshold
from csnn_jax.options import Options, option
from csnn_jax.options.kinds import SWITCH, choice, each, number, several

NEURONS = {neuron.name: neuron for neuron in (leaky.NEURON, synaptic.NEURON)}
PARAMETERS = tuple(dict.fromkeys(name for neuron in NEURONS.values() for name in neuron.parameters))
"""The parameters of all neurons."""


DECAY = number(0, 1)
THRESHOLD = number(limits=THRESHOLDS, also=lambda value: value > 0 and bool(is_threshold(value)))


def _fields() -> list[tuple[str, Any, Any]]:
    """`neuron`, then two options for each parameter of any neuron."""
    names = ", ".join(NEURONS)
    model = option("leaky", choice(NEURONS), f"Neuron model of all layers, as in snnTorch: {names}.", "neuron")
    fields: list[tuple[str, Any, Any]] = [("neuron", str, model)]
    for name in PARAMETERS:
        owners = [neuron for neuron in NEURONS.values() if name in neuron.parameters]
        parameter = owners[0].parameters[name]
        shared = len(owners) == len(NEURONS)
        only = "" if shared else f", {' and '.join(map(str, owners))} only"
        usual = "" if shared else f"; default: {parameter.default:g}"
        text = f"{parameter.help}{only}: one value for all layers, or one per layer{usual}."
        default = parameter.default if shared else None
        fields.append(
            (name, Any, option(default, each(DECAY if parameter.decays else THRESHOLD, "layer"), text, "neuron"))
        )
    for name in PARAMETERS:
        text = f"Train {name}, one value per layer (or per channel, see --per-channel), starting from --{name}."
        fields.append((f"learn_{name}", bool, option(False, SWITCH, text, "neuron")))
    text = "Parameters with one value per channel of a convolution or per neuron of a linear layer."
    return [*fields, ("per_channel", tuple, option((), several(choice(PARAMETERS), least=1), text, "neuron"))]


if TYPE_CHECKING:  # for editors and type checkers, which don't see generated fields

    @dataclass(frozen=True, kw_only=True)
    class NeuronFields(Options):
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
    NeuronFields = make_dataclass("NeuronFields", _fields(), bases=(Options,), frozen=True, kw_only=True)
