"""The report's Python classifies as it stands there."""

import re
import subprocess
import sys

import numpy as np
import pytest
from commands import ENVIRONMENT

from export.parts import golden


@pytest.mark.parametrize(
    ("made", "name"),
    [*(("small_bundle", name) for name in ("step", "sequence", "nir")), ("spikes", "step"), ("spikes", "sequence")],
)
def test_the_reports_python_classifies_one_image_after_another(made, name, request, tmp_path):
    bundle = request.getfixturevalue(made)
    report = (bundle / "report.md").read_text()
    (code,) = re.findall(rf"<!-- {name} -->\n```python\n(.*?)```", report, re.S)
    sets = [one for _, one in golden.read(bundle, "sequence")][:3]
    frames = len(sets[0][0][0].shape) == 5
    np.savez(tmp_path / "images", *[inputs[0][:, 0] if frames else inputs[0][0] for inputs, _ in sets])
    code += f"for x in np.load({str(tmp_path / 'images.npz')!r}).values():\n    print(*classify(x)[1].astype(int))\n"
    done = subprocess.run([sys.executable, "-c", code], cwd=bundle, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0 and (name == "nir" or done.stderr == ""), done.stderr  # no warning either
    first, *counts = re.findall(r"^\d[\d .\[\]]*$", done.stdout, re.M)  # the importer tells of its passes
    promised = re.search(r"^Class and spike counts of the first test image, a \d, are to be: (.*)\.$", report, re.M)
    assert promised and re.findall(r"\d+", promised[1]) == re.findall(r"\d+", first)
    assert counts == [" ".join(str(int(n)) for n in outputs[0][0]) for _, outputs in sets]
    assert any(outputs[0].any() for _, outputs in sets)
