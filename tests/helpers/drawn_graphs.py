"""Random networks of both neurons, with weights that strain their grids: chains, recurrent layers, branches, residual
blocks, sums of signals and currents, and delays, in cycles too."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from networks import Network, Recipe, made
from reference_layers import RESETS

from csnn_jax import NodeConfig
from csnn_jax.config import ModelConfig
from csnn_jax.errors import UserError
from csnn_jax.neurons.neuron import Neurons
from csnn_jax.runs.layouts import on_grid, with_exponents

SEPARATE_RESETS = {"leaky": ("subtract", "mute", "none"), "synaptic": ("subtract", "zero", "none")}
"""Those of snnTorch's RLeaky and RSynaptic."""


STEPS = 6


class Drawing:
    """Draws the nodes of a network, see `drawn`.

    Attributes:
        shapes: of the nodes so far, and of the image.
        plain: whether all neurons are those of the event engine.
    """

    def __init__(self, rng: np.random.Generator, shape: tuple[int, ...]):
        self.rng, self.nodes, self.count = rng, list[NodeConfig](), 0
        self.shapes, self.plain = {"image": shape}, self.chance(0.4)

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def pick(self, values: Sequence[Any]) -> Any:
        return values[self.rng.integers(len(values))]

    def later(self, name: str, least: int = 0, share: float = 0.15) -> str:
        """An input, perhaps delayed."""
        delay = self.pick(range(1, STEPS + 1)) if self.chance(share) else least
        return f"{name}@{delay}" if delay else name

    def add(self, kind: str, inputs: str | Sequence[str], **settings: Any) -> str:
        self.count += 1
        node = NodeConfig(f"{kind[:4]}{self.count}", kind, inputs, **settings)
        operation, (entering, *_) = (
            node.made(),
            (self.shapes[edge.source] for edge in node.edges if edge.source in self.shapes),
        )
        self.shapes[node.name] = entering if isinstance(operation, Neurons) else operation.shape(entering)
        self.nodes.append(node)
        return node.name

    def change(self, name: str, *more: str) -> None:
        """Adds inputs to a node."""
        (place,) = (place for place, node in enumerate(self.nodes) if node.name == name)
        node = self.nodes[place]
        inputs = dict.fromkeys((*node.inputs, *more))
        self.nodes[place] = NodeConfig(name, node.operation, tuple(inputs), **dict(node.settings))

    def summed(self, name: str, others: Sequence[str]) -> list[str]:
        """An input, perhaps with some of the others that have its shape, or itself at another time."""
        same = [other for other in others if self.shapes[other] == self.shapes[name] and self.chance(0.4)]
        inputs = [self.later(name), *(self.later(other) for other in same[:3])]
        return list(dict.fromkeys([*inputs, *([self.later(name, 1)] if self.chance(0.1) else [])]))

    def neurons(self, inputs: Sequence[str], separate: bool = False, **settings: Any) -> str:
        kind = "leaky" if self.plain else self.pick(("leaky", "synaptic"))
        names = ("beta", "threshold") if kind == "leaky" else ("alpha", "beta", "threshold")
        settings |= {name: self.pick((0.0, 0.25, 0.5, 0.9, 1.0)) for name in names if name != "threshold"}
        if "integrator" not in settings:
            settings |= {"threshold": self.pick((0.5, 1.0, 2.0))}
            resets = (SEPARATE_RESETS if separate else RESETS)[kind]
            settings |= {"reset": self.pick([one for one in resets if one not in ("mute", "deduct") or not self.plain])}
        settings |= {"learn": [name for name in names if self.chance(0.2)]}
        settings |= {"per_channel": [name for name in names if self.chance(0.2) and not self.plain]}
        return self.add(kind, inputs, separate=separate, **settings)

    def convolutions(self, before: list[str]) -> list[str]:
        """Neurons on images, with one to three branches, which may be pooled together, and some may read what's later.

        Args:
            before: signals; the last one is read, others of its shape may be.

        Returns:
            More of them.
        """
        *others, source = before
        kernel, pool, size = self.pick((1, 2, 3, 5)), self.pick(("max", "avg", "sum", "none")), self.pick((2, 2, 4))
        geometry = {"channels": self.pick((1, 3, 17)), "kernel": kernel, "stride": self.pick((1, 1, 2))}
        if keeps := self.chance(0.4):  # perhaps a residual block
            geometry |= {"channels": self.shapes[source][-1], "kernel": 3, "padding": 1, "stride": 1}
        else:
            geometry["padding"] = self.pick((kernel // 2, kernel - 1))
        branches = list[str]()
        for _ in range(self.pick((1, 1, 2, 3))):
            branch = self.add("convolution", self.summed(source, others), bias=self.chance(0.7), **geometry)
            if pool != "none" and not keeps:
                kind = f"{self.pick(('max', 'avg', pool))}_pool"
                branch = self.add(kind, self.summed(branch, branches), size=size)
            branches.append(branch)
        same = [other for other in before if self.shapes[other][:2] == self.shapes[branch][:2]]
        if same and self.chance(0.3):
            branches.append(
                self.add("convolution", self.later(self.pick(same)), channels=self.shapes[branch][-1], kernel=1)
            )
        name = self.neurons(self.summed(branches[-1], branches[:-1]))
        self.use(branches, name)
        if self.chance(0.3):
            memory = {"channels": self.shapes[name][-1], "kernel": 3, "padding": 1}
            self.change(name, self.later(self.add("convolution", self.later(name, 1), **memory)))
        signals = [*before, name]
        if self.chance(0.4):
            kind = f"{self.pick(('avg', 'sum', 'max'))}_pool"
            signals.append(self.add(kind, self.summed(name, before), size=2))
        return signals

    def use(self, currents: Sequence[str], name: str) -> None:
        """Lets neurons read the currents that nothing reads."""
        read = {edge.source for node in self.nodes for edge in node.edges}
        self.change(name, *(self.later(current) for current in currents if current not in read))

    def dense(self, before: Sequence[str], width: int, **settings: Any) -> str:
        """Neurons on features, perhaps recurrent, and perhaps fed by earlier ones."""
        *others, source = before
        sources = [source, *(name for name in others if self.chance(0.3))]
        inputs = [
            self.add("linear", self.summed(one, others), channels=width, bias=self.chance(0.7)) for one in sources
        ]
        own = "none" if "integrator" in settings else self.pick(("none", "linear", "one_to_one", "linear"))
        if own == "none":
            return self.neurons([self.later(name) for name in inputs], **settings)
        recurrent, separate = f"rec{self.count}", len(inputs) == 1 and self.chance(0.4)
        delay = 1 if separate else self.pick((1, 1, 2, 3))
        name = self.neurons([*inputs, recurrent], separate, **settings)
        self.nodes.append(NodeConfig(recurrent, own, f"{name}@{delay}", channels=width, bias=own == "linear"))
        return name

    def network(self) -> list[NodeConfig]:
        signals = ["image"]
        for _ in range(self.pick((0, 1, 1, 2, 3))):
            signals = self.convolutions(signals)
        features = [self.add("flatten", self.summed(signals[-1], signals[:-1]))]
        if signals[-1] != "image" and self.chance(0.3):
            features.insert(0, self.add("flatten", self.later(signals[-1])))
        for _ in range(self.pick((0, 1, 2, 3))):
            features.append(self.dense(features, self.pick((3, 9, 9, 33))))
        last = self.dense(features, 4, **({"integrator": True} if self.chance(0.2) else {}))
        spiking = [node for node in self.nodes if isinstance(node.made(), Neurons) and node.name != last]
        hidden = [node for node in spiking if len(self.shapes[node.name]) == 1 and not dict(node.settings)["separate"]]
        if hidden and self.chance(0.5):  # feedback from the last layer to an earlier one
            node = self.pick(hidden)
            settings = dict(next(one for one in self.nodes if one.name == last).settings)
            source = self.pick(hidden).name if "integrator" in settings else last
            back = self.add("linear", self.later(source, 1), channels=self.shapes[node.name][0], bias=False)
            self.change(node.name, self.later(back))
        images = [node.name for node in self.nodes if node.operation == "convolution"]
        if images and self.chance(0.3):  # spikes that come again as signals, perhaps of a later layer
            name = self.pick(images)
            (entering,) = {self.shapes[edge.source] for node in self.nodes if node.name == name for edge in node.edges}
            same = [node.name for node in spiking if self.shapes[node.name] == entering]
            self.change(name, *(self.later(self.pick(same), 1) for _ in same[:1]))
        return [self.nodes[place] for place in self.rng.permutation(len(self.nodes))]


def drawn(seed: int) -> Network:
    """A random network with an input."""
    for attempt in range(100):
        rng = np.random.default_rng((seed, attempt))
        shape = (*rng.integers(5, 11, 2).tolist(), int(rng.integers(1, 3)))
        fields = {"weight_bits": [None, None, None, 2, 3, 4, 6, 8][rng.integers(8)], "time_steps": STEPS}
        counts = int(rng.choice([0, 0, 15]))
        if counts:
            fields |= {"scale": 1.0, "input_bits": 4}
        try:
            config = ModelConfig(shape, network=Drawing(rng, shape).network(), **fields)
            return strained(made(Recipe(config, counts=counts), seed), rng)
        except UserError:  # a window doesn't fit, few bits leave no weights, or features have different orders
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
