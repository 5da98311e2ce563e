"""Norse's NIR importer. See common.py.

pip install norse nir nirtorch torch setuptools onnx
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import common
import nir
from common import Golden
from norse.torch import from_nir

FILE = "network_norse.nir"


def trials(bundle: Path, golden: Golden) -> Iterator[tuple[str, str, Callable]]:
    yield FILE, "from_nir, looped", lambda: common.run_stateful(from_nir(nir.read(bundle / FILE)), golden)
    yield "report.md", "its Python", lambda: common.run_example(bundle, golden, "norse")


if __name__ == "__main__":
    common.main(("norse", "nir", "nirtorch", "torch", "numpy"), trials)
