"""Rounds weights so that a layer's sums are exact."""

import jax.numpy as jnp
from jax import Array, lax

from csnn_jax.config.grid import LEAST, MOST_INPUT, Grid, is_power_of_two
from csnn_jax.network import floats
from csnn_jax.network.model import straight_through
from csnn_jax.ops.spikes import is_whole


def on_grid(
    kernel: Array, bias: Array | None = None, input_bits: int = 0, input_step: float = 1.0, pool: int = 1
) -> tuple[Array, Array]:
    """Rounds a layer's weights and biases to whole multiples of powers of two, so no sum of them is rounded.

    Sums then don't depend on their order, and membranes are the same on every machine and in every framework (see
    docs/design.md, section 2).

    Args:
        kernel: [..., out]; for inputs side by side, with all of their weights.
        bias: [out]; None: zeros.
        input_bits: inputs are whole multiples of input_step, from 0 to 2^input_bits: 0 for spikes, 8 for bytes.
        input_step: a power of two, such as 1/256 for bytes divided by 256.
        pool: positions that an average pool adds up, 4 for 2x2; 1 for a max-pool or none.

    Returns:
        kernel and bias. Gradients pass through the rounding unchanged.

    Raises:
        ValueError: an argument is invalid, or a sum of so many inputs leaves too few bits for the weights.

    Examples:
        >>> import jax.numpy as jnp
        >>> from csnn_jax import ops
        >>> kernel, bias = ops.on_grid(jnp.array([[0.3], [1 / 3]]), jnp.array([0.1]))
        >>> (kernel * 2**21).tolist(), (bias * 2**21).tolist()
        ([[629146.0], [699051.0]], [209715.0])
    """
    kernel = jnp.asarray(kernel)
    if kernel.ndim < 2 or kernel.dtype != jnp.float32 or kernel.size == 0:
        raise ValueError(f"kernel is {kernel.dtype} {list(kernel.shape)}, expected float32 [..., inputs, out]")
    bias = jnp.zeros(kernel.shape[-1]) if bias is None else jnp.asarray(bias)
    if bias.shape != kernel.shape[-1:] or bias.dtype != jnp.float32:
        raise ValueError(f"bias is {bias.dtype} {list(bias.shape)}, expected float32 [{kernel.shape[-1]}]")
    if not is_whole(input_bits) or not 0 <= input_bits <= MOST_INPUT:
        raise ValueError(f"input_bits is {input_bits!r}, expected a whole number from 0 to {MOST_INPUT}")
    if not (isinstance(input_step, int | float) and input_step > 0 and is_power_of_two(1 / input_step)):
        raise ValueError(f"input_step is {input_step!r}, expected a power of two from 2^-20 to 2^16")
    if not is_whole(pool) or pool < 1 or pool & (pool - 1):
        raise ValueError(f"pool is {pool!r}, expected a power of two, such as 4 for an average of 2x2")
    grid = Grid(kernel.size // kernel.shape[-1], input_bits, input_step, (pool - 1).bit_length())
    if grid.bits < LEAST:
        raise ValueError(f"{grid.terms:,} inputs of a neuron leave {grid.bits} bits for a weight, expected {LEAST}")
    values = lax.stop_gradient((kernel, bias))
    rounded = grid.round(*values, floats)
    return straight_through(kernel, rounded[0]), straight_through(bias, rounded[1])
