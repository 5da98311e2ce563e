"""The interface of a side of a comparison."""

from typing import Protocol

from torch import Tensor

from csnn_jax.config import Config
from csnn_torch.first_difference.recording import Recording
from csnn_torch.first_difference.simulation import Network


class Side(Protocol):
    """One of the two compared networks.

    Attributes:
        name: as the user gave it.
        program: what runs it, with its version.
        held: when its membranes are read, `recording.BEFORE` or `AFTER`.
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

    def record(self, x: Tensor) -> Recording:
        """Runs the window from the initial state on inputs [time, batch, *input_shape], float32."""
        ...
