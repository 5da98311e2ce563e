"""Files from others end in one line: within 20 s and 2 GB, without a traceback, and without reading other files."""

import hostile
import pytest
from commands import call
from hostile_nir import SECRET
from limits import limited

CASES = {
    f"{reader}, {name}": (prepare, make)
    for reader, prepare in hostile.READERS.items()
    for name, make in {**{one.__name__: one for one in hostile.FOR_ANY}, **hostile.OWN.get(reader, {})}.items()
}


@pytest.mark.parametrize("case", CASES)
def test_a_hostile_file_is_refused_in_one_line(case, tmp_path):
    prepare, make = CASES[case]
    path, words = prepare(tmp_path)
    make(path)
    with limited():
        done = call(*words)
    assert done.returncode == 2, done
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ") and lines[0].isprintable(), done
    assert "not enough memory" not in lines[0] and SECRET not in lines[0]
    assert all(line.isprintable() for line in done.stdout.splitlines())
    assert not (tmp_path / "out").exists()
