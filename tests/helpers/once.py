"""Makes slow things once for all of pytest's workers."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

PATIENCE = 300  # seconds to wait for another worker


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """The folder that `make` fills. The first worker to get here makes it; the others wait."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    ended = folder.with_suffix(".ended")
    try:
        folder.mkdir()
    except FileExistsError:
        for _ in range(PATIENCE * 10):
            if ended.exists():
                break
            time.sleep(0.1)
        assert ended.exists() and ended.read_text() == "well", f"another worker couldn't make {name}"
        return folder
    try:
        make(folder)
        ended.write_text("well")
    finally:
        if not ended.exists():
            ended.write_text("badly")
    return folder
