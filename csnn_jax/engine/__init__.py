"""Ways to run the time loop. All compute the same network, by `run`, `watch`, `trace`, `tally` and `fires`.
`add_up` takes the sums that a training needs else.

`scan` runs anywhere and is the reference; `event` runs on a CPU, at a cost that follows the spikes.
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
    rates: bool = False,
    platform: str | None = None,
) -> tuple[ModuleType, str]:
    """The engine for a model.

    Args:
        name: "scan", "event", or "auto": event on a CPU where it is built and covers the model, else scan.
        model: the CSNN.
        images: what it shall run on, of which frames may not fit the event engine; None: images without a time axis.
        rates: the densities of `watch` must be differentiable, as for `--rate-target`.
        platform: kind of device that it shall run on, as JAX names it; None: that of the default device.

    Returns:
        (engine module, the choice and its reason in a few words for the log).

    Raises:
        UserError: "event" was asked for and can't run the model, or there is no such engine.
    """
    import jax

    from csnn_jax.engine import coverage, event, scan

    if name not in ("auto", "scan", "event"):
        raise UserError(f"--engine {name}: expected auto, scan or event")
    if name == "scan":
        return scan, "scan engine"
    platform = platform or jax.default_backend()
    if platform != "cpu":
        reason: str | None = f"the event engine runs on the CPU, not on {platform}"
    elif rates:
        reason = "--rate-target needs the gradient of every spike, which the event engine does not give"
    else:
        reason = coverage.unsupported(model, images)
    if reason is None:
        return event, "event engine"
    if name == "event":
        raise UserError(f"--engine event: {reason}")
    return scan, f"scan engine ({reason})"
