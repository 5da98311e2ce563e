"""Builds the C program once per network."""

import pytest
from networks import network

from export.c import program


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """Writes and builds one of the shared networks once, as users do; returns the folder of sources and programs."""
    folders = {}

    def make(name):
        if name not in folders:
            folder, one = tmp_path_factory.mktemp("c"), network(name)
            frames = len(one.x) if one.x.ndim == 5 else None
            program.write_sources(folder, one.config, one.tensors, frames)
            assert program.build(folder, folder) == (folder / "csnn", folder / "libcsnn.so")
            folders[name] = folder
        return folders[name]

    return make
