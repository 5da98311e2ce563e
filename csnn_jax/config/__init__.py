"""The configuration: frozen dataclasses, one per concern, checked on creation.

Every field is an option (see csnn_jax.options): `time_steps` is also the flag `--time-steps`. Imports no framework, so
csnn_jax, csnn_torch and export can share it.
"""

from csnn_jax.config.grid import Grid
from csnn_jax.config.job import Config, DataConfig, TrainConfig, check_decided, decided, lr_of
from csnn_jax.config.network import (
    GEOMETRY,
    SLOPELESS,
    Encoding,
    ModelConfig,
    Output,
    Readout,
    SurrogateName,
    surrogate_of,
)
from csnn_jax.config.nodes import NodeConfig
from csnn_jax.config.operations import Padding, Pool, Pooling
from csnn_jax.neurons import PARAMETERS, NeuronFields
from csnn_jax.neurons.neuron import NEVER, Neurons, Reset

__all__ = [
    "GEOMETRY",
    "NEVER",
    "PARAMETERS",
    "SLOPELESS",
    "Config",
    "DataConfig",
    "Encoding",
    "Grid",
    "ModelConfig",
    "NeuronFields",
    "Neurons",
    "NodeConfig",
    "Output",
    "Padding",
    "Pool",
    "Pooling",
    "Readout",
    "Reset",
    "SurrogateName",
    "TrainConfig",
    "check_decided",
    "decided",
    "lr_of",
    "surrogate_of",
]
