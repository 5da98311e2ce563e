"""Each module of parts is in their list, no two have a name in common; the rows that they give to the report."""

from pathlib import Path

import numpy as np
from bundles import SMALL

from csnn_jax.config import ModelConfig
from csnn_jax.runs.layouts import expected_shapes
from export import manifest, parts
from export.parts.part import ComparedRow

SPIKES = {"different_output_spikes": 2, "different_hidden_spikes": 1, "output_spikes": 1000, "hidden_spikes": 4000}
FREE = SPIKES | {"different_spikes_by_layer": [1, 2]}
STEP = {"beyond_limit": 4, "max_difference": 0.5, "max_difference_by_layer": [0.25, 0.5]}


def test_whole_windows_alone_have_no_membranes_in_their_row():
    found = ComparedRow.of("it", "torch", {"free_running": FREE, "stepwise": STEP})
    assert found == ComparedRow("it", "torch", 3, 5000, 4, 0.5, "", (1, 2), (0.25, 0.5))
    found = ComparedRow.of("it", "torch", FREE, "spikes differ from torch's")
    assert found == ComparedRow("it", "torch", 3, 5000, None, None, "spikes differ from torch's", (1, 2))
    assert found.line().startswith("3 of 5,000 spikes differ from torch's, which began at a membrane within rounding")


def test_every_module_is_listed():
    folder = Path(parts.__file__).parent
    assert set(parts.PARTS) == {path.stem for path in folder.glob("*.py")} - {"__init__", "part"}
    names = [name for part in parts.every() for name in part.what]
    assert len(set(names)) == len(names) >= 10 and len(parts.every()) == len(parts.PARTS)


def test_places_in_the_report_are_taken_once(small_bundle):
    recorded = manifest.read(small_bundle)
    for texts in ("advice", "usage"):
        places = [text.place for part in parts.every() for text in getattr(part, texts)(recorded)]
        assert len(set(places)) == len(places) > 4


def test_a_network_has_the_parts_that_nothing_is_said_against():
    tensors = {name: np.zeros(shape, np.float32) for name, shape in expected_shapes(SMALL).items()}
    assert parts.possible(SMALL, tensors) == [*parts.every()]
    left = [part for part in parts.every() if part not in parts.possible(ModelConfig(), tensors)]
    assert [part.form for part in left] == ["NIR"]
    assert all(part.form for part in parts.every() if part.reason_against(ModelConfig(), tensors))
