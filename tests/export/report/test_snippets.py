"""The report's Python classifies as it stands there."""

import re
import subprocess
import sys

import numpy as np
import pytest
from commands import ENVIRONMENT

from export.parts import golden


@pytest.mark.parametrize("name", ["step", "sequence"])
def test_the_reports_python_classifies(any_bundle, name, tmp_path):
    report = (any_bundle / "report.md").read_text()
    (code,) = re.findall(rf"<!-- {name} -->\n```python\n(.*?)```", report, re.S)
    assert len([line for line in code.splitlines() if line]) <= 14
    sets = [one for _, one in golden.read(any_bundle, "sequence")][:3]
    frames = len(sets[0][0][0].shape) == 5
    np.savez(tmp_path / "images", *[inputs[0][:, 0] if frames else inputs[0][0] for inputs, _ in sets])
    code += f"for x in np.load({str(tmp_path / 'images.npz')!r}).values():\n    print(*classify(x)[1].astype(int))\n"
    done = subprocess.run([sys.executable, "-c", code], cwd=any_bundle, env=ENVIRONMENT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")  # no warning either
    first, *counts = done.stdout.splitlines()
    promised = re.search(r"^Class and spike counts of the first test image, a \d, are to be: (.*)\.$", report, re.M)
    assert promised and re.findall(r"\d+", promised[1]) == re.findall(r"\d+", first)
    assert counts == [" ".join(str(int(n)) for n in outputs[0][0]) for _, outputs in sets]
    assert any(outputs[0].any() for _, outputs in sets)
