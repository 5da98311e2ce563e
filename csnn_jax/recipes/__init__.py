"""Complete jobs by name, for `--recipe`: one configuration per file, whose docstring says what it reaches.

To add a recipe, add a file with a `CONFIG`, and a line to both lists here. docs/results.md has all results.
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
