"""The gradient of a batch: in micro-batches, so memory doesn't grow with the window, and on all devices at once."""

from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax

from csnn_jax.devices.mesh import Devices
from csnn_jax.engine import scan
from csnn_jax.runs.normalization import Statistics
from csnn_jax.update.objective import Objective


class Gradients(NamedTuple):
    """Loss, layer densities [layers] and gradient of a batch or part of one; with batch normalization, statistics."""

    loss: Array
    densities: Array
    gradient: Any
    statistics: dict[str, Statistics] | None = None


Gradient = Callable[..., Gradients]
"""(parameters, x uint8 [batch, H, W, C] or [time, batch, H, W, C], labels [batch], *dropout's masks) -> `Gradients`.
Each mask is bool [batch, neurons]."""


def make(
    graphdef: nnx.GraphDef,
    objective: Objective,
    engine: ModuleType = scan,
    part: int | None = None,
    devices: Devices | None = None,
    dropout: float = 0.0,
) -> Gradient:
    """Makes the function that computes a batch's gradient; the caller jits it.

    Args:
        graphdef: the network's structure.
        objective: the function to minimize.
        engine: an engine in csnn_jax.engine, or `normalized` there.
        part: images that go through the network at once (the largest divisor of a device's rows up to it); None: all.
        devices: devices to run on; None: JAX's first device.
        dropout: fraction of the neurons that the masks drop.
    """
    devices = devices or Devices(jax.devices()[:1])

    def at_once(params: Any, x: Array, labels: Array, *masks: Array) -> Gradients:
        def loss_of(params: Any) -> tuple[Array, tuple[Any, ...]]:
            model = nnx.merge(graphdef, params)
            dropped = scan.Dropout(masks, 1 / (1 - dropout)) if masks else None
            output, densities, *statistics = engine.forward_with_densities(model, x, objective.reads, dropped)
            densities = devices.mean(densities)  # a rate target applies to the whole batch
            return objective.cost(output, labels, densities), (densities, *statistics)

        (loss, (densities, *statistics)), gradient = jax.value_and_grad(loss_of, has_aux=True)(params)
        return Gradients(loss, densities, gradient, *statistics)

    return devices.spread(in_parts(at_once, part), devices.mean)


def in_parts(gradient: Gradient, part: int | None) -> Gradient:
    """Computes a gradient part by part: the parts' means are added in order and divided by their number."""

    def added(params: Any, x: Array, labels: Array, *masks: Array) -> Gradients:
        size = part_of(len(labels), part)
        number = len(labels) // size
        if number == 1:
            return gradient(params, x, labels, *masks)

        def add(sums: Gradients, some: tuple[Array, ...]) -> tuple[Gradients, None]:
            return jax.tree.map(jnp.add, sums, gradient(params, *some)), None

        axis = x.ndim - 4
        split = x.reshape(*x.shape[:axis], number, size, *x.shape[axis + 1 :])
        others = [array.reshape(number, size, *array.shape[1:]) for array in (labels, *masks)]
        parts = jnp.moveaxis(split, axis, 0), *others
        like = jax.eval_shape(gradient, params, *jax.tree.map(lambda array: array[0], parts))
        sums, _ = lax.scan(add, jax.tree.map(lambda array: jnp.zeros(array.shape, array.dtype), like), parts)
        return jax.tree.map(lambda array: array * (1 / number), sums)

    return added


def part_of(rows: int, part: int | None) -> int:
    """The number of images in a part: the largest divisor of the rows that is at most `part`."""
    return max(size for size in range(1, rows + 1) if rows % size == 0 and size <= (part or rows))
