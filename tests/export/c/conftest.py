"""Builds the C program once per network."""

import pytest
from c_networks import STACKS, parameters

from export.c import program


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Writes and builds a stack once: `built(name)` returns its configuration, parameters and folder."""
    made = {}

    def make(name):
        if name not in made:
            folder = tmp_path_factory.mktemp("c")
            config, tensors = STACKS[name], parameters(STACKS[name])
            program.write_sources(folder, config, tensors)
            assert program.build(folder, folder) == (folder / "csnn", folder / "libcsnn.so")
            made[name] = config, tensors, folder
        return made[name]

    return make
