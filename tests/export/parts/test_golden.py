"""Golden tensors: the test images, and the outputs that ONNX Runtime computes from them."""

import functools
import json
import shlex
import shutil
import subprocess
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import safetensors.numpy
import torch
from export_networks import INTEGRATOR, firing
from onnx import numpy_helper
from refusals import refusing

from csnn_jax import data
from csnn_jax.config import ModelConfig
from csnn_jax.data import Split
from csnn_jax.errors import UserError
from csnn_jax.runs.equality import canonical
from csnn_jax.runs.rundir import RunDir
from csnn_jax.window import output
from csnn_torch import model as companion
from export import reference
from export.parts import c_program, golden


def test_golden_tensors_match_onnx_runtime(any_bundle):
    images = data.load("mnist", (28, 28, 1)).test.images
    for kind, count in (("step", 100), ("sequence", 10)):
        sets = [*golden.read(any_bundle, kind)]
        assert len(sets) == count
        session = onnxruntime.InferenceSession(any_bundle / f"{kind}.onnx")
        for number, (inputs, outputs) in enumerate(sets):
            feed = dict(zip([value.name for value in session.get_inputs()], inputs, strict=False))
            for computed, expected in zip(session.run(None, feed), outputs, strict=True):
                assert computed.dtype == expected.dtype
                np.testing.assert_array_equal(canonical(computed), expected)
            if kind == "sequence" and inputs[0].shape == (1, 1, 28, 28):
                np.testing.assert_array_equal(inputs[0][0, 0], images[number, :, :, 0] / np.float32(256))
    assert any(outputs[0].any() for _, outputs in golden.read(any_bundle, "step"))


def test_golden_tensors_match_snntorch(tmp_path):
    """Every state and output of every step, in order, and the scores, which are added up step by step."""
    made = firing(INTEGRATOR)
    graphs = {kind: made.models[f"{kind}.onnx"].graph for kind in ("step", "sequence")}
    (tmp_path / "golden").mkdir()
    golden.write_sets(tmp_path, graphs, made.step, Split(made.images, np.arange(3)))
    network = companion.sequential(made.config)
    companion.load_tensors(network, made.tensors)
    steps, windows = ([*golden.read(tmp_path, kind)] for kind in ("step", "sequence"))
    assert (len(steps), len(windows)) == (36, 3)
    for number, x in enumerate(golden.inputs(made.config, made.images)):
        trace = companion.trace(network, x, 12)
        neurons = ((node.name, node.operation.kind.states) for node in made.config.graph.neurons)
        expected = [trace.states[name][each] for name, states in neurons for each in states]
        expected = [canonical(layer.numpy()) for layer in (output(made.config, *trace), *expected)]
        for t, one in enumerate(steps[12 * number :][:12]):
            for ours, layer in zip(one.outputs, expected, strict=True):
                np.testing.assert_array_equal(ours, layer[t])
        np.testing.assert_array_equal(windows[number].outputs[1], expected[0])
        np.testing.assert_array_equal(windows[number].outputs[0], functools.reduce(np.add, expected[0]))


def test_a_changed_last_bit_and_another_form_are_found(small_bundle, tmp_path):
    received = Path(shutil.copytree(small_bundle, tmp_path / "received"))
    place = "golden/step/test_data_set_2/output_1.pb"
    tensor = onnx.load_tensor(received / place)
    same = partial(golden.same, small_bundle / place, received / place)
    assert [*same()] == []
    values = numpy_helper.to_array(tensor).copy()
    values.flat[7] = np.nextafter(values.flat[7], np.float32(9))
    for changed, name, field in (
        (values, tensor.name, "raw_data"),
        (numpy_helper.to_array(tensor), "certified", "name"),
    ):
        (received / place).write_bytes(numpy_helper.from_array(changed, name).SerializeToString())
        (line,) = same()
        assert line.startswith(f"{field} ")
    (received / place).write_bytes(b"no tensor")
    with refusing(UserError, received / place, "ONNX tensor"):
        same()


def test_subnormal_membranes_are_written_as_0():
    """With beta 0.1 and no bias, what remains of a spike keeps shrinking."""
    config = ModelConfig((2, 2, 1), (), hidden=(), num_classes=2, beta=0.1, bias=False)
    step = reference.Step(config, {"fc1.weight": np.ones((2, 4), np.float32)})
    inputs = [np.zeros((1, 1, 2, 2), np.float32), np.array([[1e-38, -0.5]], np.float32)]
    (spikes, membranes), plain = golden.of_step(step, inputs).outputs, step(*map(torch.from_numpy, inputs))[1]
    assert 0 < plain[0, 0] < 2.0**-126 and membranes.tolist() == [[0.0, plain[0, 1].item()]] and not spikes.any()


def test_the_bytes_match_the_images_and_the_scores_match_the_reference(any_bundle):
    """Membrane scores match bit for bit, because 9 digits identify any float."""
    lines = (any_bundle / golden.EXPECTED_C).read_text().splitlines()
    scores = [outputs[0][0] for _, outputs in golden.read(any_bundle, "sequence")]
    what = "scores" if RunDir(any_bundle).config().model.readout == "membrane" else "spike counts"
    assert len(lines) == len(scores) == 10
    for line, expected in zip(lines, scores, strict=True):
        answer = expected.argmax() if expected.any() else "-"
        assert line == f"class {answer}, {what} {' '.join(f'{score:.9g}' for score in expected)}"
    images = safetensors.numpy.load_file(any_bundle / "golden" / "images.safetensors")["images"][:10]
    samples = np.fromfile(any_bundle / c_program.SAMPLES, np.uint8)
    if samples.size == images.size:  # no encoding
        np.testing.assert_array_equal(samples, images.ravel())


def test_a_program_that_prints_scores_is_proven_and_checks_itself(integrator, tmp_path):
    proof = json.loads((integrator / "manifest.json").read_text())["results"]["files"]["c/"]
    assert proof["program"]["counts"] > 0 == proof["program"]["different_counts"]
    assert proof["library"]["membranes"] > 0 == proof["library"]["different_membranes"]
    assert "the program prints the class's name and the scores" in (integrator / "report.md").read_text()
    command = [*shlex.split(c_program.MAKE), "-s", f"BUILD={tmp_path}", "check"]
    done = subprocess.run(command, cwd=integrator, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "csnn prints what is expected\n", "")


def test_the_reports_command_uses_our_makefile_and_leaves_the_bundle_unchanged(small_bundle, tmp_path):
    """make prefers a GNUmakefile, which a sender might have added."""
    folder = shutil.copytree(small_bundle, tmp_path / "bundle")
    (folder / "c/GNUmakefile").write_text("all check:\n\ttouch ../taken\n\t@echo csnn prints what is expected\n")
    before = sorted(folder.rglob("*"))
    assert f"`{c_program.MAKE} check`" in (folder / "report.md").read_text()
    command = [*shlex.split(c_program.MAKE), "-s", "check"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "csnn prints what is expected\n", "")
    assert sorted(folder.rglob("*")) == before and (tmp_path / "csnn-build/csnn").is_file()
