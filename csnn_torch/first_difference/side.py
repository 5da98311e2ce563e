"""The interface of a side of a comparison."""

from typing import Protocol

from torch import Tensor

from csnn_jax.config import Config
from csnn_jax.window import Trace
from csnn_torch.first_difference.simulation import Network

BEFORE, AFTER = "before", "after"
"""A membrane is read before or after the reset that its own spike causes."""


class Side(Protocol):
    """One of the two compared networks.

    Attributes:
        name: as the user gave it.
        program: what runs it, with its version.
        held: when its membranes are read, `BEFORE` or `AFTER`.
        input_shape: shape of an image without the batch, in torch's layout; None: any.
        network: the network as computed here, for experiments; None: it can't be read.
        job: its training job, for images and steps; None: unknown.
        why_unread: why there's no network, in one line; empty if there is one.
    """

    name: str
    program: str
    held: str
    input_shape: tuple[int, ...] | None
    network: Network | None
    job: Config | None
    why_unread: str

    def record(self, x: Tensor) -> Trace:
        """Runs the window from the initial state on inputs [time, batch, *input_shape], float32.

        Returns:
            NumPy arrays in torch's layout for `lif1`, `lif2`, ...: the membranes of all, and the spikes of those that
                spike and show it.
        """
