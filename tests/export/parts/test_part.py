"""All modules of parts are listed and have unique names, and their rows appear in the report."""

from pathlib import Path

import numpy as np
from bundles import SMALL

from csnn_jax.config import ModelConfig
from csnn_jax.runs.layouts import expected_shapes
from export import manifest, parts
from export.parts.part import Advice, Usage
from export.report import text


def test_every_module_is_listed():
    folder = Path(parts.__file__).parent
    assert set(parts.PARTS) == {path.stem for path in folder.glob("*.py")} - {"__init__", "part"}
    names = [name for part in parts.every() for name in part.what]
    assert len(set(names)) == len(names) >= 10


def test_places_in_the_report_are_unique(small_bundle):
    facts = text.merged(manifest.read(small_bundle))
    for kind in (Advice, Usage):
        places = [one.place for part in parts.every() for one in part.describe(facts) if isinstance(one, kind)]
        assert len(set(places)) == len(places) > 4


def test_a_network_has_every_part_without_a_reason_against_it():
    tensors = {name: np.zeros(shape, np.float32) for name, shape in expected_shapes(SMALL).items()}
    assert parts.possible(SMALL, tensors) == [*parts.every()]
    left = [part for part in parts.every() if part not in parts.possible(ModelConfig(), tensors)]
    assert [part.form for part in left] == ["NIR", "NIR (Norse)", "NIR (Sinabs)", "NIR (SpikingJelly)"]
    assert [*parts.refused(ModelConfig(), tensors)] == ["NIR"]  # one reason, given once
    assert all(part.form for part in parts.every() if part.reason_against(ModelConfig(), tensors))
