"""The convolutional spiking neural network: parameters in flax.nnx modules, neuron state as an explicit carry."""

import math
from collections.abc import Callable, Mapping
from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array, lax
from jax.typing import DTypeLike

from csnn_jax.config.graph import IMAGE, Graph, NeuronNode, WeightedNode
from csnn_jax.config.grid import Group
from csnn_jax.config.network import ModelConfig, surrogate_of
from csnn_jax.network import floats, inputs, surrogate
from csnn_jax.network.library import Jax
from csnn_jax.neurons.neuron import State
from csnn_jax.runs import layouts
from csnn_jax.window import Carry, Dropped, Step, start, step

States = tuple[State, ...]
"""The state of every layer of neurons."""


class Weights(nnx.Module):
    """The parameters of a convolution or linear layer.

    Args:
        node: its node.
        key: draws them.
        most: the number of values of the network's largest kernel.
        dtype: their floating-point type.

    Attributes:
        kernel: [k, k, in, out] or [in, out]. Uniform in +-1/sqrt(fan_in), torch's default.
        bias: [out], drawn likewise; None if the network has no biases.
        exponents: of the neurons' grids, integers [out], if `Grid.choose` sets them; otherwise None.
    """

    def __init__(self, node: WeightedNode, key: Array, most: int, dtype: DTypeLike):
        self.node, shape = node, node.kernel_shape
        bound = jnp.asarray(1 / math.sqrt(math.prod(shape[:-1])), dtype)
        for_kernel, for_bias = jax.random.split(key)

        def draw(key: Array, shape: tuple[int, ...]) -> nnx.Param:
            values = _uniform(key, bound, most, dtype)
            if isinstance(values, jax.core.Tracer):
                return nnx.Param(values[: math.prod(shape)].reshape(shape))
            # NumPy, because JAX would compile a slice and a shape for every parameter.
            return nnx.Param(jnp.asarray(np.asarray(values)[: math.prod(shape)].reshape(shape)))

        self.kernel = draw(for_kernel, shape)
        self.bias = nnx.data(draw(for_bias, shape[-1:]) if node.bias else None)
        self.exponents = nnx.data(nnx.Param(self.best_exponents(jnp.sum)) if node.grid.chosen else None)

    @property
    def biases(self) -> Array:
        """The biases [out], or zeros if the network has none."""
        return jnp.zeros(self.node.channels, self.kernel.dtype) if self.bias is None else self.bias[...]

    @property
    def stored_exponents(self) -> Array | None:
        """The exponents of the neurons' grids, integers [out]; None: they follow from the largest weights."""
        if self.exponents is None:
            return None
        return jnp.rint(lax.stop_gradient(self.exponents[...])).astype(jnp.int32)

    def best_exponents(self, add_up: Callable[..., Array]) -> Array:
        """The best exponents of the grids for the current weights, see `Grid.choose`.

        In your own training loop, set `exponents` to `nnx.Param(own.best_exponents(jnp.sum))` for each `own` in
        `model.weights.values()`.

        Args:
            add_up: (squared errors [inputs, out], 0) -> their sums [out], such as `jnp.sum`.
        """
        with jax.named_scope("exact"):  # rounding to grids is; `add_up` keeps the order of its sums
            exponents = self.node.grid.choose(self.kernel[...], self.biases, floats, add_up)
        return exponents.astype(self.kernel.dtype)

    @property
    def parameters(self) -> dict[str, nnx.Param]:
        """The trainable parameters by name."""
        named = {"kernel": self.kernel, "bias": self.bias, "exponents": self.exponents}
        return {name: value for name, value in named.items() if value is not None}


class NeuronParameters(nnx.Module):
    """The parameters of a layer of neurons.

    Args:
        node: its node.
        derivative: the surrogate derivative of its spikes.
        dtype: floating-point type of the parameters.

    Attributes:
        values: by name: an `nnx.Param`, scalar or [out], if it's stored with the weights, otherwise a number.
    """

    def __init__(self, node: NeuronNode, derivative: surrogate.Derivative, dtype: DTypeLike):
        self.node, self.derivative = node, derivative
        initial = node.operation.initial
        stored = {name: nnx.Param(jnp.asarray(value, dtype)) for name, value in initial.items()}
        self.values = nnx.data(
            {name: stored.get(f"{node.name}.{name}", number) for name, number in node.operation.configured}
        )

    @property
    def parameters(self) -> dict[str, nnx.Param]:
        """The trainable parameters by name."""
        return {name: value for name, value in self.values.items() if isinstance(value, nnx.Param)}

    @property
    def in_use(self) -> dict[str, Array | float]:
        """All parameters by name: numbers, scalars, or [out]. Gradients flow only to learned ones."""
        learned = self.node.operation.learned

        def used(name: str, value: nnx.Param | float) -> Array | float:
            if not isinstance(value, nnx.Param):
                return value
            return value[...] if name in learned else lax.stop_gradient(value[...])

        return {name: used(name, value) for name, value in self.values.items()}


@partial(jax.jit, static_argnums=(2, 3), inline=True)
def _uniform(key: Array, bound: Array, most: int, dtype: DTypeLike) -> Array:
    """Draws `most` values from +-bound.

    A value depends on the key and its place only, so all parameters can be drawn with the length of the largest, by one
    program, which takes less time than compiling a program for each.
    """
    return bound * (2 * jax.random.uniform(key, (most,), dtype) - 1)  # minval would be added to a product


@partial(jax.jit, static_argnums=0, inline=True)
def _rounded(
    group: Group, layers: list[tuple[Array, Array]], exponents: list[Array | None]
) -> list[tuple[Array, Array]]:
    """`Group.round` in JAX; outside `jax.jit`, as one program."""
    with jax.named_scope("exact"):
        return group.round(layers, floats, exponents)


class CSNN(nnx.Module):
    """The spiking network, with its weights as `nnx.Param`s.

    Args:
        config: the stack and its neurons.
        key: a `jax.random.key` or a seed for the initial weights.
        derivative: your own surrogate derivative, any JAX function of x = U - threshold; None: `config.surrogate`.
        dtype: floating-point type of the parameters.

    Attributes:
        config: the configuration.
        nodes: the parameters of each node that has some, in the graph's order.
        on_grids: whether the weights are known to be on their grids, so running doesn't round them; only for inference.

    Raises:
        ValueError: the config or the key has the wrong type, or a seed is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> from csnn_jax import CSNN, ModelConfig
        >>> model = CSNN(ModelConfig(conv_channels=(8,), hidden=(16,), time_steps=5), key=0)
        >>> states = model.initial_states(batch=2)
        >>> states, spikes = model.step(states, jnp.zeros((2, 28, 28, 1)))
        >>> [layer.shape for layer in spikes]
        [(2, 14, 14, 8), (2, 16), (2, 10)]
    """

    def __init__(
        self,
        config: ModelConfig | None = None,
        key: Array | int = 0,
        derivative: surrogate.Derivative | None = None,
        dtype: DTypeLike = jnp.float32,
    ):
        config = ModelConfig() if config is None else config
        if not isinstance(config, ModelConfig):
            raise ValueError(f"config is of type {type(config).__name__}, expected a ModelConfig")
        if isinstance(key, int | np.integer):
            if not 0 <= key < 2**63:
                raise ValueError(f"key is {key}, expected a seed of at least 0 and less than 2**63")
            key = jax.random.key(int(key))
        elif not isinstance(key, Array):
            raise ValueError(f"key is of type {type(key).__name__}, expected a jax.random.key or a seed")
        if not (derivative is None or callable(derivative)):
            named = "a function of U - threshold; config.surrogate takes names"
            raise ValueError(f"derivative is {derivative!r}, expected {named}")
        derivative = derivative or derivative_of(config)
        self.config, self.on_grids = config, False
        largest = max(math.prod(node.kernel_shape) for node in config.graph.weighted)
        most = max(4096, 1 << (largest - 1).bit_length())  # a power of two, so most networks share a program
        made: list[Weights | NeuronParameters] = []
        for node in config.graph:
            if isinstance(node, NeuronNode):
                made.append(NeuronParameters(node, derivative, dtype))
            elif isinstance(node, WeightedNode):
                drawn = jax.random.fold_in(key, config.graph.weighted.index(node))
                made.append(Weights(node, drawn, most, dtype))
        self.nodes = nnx.List(made)

    @property
    def weights(self) -> dict[str, Weights]:
        """The convolutions and linear layers by name, in order."""
        return {module.node.name: module for module in self.nodes if isinstance(module, Weights)}

    @property
    def neurons(self) -> dict[str, NeuronParameters]:
        """The layers of neurons by name, in order."""
        return {module.node.name: module for module in self.nodes if isinstance(module, NeuronParameters)}

    @property
    def dtype(self) -> np.dtype:
        """Floating-point type of the parameters."""
        return next(iter(self.weights.values())).kernel.dtype

    @property
    def parameters(self) -> dict[str, nnx.Param]:
        """The trainable parameters of all nodes, by the names of `layouts.Arrays`."""
        named = ((module.node.name, module.parameters) for module in self.nodes)
        return {f"{node}.{name}": value for node, values in named for name, value in values.items()}

    def initial_states(self, batch: int) -> Carry:
        """What the first step gets: the states of neurons by node, zeros [batch, *out_shape], and delayed outputs.

        Args:
            batch: number of images.

        Raises:
            ValueError: batch isn't a positive whole number.
        """
        if not isinstance(batch, int | np.integer) or batch < 1:
            raise ValueError(f"batch is {batch!r}, expected a whole number of at least 1")
        return start(self.config.graph, lambda node: jnp.zeros((batch, *node.shape), self.dtype))

    @surrogate.reverse_mode_only()
    def step(self, states: Carry, x: Array) -> tuple[Carry, tuple[Array, ...]]:
        """One time step: (states, the spikes of each layer of neurons).

        Weights and x are rounded, see `exact` and `enter`.

        Args:
            states: what the step before returned, or `initial_states`.
            x: [batch, H, W, C], the input of this step.

        Raises:
            ValueError: x or the states have the wrong shape. Outside `jax.jit`, also if x has values outside the
                input's range, or a parameter has NaN or infinity.
        """
        inputs.check_parameters(self.parameters)
        inputs.check(self.config, x, (4,))
        expected = jax.tree.map(jnp.shape, jax.eval_shape(lambda: self.initial_states(len(x))))
        if (shapes := jax.tree.map(jnp.shape, states)) != expected:
            raise ValueError(f"states have shapes {shapes}, expected those of initial_states({len(x)})")
        states, after = advance(with_rounded_weights(self), states, {IMAGE: scaled_input(self, x)})
        return states, tuple(after.values[node.name] for node in self.config.graph.neurons)


def derivative_of(config: ModelConfig) -> surrogate.Derivative:
    """The surrogate derivative of a configuration, with its slope if it has one."""
    derivative = surrogate.BY_NAME[surrogate_of(config)]
    return derivative if config.slope is None else partial(derivative, slope=config.slope)


def advance(
    model: CSNN,
    carry: Carry,
    known: Mapping[str, Array],
    part: Graph | None = None,
    dropped: Dropped | None = None,
) -> tuple[Carry, Step]:
    """One time step, without rounding anything.

    Args:
        model: the network.
        carry: what the part's nodes need from the steps before.
        known: the outputs of some nodes, such as the image.
        part: the nodes to run; None: all.
        dropped: see `csnn_jax.window.step`.
    """
    library = Jax(model.config.graph, model.nodes)
    return step(part or model.config.graph, library, library.parameters, carry, known, dropped)


def with_rounded_weights(model: CSNN) -> CSNN:
    """The network with weights and biases rounded to their grids, so all its sums are exact.

    Gradients pass through the rounding unchanged, so training updates the unrounded weights.
    """
    if model.on_grids:
        return model
    rounded = nnx.merge(*nnx.split(model))
    weights = rounded.weights
    for names, group in model.config.graph.groups.items():
        layers = [weights[name] for name in names]
        masters = [lax.stop_gradient((layer.kernel[...], layer.biases)) for layer in layers]
        on_grid = _rounded(group, masters, [layer.stored_exponents for layer in layers])
        for layer, (kernel, biases) in zip(layers, on_grid, strict=True):
            layer.kernel = nnx.Param(straight_through(layer.kernel[...], kernel))
            if layer.bias is not None:
                layer.bias = nnx.Param(straight_through(layer.bias[...], biases))
    return rounded


@jax.custom_jvp
def straight_through(value: Array, rounded: Array) -> Array:
    """The rounded value, with the gradient of the value itself."""
    del value
    return rounded


@straight_through.defjvp
def _(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    return straight_through(*primals), tangents[0]


def scaled_input(model: CSNN, x: Array) -> Array:
    """An input in the network's dtype: bytes divided by its scale, floats rounded to multiples of 1 / scale."""
    scale, x = model.config.entering.scale, jnp.asarray(x)
    units = x.astype(model.dtype)
    if x.dtype == jnp.uint8:
        return units / scale
    return straight_through(units, jnp.rint(lax.stop_gradient(units) * scale) / scale)


def arrays(model: CSNN) -> layouts.Arrays:
    """The parameters as NumPy arrays in this package's layout."""
    return {name: np.asarray(value[...]) for name, value in model.parameters.items()}


def tensors(model: CSNN) -> layouts.Tensors:
    """The parameters as in `weights.safetensors`: NumPy arrays with torch's names and layouts."""
    return layouts.to_tensors(model.config, arrays(model))


def load_arrays(model: CSNN, values: layouts.Arrays) -> None:
    """Sets the parameters from the form of `arrays(...)`, keeping the model's floating-point type."""
    for name, parameter in model.parameters.items():
        parameter.set_value(jnp.asarray(values[name], parameter.dtype))


def load_tensors(model: CSNN, values: layouts.Tensors) -> None:
    """Sets the parameters from the form of `tensors(...)`, keeping the model's floating-point type."""
    load_arrays(model, layouts.from_tensors(model.config, values))


def from_arrays(config: ModelConfig, values: layouts.Arrays, dtype: DTypeLike = jnp.float32) -> CSNN:
    """Makes a network with the given parameters, without drawing any.

    Args:
        config: the stack and its neurons.
        values: its parameters in the form of `arrays(...)`.
        dtype: floating-point type of the parameters.
    """
    model = without_values(config, dtype)
    load_arrays(model, values)
    return model


def without_values(config: ModelConfig, dtype: DTypeLike = jnp.float32) -> CSNN:
    """A network whose parameters have only shapes, for `load_arrays`.

    Those of equal configurations have the same structure, and share what was compiled for it.
    """
    named = surrogate.BY_NAME[surrogate_of(config)]
    structure = _structure(config, jax.dtypes.canonicalize_dtype(dtype), named)
    return nnx.merge(*structure, copy=True)  # or all would share their variables, too


@lru_cache(maxsize=32)
def _structure(config: ModelConfig, dtype: np.dtype, named: surrogate.Derivative) -> tuple[nnx.GraphDef, nnx.State]:
    del named  # CSNN looks it up; it's an argument because a notebook may replace it
    return nnx.split(nnx.eval_shape(lambda: CSNN(config, dtype=dtype)))


def from_tensors(config: ModelConfig, values: layouts.Tensors, dtype: DTypeLike = jnp.float32) -> CSNN:
    """`from_arrays` for parameters in the form of `tensors(...)`."""
    return from_arrays(config, layouts.from_tensors(config, values), dtype)
