"""Rockpool (the library in front of Xylo) and its NIR importer. See common.py.

pip install rockpool nir nirtorch torch onnx
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import common
from common import Golden
from nir_graphs import run_stateful
from rockpool.nn.modules.torch.nir import from_nir


def trials(bundle: Path, golden: Golden) -> Iterator[tuple[str, str, Callable]]:
    def run():
        return run_stateful(from_nir(bundle / "network.nir"), golden.images, len(golden.spikes))

    yield "network.nir", "from_nir, looped", run


if __name__ == "__main__":
    common.main(("rockpool", "nir", "nirtorch", "torch", "numpy"), trials)
