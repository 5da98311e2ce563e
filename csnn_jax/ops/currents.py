"""Input currents without neurons: of spikes at every position, and of an image that's the same at every step."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from csnn_jax.config.operations import Pooling
from csnn_jax.engine import fixed
from csnn_jax.engine.library import LANES, call
from csnn_jax.network import layers
from csnn_jax.neurons.neuron import NEVER
from csnn_jax.ops.rules import Geometry, Rule, Values, as_array, is_perturbed, linear_lif, primal, saved_spikes
from csnn_jax.ops.spikes import Bits, Product, no_gradient


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def spike_current(spikes: Bits, kernel: Array, weight_bits: int) -> Array:
    """The current of the same weights at every position; kernel [in, out], both multiples of 16.

    Returns:
        [batch, time, positions * out].
    """
    batch, time, _ = spikes.bits.shape
    inputs, outputs = kernel.shape
    # Neurons that keep nothing and never spike have their current as their membrane.
    neurons = Values(jnp.float32(0), jnp.float32(NEVER))
    rule = Rule("none", "atan", 1.0, outputs, keep=True, weight_bits=weight_bits)
    positions = Bits(spikes.bits.reshape(batch, -1, inputs // LANES), None)
    return linear_lif(positions, kernel, jnp.zeros(outputs), neurons, rule).membranes.reshape(batch, time, -1)


def _spike_current_forward(*arguments: Any) -> tuple[Array, Any]:
    spikes, kernel = primal(arguments[:2])
    saved = saved_spikes(spikes, arguments[0].port, None), kernel
    return spike_current(spikes, kernel, arguments[2]), saved


def _spike_current_backward(weight_bits: int, saved: Any, dcurrent: Array) -> tuple[Bits, Array]:
    del weight_bits
    (bits, small, _), kernel = saved
    batch, time, _ = bits.shape
    inputs, outputs = kernel.shape
    steps = bits.reshape(batch, -1, inputs // LANES)
    dcurrent = dcurrent.reshape(*steps.shape[:2], outputs)
    port: Any = None
    if small is not None:
        leading = small.shape[-1] // (steps.shape[1] // time)
        port = as_array(Product(dcurrent, kernel[:leading], jnp.ones(()))).reshape(batch, time, -1)
    return Bits(no_gradient(bits), port), call("linear_weights", bits_in=steps, dcurrent=dcurrent)["dkernel"]


spike_current.defvjp(_spike_current_forward, _spike_current_backward, symbolic_zeros=True)


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def image_current(image: Array, kernel: Array, bias: Array, geometry: Geometry | None) -> Array:
    """The current of a layer that gets the same image at every step.

    Args:
        image: [batch, height, width, in] or [batch, inputs].
        kernel: [k, k, in, out] or [inputs, out], out a multiple of 16.
        bias: [out].
        geometry: of a convolution; None: it's a linear layer.

    Returns:
        [batch, neurons].
    """
    return _image_current(image, kernel, bias, geometry)[0]


def _current(image: Array, kernel: Array, bias: Array, geometry: Geometry | None) -> Array:
    """The same in XLA, which can differentiate it."""
    with jax.named_scope("exact"):
        if geometry is None:
            return layers.matmul(image, kernel) + bias
        current = layers.conv(image, kernel, 1, geometry.padding)
        current = (
            current + bias
            if geometry.pool == 1
            else layers.pool(current, bias, Pooling("max" if geometry.max else "avg"))
        )
    return current.reshape(len(image), -1)


def _image_current(image: Array, kernel: Array, bias: Array, geometry: Geometry | None) -> tuple[Array, Array | None]:
    """The current, and the winning place of each max-pool, if any."""
    if geometry is None:
        return _current(image, kernel, bias, geometry), None
    operands = {"image": image, "kernel": kernel, "bias": bias}
    want = ("winners",) if geometry.max else ()
    results = call("image_current", want=want, **operands, **geometry.attributes(len(kernel)))
    return results["current"], results.get("winners")


def _image_current_forward(*arguments: Any) -> tuple[Array, Any]:
    image, kernel, bias = primal(arguments[:3])
    current, winners = _image_current(image, kernel, bias, arguments[3])
    return current, (image, kernel, bias, winners, jnp.zeros(()) if is_perturbed(arguments[0]) else None)


def _image_current_backward(geometry: Geometry | None, saved: Any, dcurrent: Array) -> tuple[Any, Array, Array]:
    image, kernel, bias, winners, is_perturbed = saved
    if geometry is None:
        dkernel, dbias = fixed.multiply(image.T, dcurrent), fixed.add_up(dcurrent, 0)
    else:
        operands = {"image": image, "dcurrent": dcurrent, "winners": winners, "kernel": kernel}
        results = call("image_weights", **operands, **geometry.attributes(len(kernel)))
        dkernel, dbias = results["dkernel"], results["dbias"]
    if is_perturbed is None:
        return None, dkernel, dbias
    (dimage,) = jax.vjp(lambda image: _current(image, kernel, bias, geometry), image)[1](dcurrent)
    return dimage, dkernel, dbias


image_current.defvjp(_image_current_forward, _image_current_backward, symbolic_zeros=True)
