"""Sinabs' importer: tau in steps, exponential decay, several spikes per step, which subtract the threshold at once."""

from typing import Any

from torch import Tensor, nn

from csnn_torch.first_difference.programs.program import Loaded, Program


def _load(graph: Any, batch: int, dt: float | None) -> Loaded:
    del dt
    from sinabs.nir import from_nir

    network = from_nir(graph, batch_size=batch)  # one axis for batch and time, here of one step
    return network, network


def _neurons() -> tuple[type[nn.Module], ...]:
    from sinabs.layers import IAFSqueeze, LIFSqueeze

    return IAFSqueeze, LIFSqueeze


def _seen(module: Any, output: Any) -> tuple[Tensor, Tensor]:
    return output, module.v_mem


PROGRAM = Program("sinabs", ("sinabs", "nir<=1.0.4", "nirtorch"), _load, _neurons, _seen)
