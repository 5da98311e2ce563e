"""The curve of accuracies by steps."""

import numpy as np

from csnn_jax.figures import steps


def test_the_line_has_every_step():
    (line,) = steps.draw([0.1, 0.5, 0.9]).axes[0].lines
    np.testing.assert_allclose(line.get_xydata(), [(1, 10), (2, 50), (3, 90)])
