"""The networks that tests of equality share (chain_recipes.py and graph_recipes.py), each with an input.

Weights and inputs are random but fixed, and small enough that the reference takes milliseconds.
"""

import functools
import zlib
from dataclasses import dataclass

import numpy as np
import reference_graph as reference
from chain_recipes import CHAINS, Recipe
from graph_recipes import GRAPHS
from reference_nodes import chain
from reference_settings import settings_of

from csnn_jax.config import ModelConfig
from csnn_jax.runs.layouts import Tensors, expected_shapes, on_grid, with_exponents

IMAGES = 4


@dataclass(frozen=True, eq=False)
class Network:
    """A network and an input for it.

    Attributes:
        config: the network.
        masters: its parameters before rounding, with torch's names and layouts.
        tensors: the same on their grids, as in files.
        x: [batch, H, W, C] or [time, batch, H, W, C]: bytes, counts or spikes in uint8, or floats.
    """

    config: ModelConfig
    masters: Tensors
    tensors: Tensors
    x: np.ndarray

    @property
    def described(self) -> reference.Described:
        """Its nodes, for the reference."""
        nodes = self.config.network
        return chain(settings_of(self.config)) if nodes is None else nodes.described()

    @functools.cached_property
    def layers(self) -> reference.States:
        """What the reference computes, by neurons."""
        states = reference.trace(self.described, settings_of(self.config), self.masters, self.x)
        return {name: state for name, state in states.items() if "membrane" in state}


RECIPES = CHAINS | GRAPHS
NETWORKS = tuple(RECIPES)


@functools.cache
def network(name: str) -> Network:
    """One of `NETWORKS`."""
    return made(RECIPES[name], zlib.crc32(name.encode()))


def made(recipe: Recipe, seed: int) -> Network:
    """Draws a network's parameters and input."""
    rng, config, masters = np.random.default_rng(seed), recipe.config, dict[str, np.ndarray]()
    gains = iter(recipe.gain if isinstance(recipe.gain, tuple) else (recipe.gain,) * len(config.graph.weighted))
    neurons = {node.name for node in config.graph.neurons}
    for key, shape in expected_shapes(config).items():
        if key.partition(".")[0] in neurons:
            masters[key] = np.asarray(recipe.values.get(key, rng.uniform(0.3, 0.9, shape)), np.float32)
        elif key.endswith("weight"):
            inputs = np.prod(shape[1:])
            masters[key] = (rng.normal(0, next(gains) / inputs**0.5, shape) + 1 / inputs).astype(np.float32)
        elif key.endswith("bias"):
            masters[key] = rng.normal(0.1, 0.2, shape).astype(np.float32)
    scaled = {
        key: value if key.partition(".")[0] in neurons else np.ldexp(value, recipe.power)
        for key, value in masters.items()
    }
    masters = with_exponents(config, scaled)
    return Network(config, masters, on_grid(config, masters), _input(recipe, rng))


def _input(recipe: Recipe, rng: np.random.Generator) -> np.ndarray:
    config, shape = recipe.config, (IMAGES, *recipe.config.input_shape)
    if config.encoding == "direct" and not recipe.counts:
        x = (
            rng.integers(0, 256, shape, np.uint8)
            if config.pixels.are_bytes
            else rng.uniform(0, 1, shape).astype(np.float32)
        )
        x[:, :, recipe.dark or shape[2] :] = 0
        return x
    x = rng.integers(1, recipe.counts or 1, (config.time_steps, *shape), np.uint8, endpoint=True)
    x[rng.uniform(size=x.shape) > 0.3] = 0
    x[recipe.dark or config.time_steps :] = 0
    return x
