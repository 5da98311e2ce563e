"""Reads the network in a NIR file from any program: stack, neurons and weights.

    network = nir_network.read("net.nir", written_by="sinabs", time_steps=50)

`nir_file.py` reads the file's nodes in order, and `nir_layers.py` finds the layers. This module reads their neurons, by
the rules in `csnn_torch/programs`: fields of ModelConfig, and factors that are folded into the preceding weights. A
network that no flags describe becomes a list of nodes, with the file's names.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from csnn_jax.config.network import ModelConfig, Output
from csnn_jax.config.nodes import NodeConfig
from csnn_jax.config.operations import Convolution, Flatten, Linear, OneToOne, Pooling
from csnn_jax.errors import UserError, worded
from csnn_jax.neurons.neuron import THRESHOLDS, Reset, is_threshold
from csnn_jax.options import check, check_value, show, words_of
from csnn_jax.options.kinds import choice, number
from csnn_torch.foreign import nir_file
from csnn_torch.foreign.network import (
    ForeignNetwork,
    FoundNeurons,
    Weighted,
    as_number,
    channels,
    node_of,
    parameters,
    stored,
)
from csnn_torch.foreign.nir_file import Network, Node
from csnn_torch.foreign.nir_layers import Layers, Part
from csnn_torch.foreign.nir_values import Shape, broadcast, per_channel
from csnn_torch.programs import PROGRAMS, definition
from csnn_torch.programs.program import Rules

Values = np.ndarray
"""Values of a parameter: a scalar, or one per channel."""
NEAR = 1e-6
"""Relative tolerance for rounding a factor to a power of two: in float32, r dt / tau is rarely exactly 1."""
WEAK = 1e-3
"""With a factor up to this, a neuron practically ignores its input: probably a unit was misread."""


class _Neurons(NamedTuple):
    """The neurons of a layer: U = beta U + A, where A = alpha A + gain I + offset.

    Attributes:
        alpha, beta, threshold: parameters, float32; an alpha of None: no synapse.
        gain, offset: factor of the input and what is added to it, float64.
        reset: what a spike does one step later.
        separate: whether several currents are added one by one.
    """

    alpha: Values | None
    beta: Values
    threshold: Values
    gain: Values
    offset: Values
    reset: Reset
    separate: bool = False

    @property
    def values(self) -> dict[str, Values]:
        """The parameters by name."""
        named = {"alpha": self.alpha, "beta": self.beta, "threshold": self.threshold}
        return {name: value for name, value in named.items() if value is not None}


def neurons_of(layers: Layers, rules: Rules) -> dict[str, _Neurons]:
    """Reads all neurons by their part's name, and folds the factors of their inputs into the layers that they read.

    Raises:
        UserError: csnn_jax doesn't support the neurons; the message names the node, the parameter and the channel.
    """
    synaptic = layers.chain is not None and any(part.node and part.node.kind == "CubaLIF" for part in layers.neurons)
    read = {part.name: _neurons(part, rules, synaptic) for part in layers.neurons}
    if rules.late:
        read |= {part.name: _fed_back(read[part.name]) for part in layers.neurons if layers.reads_itself(part)}
    for part in layers.neurons:
        layers.fold(part, read[part.name].gain, read[part.name].offset)
    return read


def _fed_back(one: _Neurons) -> _Neurons:
    """Neurons that read their own spikes, as snnTorch's RLeaky and RSynaptic compute them."""
    muted = one.alpha is None and one.reset == "zero"
    return one._replace(separate=True, reset="mute" if muted else one.reset)


def _neurons(part: Part, rules: Rules, synaptic: bool) -> _Neurons:
    """The neurons of a part; `synaptic`: whether all in the network are synaptic, some with an alpha of 0."""
    node, none, shape = part.node, np.zeros((), np.float32), part.shape
    one = np.ones((), np.float32)
    if node is None:  # the class is read from its current, step by step
        return _Neurons(none if synaptic else None, none, one, np.ones(()), np.zeros(()), "none")
    if node.kind not in rules.kinds:
        raise node.error(f"this program never writes {node.kind}, expected {', '.join(rules.kinds)}")
    leaks = node.kind != "IF"
    tau = "tau_mem" if node.kind == "CubaLIF" else "tau"
    leak = _leak(node, tau, shape, rules) if leaks else np.zeros(())
    beta = np.asarray(1 - leak).astype(np.float32)
    gain, alpha = _gain(node, leak, shape, rules), none if synaptic else None
    if node.kind == "CubaLIF":
        lost = _leak(node, "tau_syn", shape, rules)
        alpha = np.asarray(1 - lost).astype(np.float32)
        if rules.by_r:
            gain = gain * lost * _values(node, "w_in", shape, 1)
    reset: Reset = "none" if node.kind == "LI" else _reset(node, beta, rules, alpha is not None)
    rest = _rest(node, shape, rules, reset)
    offset = leak * ((_values(node, "v_leak", shape, 0) if leaks else 0) - rest)
    if node.kind == "CubaLIF" and np.any(offset):
        raise node.error("v_leak differs from v_reset, expected the same value, as it acts on the membrane only")
    threshold = one if node.kind == "LI" else _threshold(node, shape, rest, rules)
    return _Neurons(alpha, beta, threshold, _power(np.asarray(gain, np.float64)), np.asarray(offset), reset)


def _leak(node: Node, name: str, shape: Shape, rules: Rules) -> Values:
    """The fraction of a membrane or current that's lost in a step, 0 to 1, in a type that represents it exactly."""
    tau = _values(node, name, shape)
    if (tau <= 0).any():
        raise node.error(f"{name} is {_first(tau[tau <= 0])}, expected a time constant above 0")
    leak = np.asarray(rules.leak(tau, rules.step))
    if not np.isfinite(leak).all() or (leak > 1).any():
        shortest = f"{name} is {_first(tau[~(leak <= 1)])} s, shorter than the step of {rules.step:g} s"
        raise node.error(f"{shortest}, so the decay would exceed 1; see --dt and --written-by")
    return leak


def _gain(node: Node, leak: Values, shape: Shape, rules: Rules) -> Values:
    """The factor of a neuron's input, or of its synaptic current."""
    if rules.by_r:
        r = _values(node, "r", shape).astype(np.float64)
        return r * (rules.step if node.kind == "IF" else leak)
    return leak if node.kind != "IF" and rules.norm_input else np.ones(())


def _reset(node: Node, beta: Values, rules: Rules, synaptic: bool) -> Reset:
    """The reset one step later that's equivalent to the program's reset."""
    reset = rules.reset
    if rules.late:
        return "clear" if synaptic and node.kind == "LIF" and reset == "zero" else reset
    if reset == "subtract" and (beta != 1).any():
        return "deduct"  # the membrane leaks after the threshold was subtracted
    return "clear" if synaptic and reset == "zero" else reset


def _rest(node: Node, shape: Shape, rules: Rules, reset: Reset) -> Values:
    """The membrane after a spike and at the start: 0 in csnn_jax, so membranes are relative to this value.

    Raises:
        UserError: the two differ.
    """
    v_reset = _values(node, "v_reset", shape, 0) if reset in ("zero", "clear") else np.zeros(())
    if rules.starts == "v_reset":
        return v_reset.astype(np.float64)
    start = _values(node, "v_leak", shape, 0) if rules.starts == "v_leak" else np.zeros(())
    if np.any(start != v_reset):
        raise node.error(
            f"v_reset is {_first(v_reset)}, but the membrane starts at {_first(start)}, expected the same for both"
        )
    return v_reset.astype(np.float64)


def _threshold(node: Node, shape: Shape, rest: Values, rules: Rules) -> Values:
    """The threshold, relative to the membrane after a spike."""
    stored = _values(node, "v_threshold", shape)
    with np.errstate(over="ignore"):
        threshold = np.asarray(stored - rest).astype(np.float32)
    if rules.includes:
        threshold = np.nextafter(threshold, np.float32(-math.inf))
    wrong = ~is_threshold(threshold) | (threshold < 0)
    if wrong.any():
        plus = f"v_reset, {_first(rest)}, plus " if np.any(rest) else ""
        raise node.error(f"v_threshold is {_first(stored[wrong])}, expected {plus}a number {THRESHOLDS}")
    return threshold


def _values(node: Node, name: str, shape: Shape, otherwise: float | None = None) -> Values:
    """A parameter of the neurons: a scalar, or one value per channel; `otherwise` if the node has none."""
    if name not in node.values and otherwise is not None:
        return np.full((), otherwise, np.float32)
    each = per_channel(node, name, broadcast(node, name, shape), shape)
    return np.asarray(each[0]) if (each == each[0]).all() else each


def _power(gain: Values) -> Values:
    """Rounds factors that are nearly powers of two."""
    with np.errstate(divide="ignore"):
        near = np.exp2(np.round(np.log2(abs(gain)))) * np.sign(gain)
    return np.where(abs(gain - near) <= NEAR * abs(near), near, gain)


def _first(values: Values) -> str:
    return f"{np.ravel(values)[0]:g}"


def _notes(layers: Layers, neurons: Mapping[str, _Neurons]) -> Iterator[str]:
    for part in layers.neurons:
        gain = np.max(neurons[part.name].gain)
        if part.node is None:
            (value,) = layers.values_of(part)
            assert value.layer is not None and value.layer.node is not None
            yield f"`{value.layer.node.name}` has no neurons: the class is read from its current, step by step"
        elif gain <= WEAK:
            shown = f"`{part.node.name}`, {part.node.kind}, gets {gain:g} of its input"
            yield f"{shown} because of its r, time constant and time step; programs differ in units, see --written-by"


FILES = {one.target.file: one.target.read_as for one in PROGRAMS.values()}
"""How to read the files from `export`, by the name in their metadata."""
METADATA_FIELDS = ("time_steps", "encoding", "scale", "input_bits")
"""Fields of ModelConfig in the metadata of files written by `export`, besides dt."""


MOST_PIXELS = 2**24
"""Maximum number of values of an image, such as 4096 x 4096; a file of a few kB can state any shape."""


def read(
    path: str,
    *,
    dt: float | None = None,
    written_by: str | None = None,
    reset: Reset | None = None,
    norm_input: bool = True,
    input_shape: tuple[int, int, int] | None = None,
    divided_by: float | None = None,
    normalize: Sequence[float] | None = None,
    stated_rules: bool = True,
    **fields: Any,
) -> ForeignNetwork:
    """Reads the network from a NIR file.

    Args:
        path: the file.
        dt: time step, seconds; None: from the file, otherwise the program's default.
        written_by: the program whose rules apply to the neurons; None: NIR's definition.
        reset: what a spike does to a membrane; None: the program's default.
        norm_input: whether Sinabs' LIF multiplies its input by its leak, as it does by default.
        input_shape: height, width and channels of the images; None: from the file.
        divided_by: divisor of the bytes of its images; None: from the file, otherwise see `network.parameters`.
        normalize: see `state_dict.convert`.
        stated_rules: whether a file from `export` is read by the rules of the program that it was made for.
        fields: fields of ModelConfig that aren't in the file: surrogate, slope, time_steps, encoding, and the scale and
            input_bits of its images. None: from the file.

    Raises:
        UserError: it's another kind of file, or csnn_jax can't run the network; the message names the node.
    """
    if written_by is not None:
        check_value("--written-by", written_by, choice(PROGRAMS))
    if not norm_input and written_by != "sinabs":
        raise UserError("--no-norm-input: expected --written-by sinabs, whose neurons have norm_input")
    graph = nir_file.read(path)
    if stated_rules and (made_for := graph.metadata.get("file")) in FILES:
        chosen_rules = {"written_by": written_by, "reset": reset, "norm_input": None if norm_input else False}
        written_by, reset, norm_input = _of_export(path, FILES[made_for], chosen_rules)
    stated = of_metadata(graph.metadata, path)
    network = nir_file.ordered(graph, path)
    rules = definition.RULES if written_by is None else PROGRAMS[written_by].rules
    written = stated.pop("dt", None)
    step = _step(rules, written_by, dt, written)
    rules = replace(rules, dt=step, reset=reset or rules.reset, norm_input=norm_input)
    size, entering = _input_shape(network, input_shape, path)
    height, width, channels = size
    layers = Layers(network, (channels, height, width), entering, path, rules.step)
    neurons = neurons_of(layers, rules)
    chosen = {name: value for name, value in fields.items() if value is not None}
    every = normalize is not None or any(layer.bias.any() for layer in layers.layers)
    structure = _of_chain(layers, neurons, every)
    try:
        if structure is None:
            named = {part.name: _settings(part, neurons[part.name]) for part in layers.neurons}
            structure = {"network": described(layers, named, normalize is not None)}
        config = ModelConfig(input_shape=size, **structure | stated | chosen)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    if divided_by is None and config.encoding == "direct" and config.pixels.are_bytes:
        divided_by = stated.get("scale")
    names = _names(layers, config)
    weighted = {names[one.name]: (_shown(one), Weighted(one.weight, one.bias, set())) for one in layers.layers}
    tensors, notes = parameters(config, weighted, path, normalize, divided_by)
    tensors |= stored(config, {names[name]: one.values for name, one in neurons.items()})
    notes += _notes(layers, neurons)
    if dt is None and written is None and rules.dt and not rules.fixed:
        notes.append(f"the file has no time step: assuming {rules.dt:g} s; use --dt for another")
    if written_by is None and written is None:
        notes.append("read by NIR's definition: reset to v_reset, spikes above v_threshold; see --written-by")
    notes += [rules.unsaid] if rules.unsaid else []
    return ForeignNetwork(config, tensors, tuple(worded(note, scale="divided_by") for note in notes))


def _of_export(path: str, rules: Mapping[str, Any], chosen: Mapping[str, Any]) -> tuple[str | None, Reset | None, bool]:
    """The `written_by`, `reset` and `norm_input` of a file from `export`; raises UserError if others were chosen."""
    for name, value in chosen.items():
        if value not in (None, rules.get(name)):
            expected = " ".join(word for one in rules for word in words_of(one, rules[one])) or "no flag for its rules"
            raise UserError(f"{' '.join(words_of(name, value))}: {path} is from export; expected {expected}")
    return rules.get("written_by"), rules.get("reset"), rules.get("norm_input", True)


def _shown(layer: Part) -> str:
    """A layer's name in the file."""
    return layer.node.name if layer.node else layer.name


def _names(layers: Layers, config: ModelConfig) -> dict[str, str]:
    """The names of parts in the configuration's graph."""
    if config.network or layers.chain is None:
        return {name: name for name in layers.parts}
    graph = config.graph
    weighted = [part.name for part in layers.chain if part.is_layer]
    neurons = [part.name for part in layers.chain if part.operation is None]
    return {
        name: node.name
        for names, nodes in ((weighted, graph.weighted), (neurons, graph.neurons))
        for name, node in zip(names, nodes, strict=True)
    }


def _of_chain(layers: Layers, neurons: Mapping[str, _Neurons], bias: bool) -> dict[str, Any] | None:
    """The fields of ModelConfig for a chain of blocks, or None if the network isn't one that they can describe."""
    if layers.chain is None:
        return None
    letters = {Convolution: "c", Pooling: "p", Flatten: "f", Linear: "l", type(None): "n"}
    kinds = "".join(letters[type(part.operation)] for part in layers.chain)
    after = bool(re.fullmatch("(cnp?)*f(ln)+", kinds)) and "np" in kinds
    if not after and not re.fullmatch("(cp?n)*f(ln)+", kinds):
        return None
    fields: dict[str, Any] = channels([part.weight.shape for part in layers.chain if part.is_layer])
    convolutions = [one.operation for one in layers.chain if isinstance(one.operation, Convolution)]
    pools: dict[int, Pooling] = {}
    for part in layers.chain:
        if isinstance(part.operation, Pooling):
            pools[sum(one.is_layer for one in layers.chain[: layers.chain.index(part)]) - 1] = part.operation
    halves = [one.kernel // 2 if one.kernel % 2 else 0 for one in convolutions]
    if any(one.padding not in (0, half) for one, half in zip(convolutions, halves, strict=True)):
        return None
    if any(pool.stride != pool.size for pool in pools.values()):
        return None
    if convolutions:
        each = [pools.get(number) for number in range(len(convolutions))]
        same = [one.padding or one.kernel == 1 for one in convolutions]
        fields |= {
            "stride": tuple(one.stride for one in convolutions),
            "padding": tuple("same" if one else "valid" for one in same),
            "pool": tuple(pool.kind if pool else "none" for pool in each),
            "pool_size": tuple(pool.size if pool else 2 for pool in each),
            "pool_after": after,
        }
    read = [neurons[part.name] for part in layers.chain if part.operation is None]
    values = {name: [one.values[name] for one in read] for name in read[0].values}
    output: Output = "integrator" if _integrates(layers.output) else "spiking"
    kind = "synaptic" if "alpha" in values else "leaky"
    return fields | FoundNeurons.of(kind, output, [one.reset for one in read], values, ()).fields | {"bias": bias}


def _integrates(part: Part) -> bool:
    return part.node is None or part.node.kind == "LI"


def _settings(part: Part, one: _Neurons) -> tuple[str, dict[str, Any]]:
    """The neuron model of a part, and its settings."""
    settings: dict[str, Any] = {name: as_number(value) for name, value in one.values.items()}
    if wide := [name for name, value in one.values.items() if value.ndim]:
        settings["per_channel"] = wide
    if one.separate:
        settings["separate"] = True
    if _integrates(part):
        del settings["threshold"]
        settings["integrator"] = True
    else:
        settings["reset"] = one.reset
    return "leaky" if one.alpha is None else "synaptic", settings


def described(
    layers: Layers, neurons: Mapping[str, tuple[str, dict[str, Any]]], biased: bool = False
) -> list[NodeConfig]:
    """A network's nodes, whose layers have a bias where the file has one other than 0.

    Args:
        layers: the network.
        neurons: the model of each part's neurons, and its settings.
        biased: whether layers that read the image have a bias in any case.
    """
    nodes = []
    for part in list(layers.parts.values())[1:]:
        operation = part.operation
        if operation is None:
            kind, settings = neurons[part.name]
            nodes.append(NodeConfig(part.name, kind, [*map(str, part.reads)], **settings))
            continue
        if isinstance(operation, Convolution | Linear | OneToOne):
            bias = bool(part.bias.any()) or (biased and layers.reads_image(part))
            operation = replace(operation, bias=bias)
        nodes.append(node_of(part.name, operation, part.reads))
    return nodes


def of_metadata(metadata: dict[str, Any], source: str) -> dict[str, Any]:
    """The fields in `METADATA_FIELDS`, and dt, from a file's metadata, as Python numbers and text."""
    stored = {}
    for name in metadata.keys() & {"dt", *METADATA_FIELDS}:
        value = metadata[name]
        stored[name] = value.item() if isinstance(value, np.generic) else value
        kinds = (str,) if name == "encoding" else (int, float)
        if not isinstance(stored[name], kinds):
            raise UserError(f"{source}: has {name} {show(value)} in its metadata, expected {kinds[-1].__name__}")
    return stored


def _step(rules: Rules, name: str | None, chosen: float | None, stored: float | None) -> float | None:
    """The time step, seconds; None if time constants count steps."""
    if chosen is not None:
        check_value("--dt", chosen, number(above=0))
    fixed = rules.dt is None or rules.fixed
    if chosen is not None and fixed:
        counts = "which counts in steps" if rules.dt is None else f"whose step is {rules.dt:g} s"
        raise UserError(f"--dt {chosen:g}: expected no --dt with --written-by {name}, {counts}")
    return chosen or (None if fixed else stored) or rules.dt


def _input_shape(
    network: Network, size: tuple[int, int, int] | None, source: str
) -> tuple[tuple[int, int, int], tuple[int, ...]]:
    """The images' (height, width, channels), and the first node's input shape: (channels, height, width) or
    (features,)."""
    stored = network.shape
    if stored[:1] == (1,) and len(stored) in (2, 4):  # a batch axis in front
        stored = stored[1:]
    known = len(stored) in (1, 3) and min(stored) > 0
    if size is None:
        if not known:
            has = f"an input of shape {list(network.shape)}" if network.shape else "no input shape"
            raise UserError(f"{source}: has {has}, expected channels, height and width; see --input-shape")
        size = (stored[1], stored[2], stored[0]) if len(stored) == 3 else _image(stored[0])
    check("--input-shape", size, "three positive whole numbers", len(size) == 3 and min(size) > 0)
    if (values := math.prod(size)) > MOST_PIXELS:
        raise UserError(f"{source}: has images of {values:,} values, expected at most {MOST_PIXELS:,}")
    height, width, channels = size
    first = next((node.kind for node in network.nodes if node.kind != "Scale"), "")
    flat = len(stored) == 1 if known else first in ("Linear", "Affine")
    return size, (math.prod(size),) if flat else (channels, height, width)


def _image(features: int) -> tuple[int, int, int]:
    """The shape of images with that many values: a square, otherwise a row."""
    side = math.isqrt(features)
    return (side, side, 1) if side**2 == features else (1, features, 1)
