"""A layer's whole window as one operation with its own `jax.custom_vjp`: the calls of the kernels and their gradients.

Everything is image-major, [batch, time, neurons]; channels are padded to a multiple of 16, with zero weights. Outputs
that nothing differentiates, whose cotangent is a symbolic zero, cost nothing.
"""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.custom_derivatives import CustomVJPPrimal, SymbolicZero

from csnn_jax.config.network import SLOPELESS
from csnn_jax.engine import fixed
from csnn_jax.engine.library import LANES, call, padded
from csnn_jax.network import surrogate as surrogates
from csnn_jax.network.rounding import rounded
from csnn_jax.network.surrogate import Derivative
from csnn_jax.neurons.neuron import Reset
from csnn_jax.ops.spikes import Bits, Constant, Product, dense, no_gradient, zeros_for


class Values(NamedTuple):
    """The parameters of a layer's neurons.

    Attributes:
        beta: membrane decay, a scalar in [0, 1].
        threshold: theta, a scalar.
        mask: bits [batch, neurons / 16] of the neurons whose spikes the next layer gets; None: all.
    """

    beta: Array
    threshold: Array
    mask: Array | None = None


class Rule(NamedTuple):
    """Static settings of a layer, a hashable argument of jitted functions.

    Attributes:
        reset: "subtract", "zero" or "none".
        surrogate: a name from the configuration, or the user's derivative, any JAX function of U - threshold.
        slope: sharpness of a named surrogate.
        channels: output channels, without padding.
        keep: whether to return membranes.
        weight_bits: bits of the layer's weights, without the sign, if they are integers times a scale for each neuron;
            kernels then add integers. 0: floats.
        feeds: number of outputs, with padding, of the only linear layer that reads the spikes; their gradient is then a
            `Product`. None: any layers.
    """

    reset: Reset
    surrogate: str | Derivative
    slope: float
    channels: int
    keep: bool = False
    weight_bits: int = 0
    feeds: int | None = None

    def derivative(self, membranes: Array, threshold: Array) -> Array:
        """dS/dU at every membrane."""
        function = self.surrogate
        if isinstance(function, str):
            slope = {} if function in SLOPELESS else {"slope": self.slope}
            function = partial(surrogates.BY_NAME[function], **slope)
        return surrogates.evaluated(function, membranes - threshold)


class Geometry(NamedTuple):
    """The windows of a convolution with stride 1, and the cells of its pool.

    Attributes:
        size: height and width of the input.
        padding: zeros on every side of the input.
        pool: height and width of a cell, 1 or 2; 1: no pool.
        max: whether it's a max-pool, otherwise an average.
    """

    size: tuple[int, int]
    padding: int = 0
    pool: int = 1
    max: bool = False

    def cells(self, kernel: int) -> tuple[int, int]:
        """Rows and columns of neurons."""
        height, width = ((size + 2 * self.padding - kernel + 1) // self.pool for size in self.size)
        return height, width

    def attributes(self, kernel: int) -> dict[str, Any]:
        """The attributes that describe it to an operation."""
        (height, width), (rows, columns) = self.size, self.cells(kernel)
        sizes = {"height": height, "width": width, "rows": rows, "columns": columns}
        return sizes | {"padding": self.padding, "pool": self.pool, "max": self.max}


class Window(NamedTuple):
    """What a layer's neurons did over the window.

    Attributes:
        bits: their spikes [batch, time, neurons / 16].
        port: carries the gradient of the spikes, as in `Bits`.
        membranes: [batch, time, neurons], or [0] if they aren't kept.
        last: membranes after the last step [batch, neurons].
        counts: number of spikes [batch].
    """

    bits: Array
    port: Array | Product
    membranes: Array
    last: Array
    counts: Array


def _window(rule: Rule, results: dict[str, Array]) -> Window:
    bits = results["bits"]
    batch, time, words = bits.shape
    neurons = words * LANES
    port: Array | Product = zeros_for(bits, batch, time, neurons)
    if rule.feeds is not None:
        shapes = (batch, time, rule.feeds), (neurons, rule.feeds), ()
        port = Product(*(zeros_for(bits, *shape) for shape in shapes))
    membranes = results["membranes"] if rule.keep else jnp.zeros(0, jnp.float32)
    counts = call("count_spikes", bits=bits)["counts"]
    return Window(bits, port, membranes, results["last"], counts)


def primal(tree: Any) -> Any:
    """The values of what `jax.custom_vjp` passes with `symbolic_zeros`."""
    return jax.tree.map(lambda leaf: leaf.value, tree, is_leaf=lambda leaf: isinstance(leaf, CustomVJPPrimal))


def is_perturbed(tree: Any) -> bool:
    """Whether a gradient may be needed with respect to any of these arguments."""
    leaves = jax.tree.leaves(tree, is_leaf=lambda leaf: isinstance(leaf, CustomVJPPrimal))
    return any(leaf.perturbed for leaf in leaves)


def _if_any(cotangent: Any) -> Any:
    """A cotangent; None if it's zero because nothing differentiates the output or outputs."""
    return None if all(isinstance(leaf, SymbolicZero) for leaf in jax.tree.leaves(cotangent)) else cotangent


# --- the gradient that reaches a layer's neurons


class _Drive(NamedTuple):
    """What drives the neurons' reverse recurrence, dU[t] = given dS[t] + beta dU[t+1] ...

    Attributes:
        dspikes: [batch, time, neurons], or a product.
        given: the factor of dspikes; None: the kernel computes the surrogate's derivative.
        dmembranes: the part that doesn't come from spikes, which is in dspikes with a factor of 1; None: nothing.
    """

    dspikes: Array | Product
    given: Array | None
    dmembranes: Array | None


def _drive(rule: Rule, membranes: Array, values: Values, cotangent: Window) -> _Drive:
    port, counts = _if_any(cotangent.port), _if_any(cotangent.counts)
    if isinstance(port, Product):
        port = port._replace(right=jnp.where(port.readers == 1, port.right, jnp.nan))
    dmembranes = _dmembranes(rule, membranes, cotangent)
    mask = None if values.mask is None else dense(values.mask)[:, None, :]
    if port is None and counts is None and dmembranes is not None:
        return _Drive(dmembranes, jnp.ones_like(membranes), dmembranes)
    if port is None:
        port = jnp.zeros_like(membranes)
    derivative = partial(rule.derivative, membranes, values.threshold)
    if counts is None and dmembranes is None:
        if mask is not None:
            return _Drive(port, derivative() * mask, None)
        return _Drive(port, None if isinstance(rule.surrogate, str) else derivative(), None)
    dspikes = as_array(port) if mask is None else as_array(port) * mask
    if counts is not None:
        exists = jnp.arange(membranes.shape[-1]) % padded(rule.channels) < rule.channels
        dspikes = rounded(dspikes) + jnp.where(exists, rounded(counts)[:, None, None], 0)
    if dmembranes is not None:
        return _Drive(rounded(derivative() * dspikes) + rounded(dmembranes), jnp.ones_like(membranes), dmembranes)
    return _Drive(dspikes, None if isinstance(rule.surrogate, str) else derivative(), None)


def _dmembranes(rule: Rule, membranes: Array, cotangent: Window) -> Array | None:
    every, last = _if_any(cotangent.membranes) if rule.keep else None, _if_any(cotangent.last)
    if last is None:
        return every
    return (jnp.zeros_like(membranes) if every is None else rounded(every)).at[:, -1].add(rounded(last))


def as_array(port: Array | Product) -> Array:
    """A gradient of spikes [batch, time, neurons]."""
    if not isinstance(port, Product):
        return port
    left, right, _ = port
    return fixed.multiply(left.reshape(-1, left.shape[2]), right, transposed=True).reshape(*left.shape[:2], -1)


def _arguments(rule: Rule, given: Array | None) -> dict[str, Any]:
    """The arguments of a backward operation that say how its neurons work."""
    surrogate = "given" if given is not None else rule.surrogate
    return {"given": given, "reset": rule.reset, "surrogate": surrogate, "slope": rule.slope}


def _dvalues(drive: _Drive, values: Values, results: dict[str, Array]) -> Values:
    """The gradient of the neurons' parameters."""
    dthreshold = fixed.add_up(results["dthreshold"])
    if drive.dmembranes is not None:  # the kernel takes it for a gradient of spikes, which the threshold moves
        dthreshold += fixed.add_up(drive.dmembranes)
    mask: Any = None if values.mask is None else no_gradient(values.mask)
    return Values(fixed.add_up(results["dbeta"]), dthreshold, mask)


def _neurons_backward(
    rule: Rule, membranes: Array, values: Values, cotangent: Window
) -> tuple[dict[str, Array], Values]:
    """The gradients of neurons' currents, and of their parameters."""
    drive = _drive(rule, membranes, values, cotangent)
    results = call(
        "lif_backward",
        dspikes=as_array(drive.dspikes),
        membranes=membranes,
        beta=values.beta,
        threshold=values.threshold,
        **_arguments(rule, drive.given),
    )
    return results, _dvalues(drive, values, results)


# --- neurons under a constant current


@partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def constant_lif(current: Array, values: Values, rule: Rule, steps: int, by_current: bool) -> Window:
    """Neurons driven by the same current [batch, neurons] at every step.

    Args:
        current: [batch, neurons].
        values: the neurons' parameters.
        rule: the layer's settings.
        steps: number of time steps.
        by_current: whether a convolution probably differentiates them, see `Constant`. Their membranes then aren't
            stored, but computed again if another layer does, too.
    """
    del by_current
    return _window(rule, _constant_lif(current, values, rule, steps, rule.keep))


def _constant_lif(current: Array, values: Values, rule: Rule, steps: int, keep: bool) -> dict[str, Array]:
    return call(
        "constant_lif",
        current=current,
        beta=values.beta,
        threshold=values.threshold,
        time=steps,
        channels=rule.channels,
        stride=padded(rule.channels),
        reset=rule.reset,
        want=("membranes",) if keep else (),
    )


def _constant_lif_forward(*arguments: Any) -> tuple[Window, Any]:
    (current, values), (rule, steps, by_current) = primal(arguments[:2]), arguments[2:]
    stores = rule.keep or not by_current or is_perturbed((arguments[1].beta, arguments[1].threshold))
    results = _constant_lif(current, values, rule, steps, stores)
    return _window(rule, results), (current, results.get("membranes"), values)


def _constant_lif_backward(rule: Rule, steps: int, by_current: bool, saved: Any, cotangent: Window) -> tuple[Any, Any]:
    del by_current
    if _if_any(cotangent) is None:
        return None, None
    current, membranes, values = saved
    if membranes is None:
        membranes = _constant_lif(current, values, rule, steps, True)["membranes"]
    results, dvalues = _neurons_backward(rule, membranes, values, cotangent)
    return results["total"], dvalues


constant_lif.defvjp(_constant_lif_forward, _constant_lif_backward, symbolic_zeros=True)


def _layer_arguments(spikes: Bits, kernel: Array, bias: Array, values: Values, rule: Rule) -> dict[str, Any]:
    """The arguments of a forward operation with weights."""
    operands = {"bits_in": spikes.bits, "kernel": kernel, "bias": bias}
    neurons = {"beta": values.beta, "threshold": values.threshold, "reset": rule.reset}
    return operands | neurons | {"channels": rule.channels, "weight_bits": rule.weight_bits}


# --- linear layer


@partial(jax.custom_vjp, nondiff_argnums=(4,))
def linear_lif(spikes: Bits, kernel: Array, bias: Array, values: Values, rule: Rule) -> Window:
    """A linear layer and its neurons; kernel [inputs, outputs], both multiples of 16, bias [outputs]."""
    return _window(rule, _linear_lif(spikes, kernel, bias, values, rule, rule.keep))


def _linear_lif(spikes: Bits, kernel: Array, bias: Array, values: Values, rule: Rule, keep: bool) -> dict[str, Array]:
    return call(
        "linear_lif",
        **_layer_arguments(spikes, kernel, bias, values, rule),
        want=("membranes",) if keep else (),
    )


def _linear_lif_forward(*arguments: Any) -> tuple[Window, Any]:
    port, rule = arguments[0].port, arguments[4]
    spikes, kernel, bias, values = primal(arguments[:4])
    results = _linear_lif(spikes, kernel, bias, values, rule, True)
    saved = saved_spikes(spikes, port, None), kernel, results["membranes"], values
    return _window(rule, results), saved


def saved_spikes(spikes: Bits, port: Any, constant: Constant | None) -> Bits:
    """Spikes for the backward pass, with a small port of the same kind; None if it needs no gradient."""
    if not is_perturbed(port):
        return Bits(spikes.bits, None, constant)
    if isinstance(port, Product):
        small = jnp.zeros(())
        return Bits(spikes.bits, Product(small, small, small), constant)
    assert isinstance(spikes.port, Array)
    return Bits(spikes.bits, jnp.zeros((0, spikes.port.shape[-1])), constant)


def _linear_lif_backward(rule: Rule, saved: Any, cotangent: Window) -> tuple[Bits, Array, Array, Values]:
    spikes, kernel, membranes, values = saved
    results, dvalues = _neurons_backward(rule, membranes, values, cotangent)
    dcurrent = results["dcurrent"]
    dkernel = call("linear_weights", bits_in=spikes.bits, dcurrent=dcurrent)["dkernel"]
    port: Any = None
    if spikes.port is not None:
        product = Product(dcurrent, kernel, jnp.ones(()))
        if isinstance(spikes.port, Product):
            port = product
        else:
            port = as_array(product._replace(right=kernel[: spikes.port.shape[-1]]))
    return Bits(no_gradient(spikes.bits), port), dkernel, fixed.add_up(results["total"], 0), dvalues


linear_lif.defvjp(_linear_lif_forward, _linear_lif_backward, symbolic_zeros=True)


# --- convolution, pooling


@partial(jax.custom_vjp, nondiff_argnums=(5, 6))
def conv_lif(
    spikes: Bits, kernel: Array, bias: Array, added: Array | None, values: Values, rule: Rule, geometry: Geometry
) -> Window:
    """Convolution, pooling and the neurons.

    Args:
        spikes: packed spikes.
        kernel: [k, k, in, out], in and out multiples of 16.
        bias: [out].
        added: a current to add to the pooled one [batch, time, neurons]; None: nothing.
        values: the neurons' parameters.
        rule: the layer's settings.
        geometry: the convolution's windows, and its pool.
    """
    return _window(rule, _conv_lif(spikes, kernel, bias, added, values, rule, geometry, rule.keep))


def _conv_lif(
    spikes: Bits,
    kernel: Array,
    bias: Array,
    added: Array | None,
    values: Values,
    rule: Rule,
    geometry: Geometry,
    keep: bool,
) -> dict[str, Array]:
    return call(
        "conv_lif",
        **_layer_arguments(spikes, kernel, bias, values, rule),
        added=added,
        want=("membranes", *(("winners",) if geometry.max else ())) if keep else (),
        **geometry.attributes(len(kernel)),
    )


def _conv_lif_forward(*arguments: Any) -> tuple[Window, Any]:
    (_, port, constant), (rule, geometry) = arguments[0], arguments[5:]
    spikes, kernel, bias, added, values = primal(arguments[:5])
    results = _conv_lif(spikes, kernel, bias, added, values, rule, geometry, True)
    # The gradient of a constant current doesn't include those of its neurons' parameters.
    by_current = constant is not None and not is_perturbed((constant.beta, constant.threshold))
    source = saved_spikes(spikes, None if by_current else port, spikes.constant if by_current else None)
    saved = source, kernel, added is not None, results.get("winners"), results["membranes"], values
    return _window(rule, results), saved


def _conv_lif_backward(
    rule: Rule, geometry: Geometry, saved: Any, cotangent: Window
) -> tuple[Bits, Array, Array, Array | None, Values]:
    spikes, kernel, adds, winners, membranes, values = saved
    drive = _drive(rule, membranes, values, cotangent)
    arguments, leading = _arguments(rule, drive.given), kernel.shape[2]
    want = ["dcurrent"] if adds else []
    if isinstance(spikes.port, Array):
        want, leading = [*want, "dspikes_in"], spikes.port.shape[-1] // math.prod(geometry.size)
    if spikes.constant is not None:
        want = ["dcurrent_in"]
        arguments |= {f"{name}_in": value for name, value in spikes.constant._asdict().items()}
    results = call(
        "conv_backward",
        want=want,
        **_factors(drive.dspikes, math.prod(geometry.cells(len(kernel))), kernel.shape[-1]),
        membranes=membranes,
        winners=winners,
        bits_in=spikes.bits,
        kernel=kernel,
        grouped=_grouped(kernel),
        beta=values.beta,
        threshold=values.threshold,
        surrogate_in=rule.surrogate if isinstance(rule.surrogate, str) else "given",
        leading=leading,
        **arguments,
        **geometry.attributes(len(kernel)),
    )
    nothing: Any = None
    into = None if spikes.constant is None else Constant(results["dcurrent_in"], nothing, nothing)
    dvalues = _dvalues(drive, values, results)
    return (
        Bits(no_gradient(spikes.bits), results.get("dspikes_in"), into),
        results["dkernel"],
        results["dbias"],
        results.get("dcurrent"),
        dvalues,
    )


conv_lif.defvjp(_conv_lif_forward, _conv_lif_backward, symbolic_zeros=True)


def _factors(dspikes: Array | Product, cells: int, channels: int) -> dict[str, Array]:
    """The gradient of the spikes for the kernel: an array, or the factors of a product."""
    if not isinstance(dspikes, Product):
        return {"dspikes": dspikes}
    return {"left": dspikes.left, "right": dspikes.right.reshape(cells, channels, -1).swapaxes(1, 2)}


def _grouped(kernel: Array) -> Array:
    """A kernel [k, k, in, out] as [in / 16, out, k * k, 16]."""
    k, _, inputs, outputs = kernel.shape
    return kernel.reshape(k * k, inputs // LANES, LANES, outputs).transpose(1, 3, 0, 2)
