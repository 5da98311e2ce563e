"""Convolutional spiking neural networks in JAX.

Names are imported on first use, so that csnn_jax.data and csnn_jax.config need no JAX.
"""

import importlib

_HOME = {
    "CSNN": "network.model",
    "Config": "config",
    "ModelConfig": "config",
    "DataConfig": "config",
    "TrainConfig": "config",
    "UserError": "errors",
    "ce_rate": "training.objective",
    "predict": "training.objective",
    "run": "engine.scan",
    "tally": "engine.scan",
    "trace": "engine.scan",
    "jit": "engine.scan",
    "leaky": "network.neuron",
    "spike": "network.surrogate",
}
__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
