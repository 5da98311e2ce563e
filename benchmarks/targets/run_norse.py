"""Norse's NIR importer, which has no average pooling and takes r to be 1. See common.py.

pip install norse nir nirtorch torch setuptools onnx
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import common
import nir
from common import Golden
from nir_graphs import run_stateful, with_sum_pooling, with_unit_resistance
from norse.torch.utils.import_nir import from_nir


def trials(bundle: Path, golden: Golden) -> Iterator[tuple[str, str, Callable]]:
    def run(graph: nir.NIRGraph):
        return run_stateful(from_nir(graph, dt=1e-4), golden.images, len(golden.spikes))

    graph = nir.read(bundle / "network.nir")
    yield "network.nir", "from_nir(dt=1e-4), looped", lambda: run(graph)
    adapted = with_unit_resistance(with_sum_pooling(graph))
    yield "network.nir", "the same after nir_graphs.with_sum_pooling and with_unit_resistance", lambda: run(adapted)


if __name__ == "__main__":
    common.main(("norse", "nir", "nirtorch", "torch", "numpy"), trials)
