"""The engines, which run the time loop.

Both compute the same network with `forward`, `forward_with_densities`, `trace`, `record`, `count` and `ever_fired`.
`add_up` computes the other sums of a training step. `scan` runs anywhere and is the reference. `event` runs on a CPU,
at a cost proportional to the number of spikes.
"""

from types import ModuleType
from typing import TYPE_CHECKING

from csnn_jax.errors import UserError

if TYPE_CHECKING:
    from jax import Array

    from csnn_jax.data.images import Images
    from csnn_jax.network.model import CSNN


def choose(
    name: str,
    model: "CSNN",
    images: "Images | Array | None" = None,
    platform: str | None = None,
) -> tuple[ModuleType, str]:
    """Chooses the engine for a model.

    Args:
        name: "scan", "event", or "auto": event if it's built, runs on a CPU and supports the model, otherwise scan.
        model: the CSNN.
        images: the images to run; the event engine doesn't support all frames. None: images without a time axis.
        platform: kind of device to run on, as named by JAX; None: the default device's.

    Returns:
        (engine module, the choice and its reason in a few words, for the log).

    Raises:
        UserError: "event" was requested and can't run the model, or there is no such engine.
    """
    import jax

    from csnn_jax.engine import event, scan, stages

    if name not in ("auto", "scan", "event"):
        raise UserError(f"--engine {name}: expected auto, scan or event")
    if name == "scan":
        return scan, "scan engine"
    platform = platform or jax.default_backend()
    if platform != "cpu":
        reason: str | None = f"the event engine runs on the CPU, not on {platform}"
    else:
        reason = stages.unsupported(model, images)
    if reason is None:
        return event, "event engine"
    if name == "event":
        raise UserError(f"--engine event: {reason}")
    return scan, f"scan engine ({reason})"
