"""One time step in plain ONNX operators, with readable names.

A tensor has the name of the layer that computes it (`conv1`, `pool1`, `spikes1`, `fc1`, ...; see onnx_file.py). The
other files of a bundle are built from this graph by these names.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from csnn_jax.config.graph import IMAGE, Edge, Node
from csnn_jax.config.network import ModelConfig
from csnn_jax.config.operations import Convolution, OneToOne, Pooling
from csnn_jax.neurons.neuron import MEMBRANE, Neurons, State, Values
from csnn_jax.runs.layouts import Tensors
from csnn_jax.window import Library
from csnn_jax.window import step as run_step
from export import semantics
from export.graphs.onnx_file import finish, metadata_of, output_name, spikes_name
from export.reference import Step, carried, state_shapes

_FLOAT = onnx.TensorProto.FLOAT


def step(
    config: ModelConfig, tensors: Tensors, opset: int = 20, metadata: Mapping[str, str] | None = None
) -> onnx.ModelProto:
    """The graph (image, mem1, mem2, ...) -> (spikes, mem1_next, mem2_next, ...) with a symbolic batch `N`.

    Layers of neurons are numbered in the graph's order. If they have more states, such as `syn1`, these come before
    `mem1`. If membranes determine the class, the first output is `membrane`. The spikes of the step before are computed
    from the membranes; other outputs of earlier steps are states, too, `lif1@1`, `lif1@2`, ... (the longest delay).

    Args:
        config: the stack.
        tensors: its parameters as returned by `weights.load`.
        opset: version of ONNX's operator set, 18 to 21.
        metadata: what the graph doesn't show; None: what follows from the configuration.

    Returns:
        The model; its operators are Conv, MaxPool or AveragePool, Flatten, Gemm, Greater, Cast, Mul, Add, Sub, a Sum
            after a Conv without a pool, and an Identity where an output equals another one or an input. If the network
            was described node by node, the operators' names end in their kind, so a node of any name differs from
            states and outputs.
    """
    network, made = Step(config, tensors), _Graph()
    carry = carried(config.graph, map(made.input, state_shapes(config)))
    parameters = {
        node: {name: made.input(f"{node}.{name}") for name in values} for node, values in network.parameters.items()
    }
    for weighted in config.graph.weighted:
        if isinstance(weighted.operation, OneToOne) and not weighted.bias:
            del parameters[weighted.name]["bias"]
    following, after = run_step(config.graph, made, parameters, carry, {IMAGE: made.input(IMAGE)})
    named: dict[str, _Tensor] = {}
    for number, node in enumerate(config.graph.neurons, 1):
        made.layer = node.name
        states = {name: made.computed(value) for name, value in after.states[node.name].items()}
        named |= {f"{name}{number}_next": value for name, value in states.items()}
        named[spikes_name(config, number)] = after.values[node.name]
    if config.readout == "membrane":
        named[output_name(config)] = made.add("Identity", states[MEMBRANE])
    for name, stored in following.past.items():
        made.layer = name
        named |= {f"{Edge(name, d)}_next": made.add("Identity", one) for d, one in enumerate(stored, 1)}
    outputs = [output_name(config), *(f"{name}_next" for name in state_shapes(config))]
    nodes = list(_nodes(made, {named[name] for name in outputs}, named, config.network is None))
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "csnn_step",
        [_value(IMAGE, (config.input_shape[-1], *config.input_shape[:2]))]
        + [_value(name, shape) for name, shape in state_shapes(config).items()],
        [_value(outputs[0], (config.num_classes,))]
        + [_value(f"{name}_next", shape) for name, shape in state_shapes(config).items()],
        [numpy_helper.from_array(v, name) for name, v in (_arrays(network) | made.constants).items() if name in used],
    )
    model = helper.make_model(graph, producer_name="csnn_jax", opset_imports=[helper.make_opsetid("", opset)])
    if metadata is None:
        metadata = semantics.metadata(semantics.of_bundle(network, config.encoding != "direct", ()))
    return finish(model, metadata)


def _arrays(network: Step) -> dict[str, np.ndarray]:
    """The parameters by their names in the graph, weights first."""
    graph = network.config.graph
    order = dict.fromkeys([node.name for node in (*graph.weighted, *graph)])
    return {
        f"{node}.{name}": value.numpy() for node in order for name, value in network.parameters.get(node, {}).items()
    }


def static(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with static shapes and batch 1, for toolchains that allocate memory ahead of time."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    del fixed.graph.value_info[:]
    for value in (*fixed.graph.input, *fixed.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    return finish(fixed, metadata_of(model))


@dataclass(eq=False)
class _Tensor:
    """A tensor of a graph: an input, a constant, or an operator's result. Sums and differences add operators.

    Attributes:
        graph: the graph.
        layer: the node that computes it: conv1, pool1, lif1, flatten3, fc1, ...
        name: its name; "": not decided yet.
        operator: what computes it; "": nothing.
        operands: the operator's inputs.
        attributes: the operator's attributes.
    """

    graph: "_Graph"
    layer: str = ""
    name: str = ""
    operator: str = ""
    operands: tuple["_Tensor", ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)

    def __add__(self, other: "_Tensor | float") -> "_Tensor":
        return self.graph.sum(self, other)

    def __radd__(self, other: float) -> "_Tensor":
        return self.graph.sum(other, self)

    def __sub__(self, other: "_Tensor | float") -> "_Tensor":
        return self.graph.add("Sub", self, other)

    def __rsub__(self, other: float) -> "_Tensor":
        return self.graph.add("Sub", other, self)


class _Graph(Library):
    """A graph under construction, as an array library.

    Attributes:
        layer: the node whose operators are added.
        results: the operators' results in order.
        constants: numbers in a neuron's step by name.
        comparisons: the results of `fired` by its arguments: a layer's reset and its readers share S[t-1].
    """

    def __init__(self) -> None:
        self.layer = ""
        self.results: list[_Tensor] = []
        self.constants: dict[str, np.ndarray] = {}
        self.comparisons: dict[tuple[_Tensor, _Tensor | float], _Tensor] = {}

    def input(self, name: str) -> _Tensor:
        return _Tensor(self, name=name)

    def add(self, operator: str, *operands: _Tensor | float, **attributes: Any) -> _Tensor:
        inputs = tuple(one if isinstance(one, _Tensor) else self._constant(one) for one in operands)
        self.results.append(_Tensor(self, self.layer, "", operator, inputs, attributes))
        return self.results[-1]

    def sum(self, *operands: _Tensor | float) -> _Tensor:
        """Adds an Add, or a Sum for a Conv's result: ONNX Runtime would fuse an Add into the Conv, which rounds."""
        after_conv = any(isinstance(one, _Tensor) and one.operator == "Conv" for one in operands)
        return self.add("Sum" if after_conv else "Add", *operands)

    def computed(self, value: _Tensor) -> _Tensor:
        """A tensor that an operator computes, which outputs must be."""
        return value if value.operator else self.add("Identity", value)

    def evaluate(self, node: Node, own: Values, x: _Tensor) -> _Tensor:
        self._sums_inputs(node)
        return super().evaluate(node, own, x)

    def fire(self, node: Node, own: Values, state: State, currents: tuple[_Tensor, ...]) -> tuple[State, _Tensor]:
        if isinstance(node.operation, Neurons) and node.operation.separate:
            self.layer = node.name
        else:
            self._sums_inputs(node)
        return super().fire(node, own, state, currents)

    def _sums_inputs(self, node: Node) -> None:
        """Makes a node the layer of what follows and of the latest results, which add its inputs."""
        self.layer = node.name
        for one in self.results[len(self.results) + 1 - len(node.inputs) :]:
            one.layer = node.name

    def spikes(self, node: Node, own: Values, state: State) -> _Tensor:
        self.layer = node.name
        return super().spikes(node, own, state)

    def convolution(self, operation: Convolution, own: Values, x: _Tensor) -> _Tensor:
        sizes = _sizes(operation.kernel, operation.stride, operation.padding)
        return self.add("Conv", x, own["weight"], own["bias"], **sizes, dilations=[1, 1], group=1)

    def linear(self, own: Values, x: _Tensor) -> _Tensor:
        return self.add("Gemm", x, own["weight"], own["bias"], alpha=1.0, beta=1.0, transA=0, transB=1)

    def one_to_one(self, own: Values, x: _Tensor) -> _Tensor:
        product = self.add("Mul", x, own["weight"])
        return product + own["bias"] if "bias" in own else product

    def pool(self, operation: Pooling, own: Values, x: _Tensor) -> _Tensor:
        """Adds a MaxPool or AveragePool; a sum is the average times the number of pixels."""
        sizes = _sizes(operation.size, operation.stride)
        if operation.kind == "max":
            return self.add("MaxPool", x, **sizes, dilations=[1, 1], ceil_mode=0, storage_order=0)
        average = self.add("AveragePool", x, **sizes, ceil_mode=0, count_include_pad=1)
        return self.add("Mul", average, own["pixels"]) if operation.kind == "sum" else average

    def flatten(self, x: _Tensor) -> _Tensor:
        return self.add("Flatten", x, axis=1)

    def fired(self, membrane: _Tensor, threshold: _Tensor | float) -> _Tensor:
        """1 for membranes above the threshold, else 0."""
        if (membrane, threshold) not in self.comparisons:
            above = self.add("Greater", membrane, threshold)
            self.comparisons[membrane, threshold] = self.add("Cast", above, to=_FLOAT)
        return self.comparisons[membrane, threshold]

    def masked(self, fired: _Tensor, x: _Tensor | float) -> _Tensor:
        """x if a neuron fired, else 0: a product, which more tools support than a conditional."""
        return self.add("Mul", fired, x)

    def decayed(self, factor: _Tensor | float, x: _Tensor) -> _Tensor:
        """The product, rounded before anything is added to it."""
        return self.add("Mul", factor, x)

    def _constant(self, value: float) -> _Tensor:
        name = f"{self.layer}.constant{len(self.constants)}"
        self.constants[name] = np.array(value, np.float32)
        return self.input(name)


def _sizes(kernel: int, stride: int, padding: int = 0) -> dict[str, Any]:
    """The attributes of a square window."""
    return {
        "auto_pad": "NOTSET",
        "kernel_shape": [kernel, kernel],
        "strides": [stride, stride],
        "pads": [padding] * 4,
    }


def _nodes(
    graph: _Graph, outputs: Iterable[_Tensor], named: dict[str, _Tensor], short: bool
) -> Iterator[onnx.NodeProto]:
    """The operators that outputs depend on, named after their layers (`lif1.Mul`).

    A tensor is named after its operator, except those in `named`, and, if `short`, the last one of a layer, which has
    its name, as has a layer's only operator.
    """
    needed = set(outputs)
    for result in reversed(graph.results):
        if result in needed:
            needed.update(result.operands)
    for name, result in named.items():
        result.name = name
    results = [one for one in graph.results if one in needed]
    last, sizes = {one.layer: one for one in results}, Counter(one.layer for one in results)
    kinds: Counter[tuple[str, str]] = Counter()
    for one in results:
        kinds[one.layer, one.operator] += 1
        again = f"_{count}" if (count := kinds[one.layer, one.operator]) > 1 else ""
        name = one.layer if short and sizes[one.layer] == 1 else f"{one.layer}.{one.operator}{again}"
        one.name = one.name or (one.layer if short and one is last[one.layer] else name)
        inputs = [operand.name for operand in one.operands]
        yield helper.make_node(one.operator, inputs, [one.name], name, **one.attributes)


def _value(name: str, shape: tuple[int, ...]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, _FLOAT, ["N", *shape])
