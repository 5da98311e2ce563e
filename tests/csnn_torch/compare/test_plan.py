"""The two plans."""

from typing import get_args

from csnn_jax.config import SurrogateName
from csnn_torch.compare import worker
from csnn_torch.compare.plan import ENGINES, Plan


def test_the_full_plan_leaves_nothing_out_and_the_quick_one_is_smaller():
    full, quick = Plan.full(), Plan.quick()
    assert set(full.sides) == set(worker.SIDES) and set(full.surrogates) == set(get_args(SurrogateName))
    assert full.variants and not quick.variants and len(full.seeds) > 1 and not quick.seeds
    assert set(ENGINES) < set(quick.sides) < set(full.sides)
    assert quick.turns == full.turns == 3  # fewer could not disagree
