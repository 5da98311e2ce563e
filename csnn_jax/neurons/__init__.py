"""The neuron models, one file each, and their options. Imports no framework."""

from dataclasses import dataclass
from typing import Any

from csnn_jax.neurons import leaky, synaptic
from csnn_jax.neurons.neuron import THRESHOLDS, is_threshold
from csnn_jax.options import Options, option
from csnn_jax.options.kinds import SWITCH, choice, each, number, several

NEURONS = {neuron.name: neuron for neuron in (leaky.NEURON, synaptic.NEURON)}
PARAMETERS = tuple(dict.fromkeys(name for neuron in NEURONS.values() for name in neuron.parameters))
"""The parameters of all neurons."""
PerLayer = float | tuple[float, ...]
"""One value for all layers, or one per layer."""

DECAY = number(0, 1)
THRESHOLD = number(limits=THRESHOLDS, also=lambda value: value > 0 and bool(is_threshold(value)))


def _parameter(name: str) -> Any:
    """The option for a parameter's values. If only some neurons have it, None means their default."""
    owners = [neuron for neuron in NEURONS.values() if name in neuron.parameters]
    parameter = owners[0].parameters[name]
    kind = each(DECAY if parameter.decays else THRESHOLD, "layer")
    values = "one value for all layers, or one per layer"
    if len(owners) == len(NEURONS):
        return option(parameter.default, kind, f"{parameter.help}: {values}.", "neuron")
    only = f"{' and '.join(map(str, owners))} only"
    return option(None, kind, f"{parameter.help}, {only}: {values}; default: {parameter.default:g}.", "neuron")


def _learned(name: str) -> Any:
    """The option to train a parameter."""
    text = f"Train {name}, one value per layer (or per channel, see --per-channel), starting from --{name}."
    return option(False, SWITCH, text, "neuron")


@dataclass(frozen=True, kw_only=True)
class NeuronFields(Options):
    """The fields of `ModelConfig` about neurons: two for each of `PARAMETERS`."""

    neuron: str = option(
        "leaky", choice(NEURONS), f"Neuron model of all layers, as in snnTorch: {', '.join(NEURONS)}.", "neuron"
    )
    beta: PerLayer = _parameter("beta")
    threshold: PerLayer = _parameter("threshold")
    alpha: PerLayer | None = _parameter("alpha")
    learn_beta: bool = _learned("beta")
    learn_threshold: bool = _learned("threshold")
    learn_alpha: bool = _learned("alpha")
    per_channel: tuple[str, ...] = option(
        (),
        several(choice(PARAMETERS), least=1),
        "Parameters with one value per channel of a convolution or per neuron of a linear layer.",
        "neuron",
    )
