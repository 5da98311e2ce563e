"""The event engine's operations, for your own networks and training loops.

They are pure functions of arrays that run on the CPU, in time proportional to the number of spikes. They work with
`jax.jit`, `jax.grad`, `jax.checkpoint`, `jax.lax.scan`, `jax.vmap` and `jax.shard_map`; forward mode and second
derivatives raise an error.
"""

from csnn_jax.ops.grid import on_grid
from csnn_jax.ops.layer import Held, Layer, conv_lif, held, linear_lif, pointwise
from csnn_jax.ops.recurrent import recurrent_lif
from csnn_jax.ops.spikes import Spikes, pack, side_by_side, unpack

__all__ = [
    "Held",
    "Layer",
    "Spikes",
    "conv_lif",
    "held",
    "linear_lif",
    "on_grid",
    "pack",
    "pointwise",
    "recurrent_lif",
    "side_by_side",
    "unpack",
]
