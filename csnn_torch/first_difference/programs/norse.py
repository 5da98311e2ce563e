"""Norse's importer: Euler with a step of 1 ms by default, ignores r, and resets in the step of the spike."""

from typing import Any

from torch import Tensor, nn

from csnn_torch.first_difference.programs.program import Loaded, Program


def _load(graph: Any, batch: int, dt: float | None) -> Loaded:
    del batch
    from norse.torch.utils.import_nir import from_nir

    network = from_nir(graph, ignore_warnings=True, dt=DT if dt is None else dt)
    state = None

    def step(x: Tensor) -> None:
        nonlocal state
        _, state = network(x, state)

    return network, step


def _neurons() -> tuple[type[nn.Module], ...]:
    from norse.torch.module.iaf import IAFCell
    from norse.torch.module.lif_box import LIFBoxCell

    return IAFCell, LIFBoxCell  # the latter is also the membrane of its CubaLIF


def _seen(module: Any, output: Any) -> tuple[Tensor, Tensor]:
    del module
    spikes, state = output
    return spikes, state.v


DT = 1e-3
PROGRAM = Program("norse", ("norse", "nir", "nirtorch"), _load, _neurons, _seen, DT)
