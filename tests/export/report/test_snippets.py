"""The report's Python classifies as it stands there."""

import re
import subprocess
import sys

import numpy as np
import pytest
from commands import ENVIRONMENT
from nir_networks import STACKS, drawn

from csnn_jax import data
from export import reference, semantics
from export.parts import golden
from export.parts import nir as nir_part
from export.report import snippets


@pytest.mark.parametrize("name", ["step", "sequence"])
def test_the_reports_python_classifies(any_bundle, name, tmp_path):
    report = (any_bundle / "report.md").read_text()
    (code,) = re.findall(rf"<!-- {name} -->\n```python\n(.*?)```", report, re.S)
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


def test_the_nir_example_classifies_one_image_after_another(tmp_path):
    config = STACKS["rate encoding"]
    tensors = drawn(config)
    nir_part.write_file(tmp_path / "network.nir", config, tensors)
    step = reference.Step(config, tensors)
    x = reference.inputs(config, data.load("mnist", (28, 28, 1)).test.images[:2])
    expected = reference.trace(step, x, config.time_steps)[1][-1].sum(0).numpy()
    images = x.numpy().swapaxes(0, 1) if x.ndim == 5 else x.numpy()
    (tmp_path / "golden" / "sequence" / "test_data_set_0").mkdir(parents=True)
    images[0].tofile(tmp_path / "golden" / "sequence" / "test_data_set_0" / "input_0.pb")
    np.savez(tmp_path / "images", *images)
    code = snippets.nir(semantics.of_bundle(step, config.time_steps, x.ndim == 5))
    code += "\nfor x in np.load('images.npz').values():\n    print(*classify(x)[1].astype(int))\n"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    counts = re.findall(r"^[\d ]+$", done.stdout, re.M)  # the importer tells of its passes on other lines
    assert counts == [" ".join(str(int(n)) for n in one) for one in expected]
    assert re.findall(r"^(\d) \[", done.stdout, re.M) == [str(expected[0].argmax())] and expected.any(1).all()
