"""Results that several files of a bundle need are computed only once."""

from dataclasses import replace

import numpy as np
import onnx
from export_networks import OTHER, firing

from csnn_jax.config import Config
from csnn_jax.data import Split
from export.network import Bundle, Network


def test_shared_results_are_computed_once(tmp_path):
    onnx.save(firing(OTHER).models["step.onnx"], tmp_path / "step.onnx")
    config = Config(replace(OTHER, scale=1.0))
    network, none = Network(config, firing(OTHER).tensors, recorded=20), Split(np.zeros((0, 1, 1, 1)), np.arange(0))
    bundle = Bundle(tmp_path, tmp_path / "scratch", network, config, 20, none)
    assert bundle.step_graph is bundle.step_graph and bundle.step_graph == firing(OTHER).models["step.onnx"]
    header = (bundle.sources / "network.h").read_text()
    assert "#define CSNN_WINDOW_FRAMES 20 " in header and "#define CSNN_FRAMES 12 " in header
    built = bundle.program.program.stat().st_mtime_ns
    assert bundle.program.program.stat().st_mtime_ns == built
