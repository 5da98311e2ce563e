"""Whole jobs by name, for `--recipe`: plain configurations, one file each, which opens with what it reaches.

A new recipe is a file with its `CONFIG`, and a line in both lists here. docs/results.md has every result.
"""

from typing import Literal

from csnn_jax.config import Config
from csnn_jax.recipes import accurate, events, fast, nir, original, sparse

Recipe = Literal["original", "fast", "accurate", "sparse", "nir", "events"]

RECIPES: dict[Recipe, Config] = {
    "original": original.CONFIG,
    "fast": fast.CONFIG,
    "accurate": accurate.CONFIG,
    "sparse": sparse.CONFIG,
    "nir": nir.CONFIG,
    "events": events.CONFIG,
}
