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
    ("made", "names"),
    [
        ("small_bundle", ["nir"]),
        *((bundle, ["step", "sequence"]) for bundle in ("small_bundle", "spikes")),
        pytest.param("integrator", ["step", "sequence"], marks=pytest.mark.slow),
    ],
)
def test_the_reports_python_code_classifies_images(made, names, request, tmp_path):
    """Each piece of code runs by itself, in one process."""
    bundle = request.getfixturevalue(made)
    report = (bundle / "report.md").read_text()
    sets = [*golden.read(bundle, "sequence")][:3]
    frames = len(sets[0][0][0].shape) == 5
    np.savez(tmp_path / "images", *[inputs[0][:, 0] if frames else inputs[0][0] for inputs, _ in sets])
    more = (
        f"for x in np.load({str(tmp_path / 'images.npz')!r}).values():\n    print('=', *map(float, classify(x)[1]))\n"
    )
    program = ""
    for name in names:
        (code,) = re.findall(rf"<!-- {name} -->\n```python\n(.*?)```", report, re.S)
        program += f"exec({code + more!r}, {{}})\nprint('+')\n"
    done = subprocess.run([sys.executable, "-c", program], cwd=bundle, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0 and (names == ["nir"] or done.stderr == ""), done.stderr  # and no warning
    promised = re.search(r"^The class and [a-z ]+ of the first test image \(.*\) should be: (.*)\.$", report, re.M)
    assert promised and done.stdout.count("+\n") == len(names)
    for answers in done.stdout.split("+\n")[:-1]:
        first, *scores = answers.split("=")
        stated, printed = ([f"{float(one):.6g}" for one in NUMBER.findall(text)] for text in (promised[1], first))
        assert len(stated) == 11 and stated == printed[-11:]  # preceded by the importer's passes
        assert [[*map(float, one.split()[:10])] for one in scores] == [outputs[0][0].tolist() for _, outputs in sets]
    assert any(outputs[0].any() for _, outputs in sets)
