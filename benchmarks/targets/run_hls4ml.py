"""hls4ml's ONNX front end, after the clean-up by QONNX that its documentation asks for. See common.py.

pip install hls4ml qonnx onnx
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import common
import hls4ml
from common import Golden
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.channels_last import ConvertToChannelsLastAndClean
from qonnx.transformation.gemm_to_matmul import GemmToMatMul
from qonnx.util.cleanup import cleanup_model


def trials(bundle: Path, golden: Golden) -> Iterator[tuple[str, str, Callable]]:
    def convert(name: str) -> dict:
        model = cleanup_model(ModelWrapper(str(bundle / name)))
        model = model.transform(ConvertToChannelsLastAndClean()).transform(GemmToMatMul())
        config = {"Model": {"Precision": "ap_fixed<16,6>", "ReuseFactor": 1}}
        with tempfile.TemporaryDirectory() as folder:
            project = hls4ml.converters.convert_from_onnx_model(
                cleanup_model(model).model, output_dir=folder, backend="Vitis", hls_config=config
            )
        return {"layers": [layer.name for layer in project.get_layers()]}

    for name in ("step_b1.onnx", "step_int8.onnx"):
        yield name, "qonnx clean-up, hls4ml.converters.convert_from_onnx_model", lambda name=name: convert(name)


if __name__ == "__main__":
    common.main(("hls4ml", "qonnx", "onnx", "numpy"), trials)
