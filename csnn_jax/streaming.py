"""A network that takes frame after frame, as a camera gives them, and keeps its state between them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from numpy.typing import ArrayLike

from csnn_jax.data import as_images
from csnn_jax.data.images import check_floats
from csnn_jax.network.model import CSNN, Membranes, floats


class StreamStep(NamedTuple):
    """What one frame brought.

    Attributes:
        spikes: of the output neurons at this step, 0 or 1: int [classes], or [batch, classes].
        scores: of every class since the last reset, as `Answer` has them: counts of output spikes, int; or where the
            network's readout is the membrane, the sum of its output membranes, float. As `spikes` in shape.
    """

    spikes: np.ndarray
    scores: np.ndarray


class Stream:
    """Runs a trained network one frame at a time; `Trained.stream` makes it.

    Args:
        model: the network.
        batch: how many streams run side by side; None: one, whose frames and answers have no batch axis.
    """

    def __init__(self, model: CSNN, batch: int | None = None):
        self._model, self._batch = model, batch
        graphdef, self._params = nnx.split(model)
        scale, membrane = model.config.input_scale, model.config.readout == "membrane"

        def step(params, membranes: Membranes, scores: Array, frame: Array) -> tuple[Membranes, Array, Array]:
            network = nnx.merge(graphdef, params)
            membranes, spikes = network.step(membranes, floats(frame, scale, network))
            return membranes, spikes[-1], scores + (membranes[-1] if membrane else spikes[-1])

        self._step = jax.jit(step, donate_argnums=(1, 2))
        self.reset()

    def reset(self) -> None:
        """Goes back to the state before the first frame: membranes and scores are 0."""
        self._membranes = self._model.initial_membranes(self._batch or 1)
        self._scores = jnp.zeros((self._batch or 1, self._model.config.num_classes), self._membranes[-1].dtype)

    def __call__(self, frame: ArrayLike) -> StreamStep:
        """Takes the next frame.

        Args:
            frame: [H, W, C], or [batch, H, W, C] where the stream has a batch; of bytes, which are divided by
                `config.model.input_scale`, or floats, as `classify` takes them. An image that is shown at every step is
                given again and again; of an encoded one, its spikes at this step.

        Raises:
            ValueError: a frame of another shape or type; the state stays as it was.
        """
        shape, one = self._model.config.input_shape, self._model.config.input_scale
        x = np.asarray(as_images(frame, "pixels of frame", one))
        expected = shape if self._batch is None else (self._batch, *shape)
        if x.shape != expected:
            raise ValueError(f"frame is {list(x.shape)}, expected {list(expected)}")
        if x.dtype.kind == "f":
            check_floats(x, self._model.config.pixel_scale, "frame goes")
        if self._model.config.encoding != "direct" and ((x != 0) & (x != 1)).any():
            encoding = self._model.config.encoding
            raise ValueError(
                f"frame has other numbers than 0 and 1, expected spikes, as {encoding} encoding makes them"
            )
        found = self._step(self._params, self._membranes, self._scores, x.reshape(-1, *shape))
        self._membranes, spikes, self._scores = found
        # Copied, for the next step writes over the scores.
        answer, scores = np.asarray(spikes).astype(np.int64), np.array(self._scores)
        if self._model.config.readout == "spikes":
            scores = scores.astype(np.int64)
        return StreamStep(answer, scores) if self._batch else StreamStep(answer[0], scores[0])
