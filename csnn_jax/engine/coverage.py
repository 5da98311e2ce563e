"""Which models and frames the event engine supports; if it doesn't, why, in one line."""

import jax.numpy as jnp
import numpy as np
from jax import Array

from csnn_jax.config import Layer
from csnn_jax.data.images import Images, highest_count
from csnn_jax.engine import bits, library
from csnn_jax.network.model import CSNN


def unsupported(model: CSNN, images: Images | Array | None = None) -> str | None:
    """Why the engine can't run this model (on these images, if given), in one line; None if it can."""
    frames = images is not None and images.ndim == 5
    reason = lacking(model, frames)
    if reason is None and frames and model.config.encoding == "direct":
        assert images is not None
        return _no_counts(images, model.config.input_scale)
    return reason


def lacking(model: CSNN, frames: bool) -> str | None:
    """Why the engine can't run this model with frames or with single images, in one line; None if it can."""
    if not library.available():
        return library.failure()
    if model.blocks[0].dtype != jnp.float32:
        return f"the event engine computes in float32, not {model.blocks[0].dtype}"
    limits = library.limits()
    if reason := model.config.kind.lacks("event"):
        return reason
    if model.config.per_channel:
        return f"the event engine supports one {' and '.join(model.config.per_channel)} per layer, not per channel"
    if other := set(model.config.resets) - set(limits.resets):
        return f"the event engine doesn't support reset {' or '.join(sorted(other))}"
    if model.config.pool_after:
        return "the event engine only pools before the neurons; --pool-after needs --engine scan"
    planes = planes_of(model) if frames else 1
    for index, layer in enumerate(model.config.layers):
        if layer.kind == "conv" and (reason := _not_covered(layer, limits, 1 if index else planes)):
            return reason
    return None


def _no_counts(images: Images | Array, scale: float) -> str | None:
    """Why the engine doesn't support these frames, in one line; None if it does."""
    most = 2 ** library.limits().count_planes - 1
    takes = f"the event engine needs frames of whole numbers from 0 to {most}"
    if images.dtype == np.uint8 and scale != 1:
        return f"{takes}, but these are divided by {scale:g}"
    highest = highest_count(images)
    if highest is None:
        return f"{takes}, but these have fractions or negative numbers"
    return f"{takes}, but these go up to {highest}" if highest > most else None


def _not_covered(layer: Layer, limits: library.Limits, planes: int) -> str | None:
    """Why the kernels can't run this convolution, in one line; None if they can."""
    if layer.stride != 1:
        return f"the event engine supports stride 1, but {layer.name} has stride {layer.stride}"
    if layer.kernel not in limits.kernel_sizes:
        largest = max(limits.kernel_sizes)
        return f"the event engine supports kernels of up to {largest} pixels, but {layer.name} has {layer.kernel}"
    if layer.pool and (layer.pool.size not in limits.pool_sizes or layer.pool.stride != layer.pool.size):
        return f"the event engine supports 2x2 pooling or none, but {layer.name} has {layer.pool}"
    if layer.pool and layer.pool.kind == "sum":
        return f"the event engine doesn't support sum pooling, as in {layer.name}"
    if layer.kernel**2 * bits.padded(planes * layer.in_shape[-1]) > limits.inputs:
        bound = f"at most {limits.inputs:,} inputs"
        return f"the event engine sums {bound}, but {layer.name} has {layer.in_shape[-1]} channels"
    return None


def planes_of(model: CSNN) -> int:
    """Bits of a sequence's numbers: encodings produce spikes, frames have counts."""
    return library.limits().count_planes if model.config.encoding == "direct" else 1
