"""SpikingJelly's NIR importer. See common.py.

pip install spikingjelly nir nirtorch torch onnx
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import common
import nir
from common import Golden
from nir_graphs import run_stateful
from spikingjelly.activation_based.nir_exchange import import_from_nir


def trials(bundle: Path, golden: Golden) -> Iterator[tuple[str, str, Callable]]:
    def run():
        return run_stateful(import_from_nir(nir.read(bundle / "network.nir")), golden.images, len(golden.spikes))

    yield "network.nir", "nir_exchange.import_from_nir, looped", run


if __name__ == "__main__":
    common.main(("spikingjelly", "nir", "nirtorch", "torch", "numpy"), trials)
