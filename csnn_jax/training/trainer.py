"""The interface between a training job and a framework's trainer."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import numpy as np

from csnn_jax.data import Images, Split
from csnn_jax.runs.checkpoints import State
from csnn_jax.runs.layouts import Tensors
from csnn_jax.runs.metrics import Evaluation, NeuronSummary, StepMetrics

if TYPE_CHECKING:
    from csnn_jax.initial.start import Start
    from csnn_jax.training.feed import Batch


class Trainer(Protocol):
    """A network that is being trained, as the loop of any framework sees it.

    Attributes:
        start: the weights that it started from.
    """

    start: "Start"

    def describe(self) -> str:
        """Framework, engine and device, for the log."""
        ...

    def rows(self, batch: int) -> slice:
        """The rows of a batch that this process needs the images of."""
        ...

    def step(self, batch: "Batch", rate: float) -> StepMetrics:
        """Updates the network by a batch, or by the `rows` of it that this process has, at a learning rate.

        It need not wait for the device: `StepMetrics.fetched` does. Where a loss or gradient is not finite, here or at
        a step before, nothing is changed.
        """
        ...

    def roll_back(self) -> None:
        """Takes the latest update back."""
        ...

    def evaluate(self, split: Split, go_on: Callable[[], bool]) -> Evaluation | None:
        """Runs all images of a split, asking before each batch whether to go on; None if not."""
        ...

    def look(self, images: Images, before: bool = False) -> dict[str, NeuronSummary]:
        """Membranes and dead channels of every layer on some of the images; see `metrics.look`.

        With `before`, of the network as it was before the latest update.
        """
        ...

    def trace(self, images: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Membranes and spikes of every layer for images uint8 [batch, H, W, C], each [time, batch, *shape]."""
        ...

    def tensors(self) -> Tensors:
        """The weights that the network runs with, rounded to their grids, in torch's names and layouts."""
        ...

    def masters(self) -> Tensors:
        """The parameters that training updates, in the same form."""
        ...

    def snapshot(self) -> State:
        """The training state by name: copies on the host, which later steps do not change."""
        ...

    def restore(self, state: State) -> None:
        """Takes a training state over, with the names, shapes and types of `snapshot`."""
        ...
