"""Convolutional spiking neural networks in JAX.

Names are imported on first use, so csnn_jax.data and csnn_jax.config don't need JAX.
"""

import importlib
import importlib.metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for editors and type checkers; at run time, `_HOME` and `_PACKAGES` do this
    from csnn_jax import config as config
    from csnn_jax import data as data
    from csnn_jax import ops as ops
    from csnn_jax.config import Config, DataConfig, ModelConfig, NodeConfig, TrainConfig
    from csnn_jax.engine.scan import count, forward, jit, trace
    from csnn_jax.errors import UserError
    from csnn_jax.fitting import fit
    from csnn_jax.network.model import CSNN
    from csnn_jax.network.neuron import leaky
    from csnn_jax.network.surrogate import spike
    from csnn_jax.trained import Trained, load, save
    from csnn_jax.update.objective import ce_rate

_HOME = {
    "CSNN": "network.model",
    "Config": "config",
    "DataConfig": "config",
    "ModelConfig": "config",
    "NodeConfig": "config",
    "TrainConfig": "config",
    "Trained": "trained",
    "UserError": "errors",
    "ce_rate": "update.objective",
    "fit": "fitting",
    "jit": "engine.scan",
    "leaky": "network.neuron",
    "load": "trained",
    "forward": "engine.scan",
    "save": "trained",
    "spike": "network.surrogate",
    "count": "engine.scan",
    "trace": "engine.scan",
}
_PACKAGES = ("config", "data", "ops")
__all__ = [
    "CSNN",
    "Config",
    "DataConfig",
    "ModelConfig",
    "NodeConfig",
    "TrainConfig",
    "Trained",
    "UserError",
    "ce_rate",
    "count",
    "fit",
    "forward",
    "jit",
    "leaky",
    "load",
    "save",
    "spike",
    "trace",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.metadata.version("csnn-jax")
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    if name in _PACKAGES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, *_PACKAGES]
