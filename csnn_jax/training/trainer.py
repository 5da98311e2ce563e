"""The interface between a training job and a framework's trainer."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from csnn_jax.config import Config
from csnn_jax.data import Dataset, Images, Split
from csnn_jax.runs.checkpoints import State
from csnn_jax.runs.layouts import Tensors
from csnn_jax.runs.metrics import Evaluation, NeuronSummary, StepMetrics
from csnn_jax.window import Trace

if TYPE_CHECKING:
    from csnn_jax.flags import TrainFlags
    from csnn_jax.initial.start import Start
    from csnn_jax.training.feed import Batch


class Trainer(Protocol):
    """A network that is being trained, in any framework.

    Attributes:
        start: the weights that it started from.
    """

    start: "Start"

    def describe(self) -> str:
        """Framework, engine and device, for the log."""

    def rows(self, batch: int) -> slice:
        """The rows of a batch whose images this process needs."""

    def step(self, batch: "Batch", rate: float) -> StepMetrics:
        """Updates the network with a batch, or with this process's `rows` of it, at a learning rate.

        It doesn't have to wait for the device: `StepMetrics.fetched` does. If the loss or gradient isn't finite, in
        this step or an earlier one, nothing changes.
        """

    def roll_back(self) -> None:
        """Undoes the latest update."""

    def evaluate(self, split: Split, go_on: Callable[[], bool]) -> Evaluation | None:
        """Evaluates all images of a split, calling `go_on` before each batch; None if it returned False."""

    def summarize_neurons(self, images: Images, before: bool = False) -> dict[str, NeuronSummary]:
        """Membranes and dead channels of every layer on some of the images; see `metrics.summarize`.

        With `before`, for the network before the latest update.
        """

    def trace(self, images: np.ndarray) -> Trace:
        """All states and spikes for images uint8 [batch, H, W, C]: NumPy arrays, channels last."""

    def tensors(self) -> Tensors:
        """The weights that the network runs with, rounded to their grids, with torch's names and layouts."""

    def masters(self) -> Tensors:
        """The parameters that training updates, in the same form."""

    def snapshot(self) -> State:
        """The training state by name: copies on the host, which later steps don't change."""

    def restore(self, state: State) -> None:
        """Restores a training state with the names, shapes and types of `snapshot`."""


class Job(NamedTuple):
    """A job that is ready to begin.

    Attributes:
        flags: the flags that asked for it.
        asked: the configuration for this data set.
        config: the same with every `auto` resolved.
        dataset: its images, in the network's units.
        trainer: the network to train.
        rates: the learning rate of every iteration.
    """

    flags: "TrainFlags"
    asked: Config
    config: Config
    dataset: Dataset
    trainer: Trainer
    rates: np.ndarray
