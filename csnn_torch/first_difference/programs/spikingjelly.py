"""SpikingJelly's importer: Euler with a step of 1e-4 s by default, and spikes at the threshold."""

from typing import Any

from torch import Tensor, nn

from csnn_torch.first_difference.programs.program import Loaded, Program


def _load(graph: Any, batch: int, dt: float | None) -> Loaded:
    del batch
    from spikingjelly.activation_based.nir_exchange import import_from_nir

    network = import_from_nir(graph, dt=DT if dt is None else dt)
    state = None

    def step(x: Tensor) -> None:
        nonlocal state
        _, state = network(x, state)

    return network, step


def _neurons() -> tuple[type[nn.Module], ...]:
    from spikingjelly.activation_based.nir_exchange.from_nir import _NIRStatefulModule

    return (_NIRStatefulModule,)


def _seen(module: Any, output: Any) -> tuple[Tensor, Tensor]:
    spikes, memories = output
    names = list(module.module._memories)
    return spikes, memories[names.index("v")]


DT = 1e-4
PROGRAM = Program("spikingjelly", ("spikingjelly", "nir", "nirtorch"), _load, _neurons, _seen, DT)
