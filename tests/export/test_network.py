"""The network of a bundle knows how it is fed, and its bundle makes what several files need but once."""

from dataclasses import replace

import onnx
from export_networks import OTHER, case

from csnn_jax.config import Config
from export.network import Bundle, Network


def test_a_network_is_fed_one_image_encoded_spikes_or_frames():
    tensors = case("other").tensors
    for network, sequence, frames in (
        (Network(Config(OTHER), tensors), False, False),
        (Network(Config(replace(OTHER, encoding="rate")), tensors), True, False),
        (Network(Config(OTHER), tensors, recorded=20), True, True),
    ):
        assert (network.sequence, network.frames) == (sequence, frames)


def test_products_are_made_once(tmp_path):
    onnx.save(case("other").models["step.onnx"], tmp_path / "step.onnx")
    config = Config(replace(OTHER, scale=1.0))
    bundle = Bundle(tmp_path, Network(config, case("other").tensors, recorded=20), tmp_path / "scratch")
    assert bundle.step_graph is bundle.step_graph and bundle.step_graph == case("other").models["step.onnx"]
    header = (bundle.sources / "network.h").read_text()
    assert "#define CSNN_WINDOW_FRAMES 20 " in header and "#define CSNN_FRAMES 12 " in header
    built = bundle.program.program.stat().st_mtime_ns
    assert bundle.program_int8.program.is_file() and bundle.program.program.stat().st_mtime_ns == built
