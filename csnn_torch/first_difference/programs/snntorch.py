"""snnTorch's importer: Euler with a step of 1e-4 s, and resets to zero in the step of the spike."""

import contextlib
import io
from typing import Any

from torch import Tensor, nn

from csnn_torch.first_difference.programs.program import Loaded, Program


def _load(graph: Any, batch: int, dt: float | None) -> Loaded:
    del batch, dt
    from snntorch.import_nir import import_from_nir

    with contextlib.redirect_stdout(io.StringIO()):  # it prints each of its passes
        network = import_from_nir(graph)
    return network, network  # its neurons keep the state


def _neurons() -> tuple[type[nn.Module], ...]:
    import snntorch

    return (snntorch.SpikingNeuron,)


def _seen(module: Any, output: Any) -> tuple[Tensor, Tensor]:
    return output[0] if isinstance(output, tuple) else output, module.mem


PROGRAM = Program("snntorch", ("snntorch", "nir", "nirtorch"), _load, _neurons, _seen)
