"""Golden tensors: the test images, and what ONNX Runtime makes of them too."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

from csnn_jax import data
from csnn_jax.runs import rundir
from export.network import Bundle, Network
from export.parts import golden


def test_golden_tensors_are_onnx_runtimes(any_bundle):
    images = data.load("mnist", (28, 28, 1)).test.images
    for kind, count in (("step", 100), ("sequence", 10)):
        sets = [one for _, one in golden.read(any_bundle, kind)]
        assert len(sets) == count
        session = onnxruntime.InferenceSession(any_bundle / f"{kind}.onnx")
        for number, (inputs, outputs) in enumerate(sets):
            feed = dict(zip([value.name for value in session.get_inputs()], inputs, strict=False))
            for found, expected in zip(session.run(None, feed), outputs, strict=True):
                assert found.dtype == expected.dtype
                np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
            if kind == "sequence" and inputs[0].shape == (1, 1, 28, 28):
                np.testing.assert_array_equal(inputs[0][0, 0], images[number, :, :, 0] / np.float32(255))
    assert any(outputs[0].any() for _, (_, outputs) in golden.read(any_bundle, "step"))


def test_a_last_bit_of_a_membrane_is_found_in_the_next_set(small_bundle, tmp_path):
    """Too little for the file's own check: it shows in the next set, which carries it on."""
    received = Path(shutil.copytree(small_bundle, tmp_path / "received"))
    place = "golden/step/test_data_set_2/output_1.pb"
    tensor = onnx.load_tensor(received / place)
    changed = numpy_helper.to_array(tensor) * np.float32(1.000001)
    (received / place).write_bytes(numpy_helper.from_array(changed, tensor.name).SerializeToString())
    _, config, tensors = rundir.open_run(str(small_bundle))
    bundle = Bundle(small_bundle, Network(config, tensors), tmp_path)
    (problem,) = golden.same(bundle, received)(place)
    copied = f"differs from {place}, of which it is a copy: one of the two was changed"
    assert problem == f"golden/step/test_data_set_3/input_1.pb: {copied}"
