"""A graph's nodes as docs/design.md (section 4) describes them: order, shapes and values; the graphs of flags."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from reference_layers import RESETS, Settings, Shape, layers, positions, power_of_two, setting

Term = tuple[str, int, int]
Described = Sequence[Mapping[str, Any]]
NEURONS = {"leaky": ("beta", "threshold"), "synaptic": ("alpha", "beta", "threshold")}
DEFAULTS = {"reset": "subtract", "alpha": 0.5, "beta": 0.5, "threshold": 1.0}
WEIGHTED = ("convolution", "linear", "one_to_one")


@dataclass(frozen=True)
class Signal:
    """Multiples of 2^-step, and at most 2^bits of them."""

    bits: int = 0
    step: int = 0


@dataclass(frozen=True)
class Node:
    """A node with what follows from the nodes that it reads.

    Attributes:
        inputs: Names and delays.
        options: The JSON object's other members.
        entering: The shape of what it reads: the sum of its inputs.
        shape: Of its output.
        read: The grid of what it reads, if that's a signal.
        signal: The grid of its output, if that's a signal.
        terms: Of a current: the weighted nodes that make it, each with log2 of how many of its values were added, and
            log2 of what they were divided by.
    """

    name: str
    kind: str
    inputs: tuple[tuple[str, int], ...]
    options: Mapping[str, Any]
    entering: Shape = ()
    shape: Shape = ()
    read: Signal | None = None
    signal: Signal | None = None
    terms: tuple[Term, ...] = ()

    def __getitem__(self, name: str) -> Any:
        return self.options.get(name, DEFAULTS.get(name))

    @property
    def stride(self) -> int:
        return self["stride"] or (1 if self.kind == "convolution" else self["size"] or 2)

    @property
    def size(self) -> int:
        return self["kernel"] or self["size"] or 2

    @property
    def has_bias(self) -> bool:
        default = self.kind != "one_to_one"
        return bool(self.options.get("bias", default))

    @property
    def resets(self) -> str:
        return "none" if self["integrator"] else self["reset"]


Nodes = dict[str, Node]


def built(described: Described, settings: Settings) -> Nodes:
    """The nodes in the order of their execution: each comes after those that it reads in the same step."""
    direct = setting(settings, "encoding") == "direct"
    bits = setting(settings, "input_bits") if direct else 0
    step = power_of_two(setting(settings, "scale")) if direct else 0
    shape = tuple(setting(settings, "input_shape"))
    image = Node("image", "image", (), {}, (), shape, signal=Signal(bits, step))
    fixed = ("name", "operation", "inputs")
    left = []
    for one in described:
        words = [text.split("@") for text in one["inputs"]]
        inputs = tuple((name, int(delay[0]) if delay else 0) for name, *delay in words)
        options = {key: value for key, value in one.items() if key not in fixed}
        left.append(Node(one["name"], one["operation"], inputs, options))
    for one in left:
        if one.kind in NEURONS and one.resets not in RESETS[one.kind]:
            raise ValueError(f"{one.name}: a {one.kind} neuron has no reset {one.resets}")
    values = with_values(image, with_shapes(image, left))
    done = {"image": image}
    while left:
        ready = [one for one in left if all(delay or source in done for source, delay in one.inputs)]
        if not ready:
            raise ValueError("a cycle without a delay")
        done |= {one.name: values[one.name] for one in ready}
        left = [one for one in left if one.name not in done]
    return done


def with_shapes(image: Node, nodes: Sequence[Node]) -> Nodes:
    """The nodes with their shapes, which those of a cycle have from outside it."""
    done = {"image": image}
    while len(done) <= len(nodes):
        known = {}
        for one in nodes:
            entering = [done[source].shape for source, _ in one.inputs if source in done]
            if one.name not in done and entering:
                known[one.name] = replace(one, entering=entering[0], shape=shape_of(one, entering[0]))
        if not known:
            raise ValueError("a node that doesn't follow from the image")
        done |= known
    for one in nodes:
        if any(done[source].shape != done[one.name].entering for source, _ in one.inputs):
            raise ValueError(f"{one.name}: a sum of different shapes")
    return done


def shape_of(one: Node, shape: Shape) -> Shape:
    """The shape of a node's output for an input's."""
    if one.kind in NEURONS:
        return shape
    if one.kind in ("linear", "one_to_one"):
        return (one["channels"],)
    if one.kind == "flatten":
        return (prod(shape),)
    around = one["padding"] or 0
    return (*(positions(n + 2 * around, one.size, one.stride) for n in shape[:2]), one["channels"] or shape[2])


def with_values(image: Node, nodes: Nodes) -> Nodes:
    """The nodes with what is known of their values. Spikes and weights need nothing from what they read."""
    done = {"image": image}
    for one in nodes.values():
        if one.kind in NEURONS:
            done[one.name] = replace(one, signal=Signal())
        elif one.kind in WEIGHTED:
            done[one.name] = replace(one, terms=((one.name, 0, 0),))
    while len(done) < len(nodes):
        ready = [one for one in nodes.values() if one.name not in done and all(name in done for name, _ in one.inputs)]
        if not ready:
            raise ValueError("a cycle without neurons")
        for one in ready:
            read, terms = added([done[name] for name, _ in one.inputs])
            more = 0 if one.kind in ("flatten", "max_pool") else power_of_two(one.size**2)
            divided = more if one.kind == "avg_pool" else 0
            signal = read and Signal(read.bits + more, read.step + divided)
            terms = tuple((name, number + more, already + divided) for name, number, already in terms)
            done[one.name] = replace(one, read=read, signal=signal, terms=terms)
    for one in nodes.values():
        read, terms = added([done[name] for name, _ in one.inputs])
        if one.kind in WEIGHTED and terms:
            raise ValueError(f"{one.name}: a current, which only pools and neurons can read")
        done[one.name] = replace(done[one.name], read=read)
    return done


def added(inputs: Sequence[Node]) -> tuple[Signal | None, tuple[Term, ...]]:
    """A sum of signals, or of currents."""
    terms = tuple(term for one in inputs for term in one.terms)
    signals = [one.signal for one in inputs if one.signal]
    if not signals:
        return None, terms
    if terms:
        raise ValueError("a sum of spikes and currents")
    step = max(signal.step for signal in signals)
    most = sum(2 ** (signal.bits + step - signal.step) for signal in signals)
    return Signal((most - 1).bit_length(), step), terms


def chain(settings: Settings) -> list[dict[str, Any]]:
    """The nodes that flags make, with the names that section 4 gives them."""
    result: list[dict[str, Any]] = []
    before = ["image"]
    recurrent = dict(f"{name}:all".split(":")[:2] for name in setting(settings, "recurrent"))

    def add(name: str, operation: str, inputs: Sequence[str], **options: Any) -> list[str]:
        result.append({"name": name, "operation": operation, "inputs": list(inputs)} | options)
        return [name]

    blocks = layers({key: value for key, value in settings.items() if key not in ("recurrent", "residual")})
    for number, layer in enumerate(blocks, 1):
        entering, operation, channels = before, f"{layer.pool}_pool", layer.sum_shape[-1]
        names = NEURONS[layer.neuron]
        states = {name: getattr(layer, name) for name in names} | {"reset": layer.reset, "integrator": layer.integrates}
        options, pool = {"channels": channels, "bias": layer.has_bias}, {"size": layer.pool_size}
        pool |= {"stride": layer.pool_stride}
        if layer.kernel:
            geometry = {"kernel": layer.kernel, "stride": layer.stride, "padding": layer.padding}
            before = add(layer.name, "convolution", before, **options, **geometry)
        else:
            if layer.name == "fc1":
                before = add(f"flatten{number}", "flatten", before)
            before = add(layer.name, "linear", before, **options)
        pools_before = layer.pool != "none" and not layer.pool_after
        if pools_before:
            before = add(f"pool{number}", operation, before, **pool)
        residual = layer.name in setting(settings, "residual")
        other = residual and (layer.in_shape[-1] != channels or layer.stride > 1)
        shortcut = list(entering)
        if residual and layer.pool != "none" and (pools_before or not other):
            shortcut = add(f"skip{number}", operation, entering, **pool)
        if other:
            geometry = {"kernel": 1, "stride": layer.stride, "padding": 0}
            before = before + add(f"res{number}", "convolution", shortcut, **options, **geometry)
        if layer.name in recurrent:
            through = "one_to_one" if recurrent[layer.name] == "one" else "linear"
            name = f"rec{layer.name.removeprefix('fc')}"
            before = before + add(name, through, [f"{layer.neurons}@1"], channels=channels, bias=False)
        before = add(layer.neurons, layer.neuron, before, **states)
        if layer.pool_after:
            before = add(f"pool{number}", operation, before, **pool)
        if residual and not other:
            before = before + shortcut
    return result
