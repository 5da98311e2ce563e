"""Rounds weights so that a layer's sums are exact."""

import jax.numpy as jnp
from jax import Array, lax

from csnn_jax.config.grid import Grid
from csnn_jax.network.model import straight_through


def on_grid(
    kernel: Array, bias: Array, input_bits: int = 0, input_step: float = 1.0, pool: int = 1
) -> tuple[Array, Array]:
    """Rounds a layer's weights and biases to whole multiples of powers of two, so no sum of them is rounded.

    Sums then don't depend on their order, and membranes are the same on every machine and in every framework (see
    docs/design.md, section 2).

    Args:
        kernel: [..., out]; for inputs side by side, with all of their weights.
        bias: [out].
        input_bits: inputs are whole multiples of input_step, from 0 to 2^input_bits: 0 for spikes, 8 for bytes.
        input_step: a power of two, such as 1/256 for bytes divided by 256.
        pool: positions that an average pool adds up, 4 for 2x2; 1 for a max-pool or none.

    Returns:
        kernel and bias. Gradients pass through the rounding unchanged.

    Examples:
        >>> import jax.numpy as jnp
        >>> from csnn_jax import ops
        >>> kernel, bias = ops.on_grid(jnp.array([[0.3], [1 / 3]]), jnp.array([0.1]))
        >>> (kernel * 2**21).tolist(), (bias * 2**21).tolist()
        ([[629146.0], [699051.0]], [209715.0])
    """
    terms = kernel.size // kernel.shape[-1]
    grid = Grid(terms, input_bits, input_step, (pool - 1).bit_length())
    values = lax.stop_gradient((kernel, bias))
    rounded = grid.round(*values, jnp)
    return straight_through(kernel, rounded[0]), straight_through(bias, rounded[1])
