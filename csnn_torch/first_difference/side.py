"""What a side of a comparison is."""

from typing import Protocol

from torch import Tensor

from csnn_jax.config import Config
from csnn_torch.first_difference.recording import Recording
from csnn_torch.first_difference.simulation import Network


class Side(Protocol):
    """One of the two networks that are compared.

    Attributes:
        name: as the user gave it.
        program: what runs it, with its version.
        held: when its membranes are read, `recording.BEFORE` or `AFTER`.
        input_shape: of an image without the batch, in torch's layout; None: any.
        network: the network as we compute it, for experiments; None: it can't be read.
        job: the training that it comes from, which names images and steps; None: unknown.
        why_unread: why there's no network, in a line; empty where there is one.
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
