"""A graph's nodes as docs/design.md (section 4) describes them: order, shapes and values; the graphs of flags."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from reference_layers import Settings, Shape, layers, positions, power_of_two, setting

Term = tuple[str, int, int]
Described = Sequence[Mapping[str, Any]]
NEURONS = {"leaky": ("beta", "threshold"), "synaptic": ("alpha", "beta", "threshold")}
DEFAULTS = {"reset": "subtract", "alpha": 0.5, "beta": 0.5, "threshold": 1.0}
WEIGHTED = ("convolution", "linear", "one_to_one")


@dataclass(frozen=True)
class Node:
    """A node with what follows from the nodes that it reads.

    Attributes:
        inputs: Names and delays.
        options: The JSON object's other members.
        shape: Of its output.
        bits, step: b and s of a signal: it has multiples of 2^-s, and at most 2^b of them.
        term: Of a current: the weighted node that makes it, log2 of how many of its sums were added, and log2 of what
            they were divided by.
    """

    name: str
    kind: str
    inputs: tuple[tuple[str, int], ...]
    options: Mapping[str, Any]
    shape: Shape = ()
    bits: int = 0
    step: int = 0
    term: Term | None = None

    def __getitem__(self, name: str) -> Any:
        return self.options.get(name, DEFAULTS.get(name))

    @property
    def source(self) -> str:
        return self.inputs[0][0]

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
    image = Node("image", "image", (), {}, tuple(setting(settings, "input_shape")), bits, step)
    fixed = ("name", "operation", "inputs")
    left = []
    for one in described:
        words = [text.split("@") for text in one["inputs"]]
        inputs = tuple((name, int(delay[0]) if delay else 0) for name, *delay in words)
        options = {key: value for key, value in one.items() if key not in fixed}
        left.append(Node(one["name"], one["operation"], inputs, options))
    shapes = {"image": image.shape}
    while len(shapes) <= len(left):
        known = {one.name: shape_of(one, shapes[name]) for one in left for name, _ in one.inputs if name in shapes}
        if known.keys() <= shapes.keys():
            raise ValueError("a node that doesn't follow from the image")
        shapes |= known
    done = {"image": image}
    while left:
        ready = [one for one in left if all(delay or source in done for source, delay in one.inputs)]
        if not ready:
            raise ValueError("a cycle without a delay")
        for one in ready:
            source = done.get(one.source, Node(one.source, "leaky", (), {}))  # spikes, perhaps of later nodes
            done[one.name] = replace(one, shape=shapes[one.name], **grid_of(one, source))
            left.remove(one)
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


def grid_of(one: Node, source: Node) -> dict[str, Any]:
    """The grid of a signal, or the term of a current."""
    if one.kind in NEURONS:
        return {}
    if one.kind in WEIGHTED:
        return {"term": (one.name, 0, 0)}
    terms = 0 if one.kind in ("flatten", "max_pool") else power_of_two(one.size**2)
    divided = terms if one.kind == "avg_pool" else 0
    if source.term:
        name, added, already = source.term
        return {"term": (name, added + terms, already + divided)}
    return {"bits": source.bits + terms, "step": source.step + divided}


def chain(settings: Settings) -> list[dict[str, Any]]:
    """The nodes that flags make, with the names that section 4 gives them."""
    result: list[dict[str, Any]] = []
    before = "image"
    recurrent = dict(f"{name}:all".split(":")[:2] for name in setting(settings, "recurrent"))

    def add(name: str, operation: str, *inputs: str, **options: Any) -> None:
        nonlocal before
        result.append({"name": name, "operation": operation, "inputs": list(inputs or (before,))} | options)
        before = name

    blocks = layers({key: value for key, value in settings.items() if key != "recurrent"})
    for number, layer in enumerate(blocks, 1):
        names = NEURONS[layer.neuron]
        states = {name: getattr(layer, name) for name in names} | {"reset": layer.reset, "integrator": layer.integrates}
        pool = {"size": layer.pool_size, "stride": layer.pool_stride}
        if layer.kernel:
            geometry = {"kernel": layer.kernel, "stride": layer.stride, "padding": layer.padding}
            add(layer.name, "convolution", channels=layer.sum_shape[-1], bias=layer.has_bias, **geometry)
        else:
            if layer.name == "fc1":
                add(f"flatten{number}", "flatten")
            add(layer.name, "linear", channels=layer.sum_shape[-1], bias=layer.has_bias)
        if layer.pool != "none" and not layer.pool_after:
            add(f"pool{number}", f"{layer.pool}_pool", **pool)
        inputs = [before]
        if layer.name in recurrent:
            operation = "one_to_one" if recurrent[layer.name] == "one" else "linear"
            inputs.append(f"rec{layer.name.removeprefix('fc')}")
            add(inputs[1], operation, f"{layer.neurons}@1", channels=layer.sum_shape[-1], bias=False)
        add(layer.neurons, layer.neuron, *inputs, **states)
        if layer.pool_after:
            add(f"pool{number}", f"{layer.pool}_pool", **pool)
    return result
