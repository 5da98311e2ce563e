"""What the comparison's tests share."""

import pytest
import torch
from comparisons import eighths

from csnn_torch.compare.cases import Case

torch.set_num_threads(1)


@pytest.fixture
def case() -> Case:
    """See `comparisons.eighths`."""
    return eighths()
