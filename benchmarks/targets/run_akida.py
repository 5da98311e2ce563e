"""BrainChip's Akida tools: quantizeml, then cnn2snn. See common.py.

pip install akida==2.19.3 tensorflow~=2.19.0 tf_keras~=2.19.0 onnxruntime~=1.23.0 onnxscript~=0.4.0 onnx_ir==0.1.12 \
    'onnxruntime_extensions<0.14' scipy onnx
pip install --no-deps cnn2snn==2.19.3 quantizeml==1.2.5 'tensorflow-metadata<1.21' 'googleapis-common-protos<1.75.1'
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import cnn2snn
import common
import onnx
from common import Golden
from quantizeml.models import quantize


def trials(bundle: Path, golden: Golden) -> Iterator[tuple[str, str, Callable]]:
    def convert(name: str) -> dict:
        model = cnn2snn.convert(quantize(onnx.load(bundle / name), samples=golden.images))
        return {"layers": [layer.name for layer in model.layers]}

    for name in ("step_b1.onnx", "sequence.onnx"):
        yield name, "quantizeml.models.quantize, cnn2snn.convert", lambda name=name: convert(name)


if __name__ == "__main__":
    common.main(("akida", "cnn2snn", "quantizeml", "tensorflow", "onnx", "numpy"), trials)
