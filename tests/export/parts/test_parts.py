"""The list of parts: each module is in it, and no two parts have a name in common."""

import re
from pathlib import Path

import numpy as np
from bundles import SMALL

from csnn_jax.config import ModelConfig
from csnn_jax.runs.layouts import expected_shapes
from export import parts
from export.parts.part import Part


def test_every_module_is_listed():
    folder = Path(parts.__file__).parent
    assert set(parts.PARTS) == {path.stem for path in folder.glob("*.py")} - {"__init__", "part"}
    assert all(isinstance(part, Part) for part in parts.every()) and len(parts.every()) == len(parts.PARTS)


def test_names_are_unique_and_told():
    names = [name for part in parts.every() for name in part.what]
    assert len(set(names)) == len(names) >= 10
    assert all(what for part in parts.every() for what in part.what.values())


def test_places_in_the_report_are_taken_once(small_bundle):
    from export import manifest

    recorded = manifest.read(small_bundle)
    for texts in ("advice", "usage"):
        places = [text.place for part in parts.every() for text in getattr(part, texts)(recorded)]
        assert len(set(places)) == len(places) > 4


def test_packages_are_those_that_are_imported():
    ours = {"csnn_jax", "export", "numpy", "torch", "google"}
    for module, needed in parts.PARTS.items():
        text = (Path(parts.__file__).parent / f"{module}.py").read_text()
        imported = set(re.findall(r"^(?:from|import) (onnx\w*|nir|snntorch)\b", text, re.M)) - ours
        assert imported <= {*needed, "onnx"}, module
    assert parts.packages() == ["torch", "snntorch", "onnx", "onnxscript", "onnxruntime", "nir"]


def test_a_network_has_the_parts_that_nothing_is_said_against():
    tensors = {name: np.zeros(shape, np.float32) for name, shape in expected_shapes(SMALL).items()}
    assert parts.possible(SMALL, tensors) == [*parts.every()]
    left = [part for part in parts.every() if part not in parts.possible(ModelConfig(), tensors)]
    assert [part.form for part in left] == ["NIR"]
    assert all(part.form for part in parts.every() if part.reason_against(ModelConfig(), tensors))
