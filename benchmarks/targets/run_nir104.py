"""nir 1.0.4, the last version whose LIF has no v_reset, and snnTorch's importer on top of it. See common.py.

pip install nir==1.0.4 snntorch nirtorch torch onnx
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import common
import nir
import numpy as np
from common import Golden
from nir_graphs import run_stateful
from snntorch.import_nir import import_from_nir


def trials(bundle: Path, golden: Golden) -> Iterator[tuple[str, str, Callable]]:
    for name in ("network_nir104.nir", "network.nir"):

        def run(name: str = name) -> np.ndarray:
            reader = import_from_nir(nir.read(bundle / name))  # keeps its membranes in its layers
            return run_stateful(lambda x, state: reader(x), golden.images, len(golden.spikes))

        yield name, "nir.read, snntorch.import_nir.import_from_nir, looped", run


if __name__ == "__main__":
    common.main(("nir", "snntorch", "nirtorch", "torch", "numpy"), trials)
