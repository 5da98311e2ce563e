"""Changed bytes of a file change nothing, or values without a checksum, or are refused in one line that names it."""

import warnings

import numpy as np
import pytest
from changed_bytes import copies
from formats import ANY, FORMATS, SAME, Format

from csnn_jax.errors import UserError

FEW = 30


@pytest.mark.parametrize("name", FORMATS)
def test_changed_bytes_are_refused_or_change_values(name, tmp_path):
    check(FORMATS[name], tmp_path, FEW)


@pytest.mark.slow
@pytest.mark.rare
@pytest.mark.parametrize("name", FORMATS)
def test_two_thousand_changes(name, tmp_path):
    check(FORMATS[name], tmp_path, 2000)


def check(form: Format, folder, count: int) -> None:
    path = form.make(folder)
    content, good = path.read_bytes(), form.read(path)
    wrong = []
    for done, changed in copies(content, count, form.marks):
        path.write_bytes(changed)
        if problem := _problem(form, path, good):
            wrong.append(f"{done}: {problem}")
    assert not wrong, "\n".join(wrong)


def _problem(form: Format, path, good) -> str:
    """Why reading a changed file ends as it shouldn't, or an empty string."""
    try:
        with warnings.catch_warnings(action="error"):
            read = form.read(path)
    except UserError as error:
        line = str(error)
        named = path.name in line or (form.other and form.other in line)
        return "" if named and line.isprintable() else f"refused with {line!r}"
    except Exception as error:
        return f"raised {error!r}"
    if form.stays == ANY or _same(read, good):
        return ""
    if form.stays == SAME:
        return "has other values"
    for name, one in good.items():
        if name not in read or np.shape(read[name]) != np.shape(one):
            return f"{name} has another shape"
    return ""


def _same(read, good) -> bool:
    return read.keys() == good.keys() and all(np.array_equal(read[name], one) for name, one in good.items())
