"""Random networks: chains, recurrent layers and branches of both neurons, with weights that strain their grids."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from networks import Network, Recipe, made

from csnn_jax import NodeConfig
from csnn_jax.config import ModelConfig
from csnn_jax.errors import UserError
from csnn_jax.runs.layouts import on_grid, with_exponents

RESETS = {"leaky": ("subtract", "zero", "mute", "none"), "synaptic": ("subtract", "zero", "clear", "none")}
SEPARATE_RESETS = {"leaky": ("subtract", "mute", "none"), "synaptic": ("subtract", "zero", "none")}
"""Those of snnTorch's RLeaky and RSynaptic."""


class Drawing:
    """Draws the nodes of a network, see `drawn`."""

    def __init__(self, rng: np.random.Generator):
        self.rng, self.nodes, self.count = rng, list[NodeConfig](), 0

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def pick(self, values: Sequence[Any]) -> Any:
        return values[self.rng.integers(len(values))]

    def add(self, kind: str, inputs: str | Sequence[str], **settings: Any) -> str:
        self.count += 1
        self.nodes.append(NodeConfig(f"{kind[:4]}{self.count}", kind, inputs, **settings))
        return self.nodes[-1].name

    def neurons(self, inputs: Sequence[str], separate: bool = False, **settings: Any) -> str:
        kind = self.pick(("leaky", "synaptic"))
        names = ("beta", "threshold") if kind == "leaky" else ("alpha", "beta", "threshold")
        settings |= {name: self.pick((0.0, 0.25, 0.5, 0.9, 1.0)) for name in names if name != "threshold"}
        if "integrator" not in settings:
            settings |= {"threshold": self.pick((0.5, 1.0, 2.0))}
            settings |= {"reset": self.pick((SEPARATE_RESETS if separate else RESETS)[kind])}
        settings |= {"learn": [name for name in names if self.chance(0.2)]}
        settings |= {"per_channel": [name for name in names if self.chance(0.2)]}
        return self.add(kind, inputs, separate=separate, **settings)

    def convolutions(self, source: str) -> str:
        """Neurons on images, with one to three branches, one of which may read their last spikes."""
        kernel, pool, size = self.pick((1, 2, 3, 5)), self.pick(("max", "avg", "sum", "none")), self.pick((2, 2, 4))
        geometry = {"channels": self.pick((1, 3, 17)), "kernel": kernel, "stride": self.pick((1, 1, 2))}
        geometry["padding"] = self.pick((kernel // 2, kernel - 1))
        branches = []
        for _ in range(self.pick((1, 1, 2, 3))):
            branch = self.add("convolution", source, bias=self.chance(0.7), **geometry)
            if pool != "none":
                branch = self.add(f"{self.pick(('max', 'avg', pool))}_pool", branch, size=size)
            branches.append(branch)
        memory = f"memory{self.count}"
        recurrent = self.chance(0.3)
        name = self.neurons([*branches, memory] if recurrent else branches)
        if recurrent:
            odd = {"channels": geometry["channels"], "kernel": 3, "padding": 1}
            self.nodes.append(NodeConfig(memory, "convolution", f"{name}@1", **odd))
        return self.add(f"{self.pick(('avg', 'sum', 'max'))}_pool", name, size=2) if self.chance(0.3) else name

    def dense(self, sources: Sequence[str], width: int, before: Sequence[tuple[str, int]], **settings: Any) -> str:
        """Neurons on features, perhaps recurrent, and perhaps fed by earlier neurons."""
        inputs = [self.add("linear", source, channels=width, bias=self.chance(0.7)) for source in sources]
        inputs += [
            self.add("linear", name, channels=width, bias=self.chance(0.5)) for name, _ in before if self.chance(0.3)
        ]
        own = self.pick(("none", "linear", "one_to_one", "linear"))
        if own == "none":
            return self.neurons(inputs, **settings)
        recurrent, separate = f"rec{self.count}", len(inputs) == 1 and self.chance(0.4)
        name = self.neurons([*inputs, recurrent], separate, **settings)
        self.nodes.append(NodeConfig(recurrent, own, f"{name}@1", channels=width, bias=own == "linear"))
        return name

    def network(self) -> list[NodeConfig]:
        last, before = "image", list[tuple[str, int]]()
        for _ in range(self.pick((0, 1, 1, 2))):
            last = self.convolutions(last)
        sources = [self.add("flatten", last)]
        for _ in range(self.pick((0, 1, 2))):
            width = self.pick((3, 9, 33))
            last = self.dense(sources, width, before)
            before.append((last, width))
            sources = [last]
        last = self.dense(sources, 4, before, **({"integrator": True} if self.chance(0.2) else {}))
        if before and self.chance(0.5):  # feedback from the last layer to an earlier one
            name, width = self.pick(before)
            place = next(place for place, node in enumerate(self.nodes) if node.name == name)
            node = self.nodes[place]
            settings = dict(node.settings)
            if not settings["separate"] and not settings.get("integrator"):
                back = self.add("linear", f"{last}@1", channels=width, bias=False)
                self.nodes[place] = NodeConfig(name, node.operation, (*node.inputs, back), **settings)
        return [self.nodes[place] for place in self.rng.permutation(len(self.nodes))]


def drawn(seed: int) -> Network:
    """A random network with an input."""
    for attempt in range(100):
        rng = np.random.default_rng((seed, attempt))
        shape = (*rng.integers(5, 11, 2).tolist(), int(rng.integers(1, 3)))
        fields = {"weight_bits": [None, None, None, 2, 3, 4, 6, 8][rng.integers(8)], "time_steps": 6}
        counts = int(rng.choice([0, 0, 15]))
        if counts:
            fields |= {"scale": 1.0, "input_bits": 4}
        try:
            config = ModelConfig(shape, network=Drawing(rng).network(), **fields)
            return strained(made(Recipe(config, counts=counts), seed), rng)
        except UserError:  # a window doesn't fit, or few bits leave no weights
            continue
    raise AssertionError(seed)


def strained(one: Network, rng: np.random.Generator) -> Network:
    """The same network with other weights: some far apart, powers of two, at their limits or 0."""
    names = {f"{node.name}.weight": f"{node.name}.bias" for node in one.config.graph.weighted}
    masters = {name: value.copy() for name, value in one.masters.items() if not name.endswith("exponents")}
    for name, bias in names.items():
        weight = masters[name].reshape(len(masters[name]), -1)
        rows = rng.random(len(weight)) < 0.5
        masters[name] = changed(weight, rows, rng).reshape(masters[name].shape).astype(np.float32)
        if bias in masters and rng.random() < 0.3:
            masters[bias] = np.where(rows, masters[bias] * 2.0 ** rng.integers(0, 12), masters[bias]).astype(np.float32)
    masters = with_exponents(one.config, masters)
    return Network(one.config, masters, on_grid(one.config, masters), one.x)


def changed(weight: np.ndarray, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Weights [channels, products], some channels of which are changed in one of five ways."""
    some = rows[:, None]
    most = np.exp2(np.ceil(np.log2(np.abs(weight).max(1, keepdims=True))))
    huge = np.arange(len(weight))[:, None] == rng.integers(len(weight))
    ways = (
        weight,
        np.sign(weight) * np.exp2(np.round(np.log2(np.abs(weight) + 1e-6))),
        np.where(some, (1 - 2.0**-24) * most * np.where(rng.random(weight.shape) < 0.9, 1, -1), weight),
        np.where(some & (rng.random() < 0.5), 0, weight),
        np.where(huge, 2.0 ** rng.integers(3, 20) * weight, weight),
    )
    return ways[rng.integers(len(ways))]
