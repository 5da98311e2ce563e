"""Changed bytes of a file change nothing, or values without a checksum, or are refused in one line that names it."""

import pytest
from formats import FORMATS, check

FEW = 30


@pytest.mark.parametrize("name", FORMATS)
def test_changed_bytes_are_refused_or_change_values(name, tmp_path):
    check(FORMATS[name], tmp_path, FEW)


@pytest.mark.slow
@pytest.mark.rare
@pytest.mark.parametrize("name", FORMATS)
def test_two_thousand_changes(name, tmp_path):
    check(FORMATS[name], tmp_path, 2000)
