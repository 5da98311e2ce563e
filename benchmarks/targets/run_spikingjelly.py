"""SpikingJelly's NIR importer. See common.py.

pip install spikingjelly nir nirtorch torch onnx
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import common
from common import Golden
from spikingjelly.activation_based.nir_exchange import import_from_nir

FILE = "network_spikingjelly.nir"


def trials(bundle: Path, golden: Golden) -> Iterator[tuple[str, str, Callable]]:
    yield FILE, "import_from_nir, looped", lambda: common.run_stateful(import_from_nir(bundle / FILE), golden)
    yield "report.md", "its Python", lambda: common.run_example(bundle, golden, "spikingjelly")


if __name__ == "__main__":
    common.main(("spikingjelly", "nir", "nirtorch", "torch", "numpy"), trials)
