"""The report's Python code classifies exactly as printed."""

import re
import subprocess
import sys

import numpy as np
import pytest
from commands import ENVIRONMENT

from export.parts import golden

NUMBER = re.compile(r"-?\d+(?:\.\d*)?(?:e[+-]\d+)?")


@pytest.mark.parametrize(
    ("made", "name"),
    [
        *(("small_bundle", name) for name in ("step", "sequence", "nir")),
        *((bundle, name) for bundle in ("spikes", "integrator") for name in ("step", "sequence")),
    ],
)
def test_the_reports_python_code_classifies_images(made, name, request, tmp_path):
    bundle = request.getfixturevalue(made)
    report = (bundle / "report.md").read_text()
    (code,) = re.findall(rf"<!-- {name} -->\n```python\n(.*?)```", report, re.S)
    sets = [one for _, one in golden.read(bundle, "sequence")][:3]
    frames = len(sets[0][0][0].shape) == 5
    np.savez(tmp_path / "images", *[inputs[0][:, 0] if frames else inputs[0][0] for inputs, _ in sets])
    code += (
        f"for x in np.load({str(tmp_path / 'images.npz')!r}).values():\n    print('=', *map(float, classify(x)[1]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=bundle, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0 and (name == "nir" or done.stderr == ""), done.stderr  # and no warning
    first, *scores = done.stdout.split("=")
    promised = re.search(r"^The class and [a-z ]+ of the first test image \(.*\) should be: (.*)\.$", report, re.M)
    assert promised
    told, printed = ([f"{float(one):.6g}" for one in NUMBER.findall(text)] for text in (promised[1], first))
    assert len(told) == 11 and told == printed[-11:]  # preceded by the importer's passes
    assert [[*map(float, one.split()[:10])] for one in scores] == [outputs[0][0].tolist() for _, outputs in sets]
    assert any(outputs[0].any() for _, outputs in sets)
