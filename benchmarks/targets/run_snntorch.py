"""snnTorch's NIR importer. See common.py.

pip install snntorch nir nirtorch torch onnx
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import common
import nir
import numpy as np
from common import Golden
from snntorch.import_nir import import_from_nir


def trials(bundle: Path, golden: Golden) -> Iterator[tuple[str, str, Callable]]:
    def run() -> np.ndarray:
        network = import_from_nir(nir.read(bundle / "network.nir"))  # keeps its membranes in its layers
        return common.run_stateful(lambda x, state: network(x), golden)

    yield "network.nir", "import_from_nir, looped", run
    yield "report.md", "its Python", lambda: common.run_example(bundle, golden, "nir")


if __name__ == "__main__":
    common.main(("snntorch", "nir", "nirtorch", "torch", "numpy"), trials)
