"""The two plans, and what the flags change of them."""

from typing import get_args

import pytest

from csnn_jax.config import SurrogateName
from csnn_jax.errors import UserError
from csnn_torch.compare import worker
from csnn_torch.compare.plan import ENGINES, Plan


def test_the_full_plan_leaves_nothing_out_and_the_quick_one_is_smaller():
    full, quick = Plan.full(), Plan.quick()
    assert set(full.sides) == set(worker.SIDES) and set(full.surrogates) == set(get_args(SurrogateName))
    assert full.variants and full.from_seed and set(ENGINES) < set(quick.sides) < set(full.sides)
    for name in ("images", "gradient_images", "iterations", "exact_batch", "variant_iterations", "rounds", "turns"):
        assert 1 <= getattr(quick, name) < getattr(full, name)


def test_numbers_that_are_given_replace_the_plans():
    found = Plan.quick().changed(images=7, rounds=None, exact_iterations=1)
    assert (found.images, found.rounds, found.exact_iterations) == (7, Plan.quick().rounds, 1)
    with pytest.raises(UserError, match=r"^--exact-batch -1: expected a whole number of at least 1$"):
        found.changed(images=1, exact_batch=-1)
