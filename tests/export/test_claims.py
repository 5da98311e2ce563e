"""A check's result becomes one line, and files are timed in the order of the report."""

import pytest
from bundles import SMALL, drawn

from csnn_jax.config import Config
from export import claims, parts
from export.network import Network
from export.parts.part import CheckResult


@pytest.mark.parametrize(
    ("result", "images", "said"),
    [
        (CheckResult({"accuracy": 0.5}), 10, "ok, accuracy 50.00% (23.7 to 76.3) on 10 images"),
        (CheckResult({"accuracy": 0.5}), None, "ok"),
        (CheckResult({"accuracy": 0.5}, ["a differs", "b too"]), 10, "a differs; b too"),
    ],
)
def test_a_result_is_one_line(result, images, said):
    (part,) = (part for part in parts.every() if "step_int8.onnx" in part.what)
    assert claims.summary(part, result, images) == said


def test_steps_are_timed_before_whole_windows():
    names = [name for name, _ in claims.timed(Network(Config(SMALL), drawn(SMALL, 0)))]
    assert names == ["step.onnx", "step_b1.onnx", "step_int8.onnx", "sequence.onnx", "c/", "c/weights_int8.h"]
