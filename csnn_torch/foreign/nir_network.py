"""Reads the network in a NIR file from any program: stack, neurons and weights.

    network = nir_network.read("net.nir", written_by="sinabs", time_steps=50)

`nir_file.py` reads the file's nodes in order, and `nir_blocks.py` finds the layers. This module reads their neurons, by
the rules in `csnn_torch/programs`: fields of ModelConfig, and factors that are folded into the preceding weights.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from csnn_jax.config.network import ModelConfig, Output
from csnn_jax.errors import UserError, worded
from csnn_jax.neurons.neuron import THRESHOLDS, Reset, is_threshold
from csnn_jax.options import check, check_value, show
from csnn_jax.options.kinds import choice, number
from csnn_torch.foreign import nir_blocks, nir_file
from csnn_torch.foreign.network import ForeignNetwork, FoundNeurons, Weighted, parameters
from csnn_torch.foreign.nir_blocks import Block, Shape, broadcast, per_channel
from csnn_torch.foreign.nir_file import Chain, Node
from csnn_torch.programs import PROGRAMS, definition
from csnn_torch.programs.program import Rules

Values = np.ndarray
"""Values of a parameter: a scalar, or one per channel."""
NEAR = 1e-6
"""Relative tolerance for rounding a factor to a power of two: in float32, r dt / tau is rarely exactly 1."""
WEAK = 1e-3
"""With a factor up to this, a neuron practically ignores its input: probably a unit was misread."""


class _Neurons(NamedTuple):
    """The neurons of a layer: U = beta U + A, where A = alpha A + gain I + offset (alpha 0: no synapse).

    Attributes:
        alpha, beta, threshold: parameters, float32.
        gain, offset: factor of the input and what is added to it, float64.
        reset: what a spike does one step later.
    """

    alpha: Values
    beta: Values
    threshold: Values
    gain: Values
    offset: Values
    reset: Reset


def neurons_of(blocks: Sequence[Block], rules: Rules) -> FoundNeurons:
    """Reads the neurons of all blocks, and folds the factors of their inputs into the preceding weights.

    Raises:
        UserError: csnn_jax doesn't support the neurons; the message names the node, the parameter and the channel.
    """
    synaptic = any(block.neuron and block.neuron.kind == "CubaLIF" for block in blocks)
    layers = [_neurons(block, rules, synaptic) for block in blocks]
    for block, one in zip(blocks, layers, strict=True):
        block.scale(one.gain, one.offset)
    names = ("alpha", "beta", "threshold")[not synaptic :]
    values = {name: [getattr(one, name) for one in layers] for name in names}
    last = blocks[-1].neuron
    output: Output = "integrator" if last is None or last.kind == "LI" else "spiking"
    resets = [one.reset for one in layers]
    return FoundNeurons.of("synaptic" if synaptic else "leaky", output, resets, values, _notes(blocks, layers))


def _neurons(block: Block, rules: Rules, synaptic: bool) -> _Neurons:
    node, none = block.neuron, np.zeros((), np.float32)
    one = np.ones((), np.float32)
    if node is None:  # the class is read from its current, step by step
        return _Neurons(none, none, one, np.ones(()), np.zeros(()), "none")
    if node.kind not in rules.kinds:
        raise node.error(f"this program never writes {node.kind}, expected {', '.join(rules.kinds)}")
    shape = block.shape
    leaks = node.kind != "IF"
    tau = "tau_mem" if node.kind == "CubaLIF" else "tau"
    leak = _leak(node, tau, shape, rules) if leaks else np.zeros(())
    beta = np.asarray(1 - leak).astype(np.float32)
    gain, alpha = _gain(node, leak, shape, rules), none
    if node.kind == "CubaLIF":
        lost = _leak(node, "tau_syn", shape, rules)
        alpha = np.asarray(1 - lost).astype(np.float32)
        if rules.by_r:
            gain = gain * lost * _values(node, "w_in", shape, 1)
    reset: Reset = "none" if node.kind == "LI" else _reset(node, beta, rules, synaptic)
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
        raise node.error(
            "a LIF that subtracts its threshold in the step of the spike leaks afterward, but csnn_jax's leaks before; "
            "expected --reset zero, or --written-by snntorch, whose neurons subtract one step later"
        )
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


def _notes(blocks: Sequence[Block], layers: Sequence[_Neurons]) -> Iterator[str]:
    for block, one in zip(blocks, layers, strict=True):
        if block.neuron is None:
            yield f"`{block.node.name}` has no neurons: the class is read from its current, step by step"
        elif np.max(one.gain) <= WEAK:
            part = f"`{block.neuron.name}`, {block.neuron.kind}, gets {np.max(one.gain):g} of its input"
            yield f"{part} because of its r, time constant and time step; programs differ in units, see --written-by"


SAID = ("time_steps", "encoding", "scale", "input_bits")
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
    stored = of_metadata(graph.metadata, path)
    chain = nir_file.chain(graph, path)
    rules = definition.RULES if written_by is None else PROGRAMS[written_by].rules
    written = stored.pop("dt", None)
    step = _step(rules, written_by, dt, written)
    rules = replace(rules, dt=step, reset=reset or rules.reset, norm_input=norm_input)
    size, entering = _input_shape(chain, input_shape, path)
    blocks = nir_blocks.blocks(chain, entering, path)
    neurons = neurons_of(blocks, rules)
    stated = {"input_shape": size} | nir_blocks.geometry(blocks) | neurons.fields
    stated["bias"] = normalize is not None or any(block.bias.any() for block in blocks)
    chosen = {name: value for name, value in fields.items() if value is not None}
    try:
        config = ModelConfig(**stated | stored | chosen)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    if divided_by is None and config.encoding == "direct" and config.pixels.are_bytes:
        divided_by = stored.get("scale")
    names, weighted = zip(*((one.node.name, Weighted(one.weight, one.bias, set())) for one in blocks), strict=True)
    tensors, notes = parameters(config, names, weighted, neurons, path, normalize, divided_by)
    notes += neurons.notes
    if dt is None and written is None and rules.dt and not rules.fixed:
        notes.append(f"the file has no time step: assuming {rules.dt:g} s; use --dt for another")
    if written_by is None and written is None:
        notes.append("read by NIR's definition: reset to v_reset, spikes above v_threshold; see --written-by")
    notes += [rules.unsaid] if rules.unsaid else []
    return ForeignNetwork(config, tensors, tuple(worded(note, scale="divided_by") for note in notes))


def of_metadata(metadata: dict[str, Any], source: str) -> dict[str, Any]:
    """The fields in `SAID`, and dt, from a file's metadata, as Python numbers and text."""
    stored = {}
    for name in metadata.keys() & {"dt", *SAID}:
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
    chain: Chain, size: tuple[int, int, int] | None, source: str
) -> tuple[tuple[int, int, int], tuple[int, ...]]:
    """The images' (height, width, channels), and the first node's input shape: (channels, height, width) or
    (features,)."""
    stored = chain.shape
    if stored[:1] == (1,) and len(stored) in (2, 4):  # a batch axis in front
        stored = stored[1:]
    known = len(stored) in (1, 3) and min(stored) > 0
    if size is None:
        if not known:
            has = f"an input of shape {list(chain.shape)}" if chain.shape else "no input shape"
            raise UserError(f"{source}: has {has}, expected channels, height and width; see --input-shape")
        size = (stored[1], stored[2], stored[0]) if len(stored) == 3 else _image(stored[0], source)
    check("--input-shape", size, "three positive whole numbers", len(size) == 3 and min(size) > 0)
    if (values := math.prod(size)) > MOST_PIXELS:
        raise UserError(f"{source}: has images of {values:,} values, expected at most {MOST_PIXELS:,}")
    height, width, channels = size
    first = next((node.kind for node in chain.nodes if node.kind != "Scale"), "")
    flat = len(stored) == 1 if known else first in ("Linear", "Affine")
    return size, (math.prod(size),) if flat else (channels, height, width)


def _image(features: int, source: str) -> tuple[int, int, int]:
    """The shape of a square gray image with that many pixels."""
    side = math.isqrt(features)
    if side**2 != features:
        raise UserError(f"{source}: has {features} inputs, which isn't a square image; use --input-shape")
    return side, side, 1
