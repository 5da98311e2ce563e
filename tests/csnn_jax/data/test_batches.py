import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from refusals import refusing

from csnn_jax.data import epoch_batches, epoch_permutation, eval_batches
from csnn_jax.errors import UserError

seeds = st.integers(0, 2**32)
counts = st.integers(1, 300)


@given(seed=seeds, epoch=st.integers(0, 1000), n=counts)
def test_permutations_hold_each_image_once_and_are_repeatable(seed, epoch, n):
    order = epoch_permutation(seed, epoch, n)
    assert order.dtype == np.int32
    np.testing.assert_array_equal(np.sort(order), np.arange(n))
    np.testing.assert_array_equal(order, epoch_permutation(seed, epoch, n))


def test_default_job_has_468_batches():
    batches = epoch_batches(0, 0, 60_000, 128)
    assert batches.shape == (468, 128) and batches.dtype == np.int32
    np.testing.assert_array_equal(batches.ravel(), epoch_permutation(0, 0, 60_000)[: 468 * 128])


@pytest.mark.parametrize("batch_size", [0, -1, 101])
def test_batch_sizes_without_a_whole_batch_are_refused(batch_size):
    with refusing(UserError, f"batch_size {batch_size}", "1 to 100"):
        epoch_batches(0, 0, 100, batch_size)


@given(n=counts, batch_size=st.integers(1, 300))
def test_eval_batches_visit_each_image_once(n, batch_size):
    index, valid = eval_batches(n, batch_size)
    assert index.shape == valid.shape == (-(-n // batch_size), batch_size)
    assert index.dtype == np.int32 and valid.dtype == np.bool_
    np.testing.assert_array_equal(index[valid], np.arange(n))
    assert not index[~valid].any()
