"""Fixtures that the comparison's tests share."""

from pathlib import Path

import pytest
import torch
from comparisons import eighths, firing_run

from csnn_torch.compare.cases import Case

torch.set_num_threads(1)


@pytest.fixture
def case() -> Case:
    """See `comparisons.eighths`."""
    return eighths()


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> Path:
    """See `comparisons.firing_run`."""
    return firing_run(tmp_path_factory.mktemp("compare") / "run")
