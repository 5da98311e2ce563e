import numpy as np
import pytest

from csnn_jax.training.processes import Beginning


@pytest.mark.parametrize(
    "state", [{}, {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b/c": np.array(7, np.int32)}]
)
@pytest.mark.parametrize("just_made", [False, True])
def test_a_beginning_is_sent_bit_for_bit(state, just_made):
    sent = Beginning(12, True, False, None if just_made else state)
    received = Beginning.of(sent.to_bytes(lambda: state))
    assert received[:3] == sent[:3] and received.state.keys() == state.keys()
    for name, array in state.items():
        assert received.state[name].dtype == array.dtype
        np.testing.assert_array_equal(received.state[name], array)
