"""A network's nodes as users describe them, in JSON or in Python.

[{"name": "flatten", "operation": "flatten", "inputs": ["image"]},
 {"name": "fc1", "operation": "linear", "inputs": ["flatten"], "channels": 100},
 {"name": "rec1", "operation": "linear", "inputs": ["lif1@1"], "channels": 100, "bias": false},
 {"name": "lif1", "operation": "leaky", "inputs": ["fc1", "rec1"], "beta": 0.9}, ...]
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from csnn_jax import reading
from csnn_jax.config.graph import IMAGE, Edge, Operation
from csnn_jax.config.operations import Convolution, Flatten, Linear, OneToOne, Pooling
from csnn_jax.errors import UserError
from csnn_jax.neurons import DECAY, NEURONS, THRESHOLD
from csnn_jax.neurons.neuron import NEVER, Neurons, Reset
from csnn_jax.options import Described, parsed_json, show
from csnn_jax.options.kinds import SWITCH, Kind, choice, count, several, text

MOST_NODES = 3000
"""Maximum number of nodes, far above any real network's."""
MOST_CHANNELS = 2**24
"""Maximum number of channels or features."""
MOST_BYTES = 2**20
"""Maximum size of a file of nodes."""
NAME = text(
    "a letter, then up to 40 letters, digits, `_` or `-`",
    lambda name: (
        name[:1].isalpha() and len(name) <= 41 and name.isascii() and name.replace("_", "a").replace("-", "a").isalnum()
    ),
)


class Setting(NamedTuple):
    """A setting of an operation.

    Attributes:
        kind: its values.
        default: its value if it isn't given; None: it's required, or has a default of its own.
        required: whether it has to be given.
    """

    kind: Kind
    default: Any = None
    required: bool = False


_CHANNELS = Setting(count(1, MOST_CHANNELS), required=True)
_BIAS = Setting(SWITCH, True)
_Make = Callable[[str, Mapping[str, Any]], Operation]


def _pool(kind: Any) -> _Make:
    def make(name: str, own: Mapping[str, Any]) -> Operation:
        if kind != "max" and own["size"] & (own["size"] - 1):
            raise UserError(f"{name}: size {own['size']}, expected a power of two, because others aren't exact")
        return Pooling(kind, own["size"], own["stride"] or own["size"])

    return make


_WINDOW = {"size": Setting(count(2), 2), "stride": Setting(count())}
_OPERATIONS: dict[str, tuple[dict[str, Setting], _Make]] = {
    "convolution": (
        {
            "channels": _CHANNELS,
            "kernel": Setting(count(), required=True),
            "stride": Setting(count(), 1),
            "padding": Setting(count(0), 0),
            "bias": _BIAS,
        },
        lambda name, own: Convolution(**own),
    ),
    "linear": ({"channels": _CHANNELS, "bias": _BIAS}, lambda name, own: Linear(**own)),
    "one_to_one": ({"channels": _CHANNELS, "bias": Setting(SWITCH, False)}, lambda name, own: OneToOne(**own)),
    "flatten": ({}, lambda name, own: Flatten()),
    "max_pool": (_WINDOW, _pool("max")),
    "avg_pool": (_WINDOW, _pool("avg")),
    "sum_pool": (_WINDOW, _pool("sum")),
}


def _neurons(kind: str) -> tuple[dict[str, Setting], _Make]:
    """The settings of neurons."""
    neuron = NEURONS[kind]
    values = {name: Setting(DECAY if one.decays else THRESHOLD, one.default) for name, one in neuron.parameters.items()}
    names = Setting(several(choice(tuple(neuron.parameters)), distinct=True), ())
    settings = values | {
        "reset": Setting(choice(neuron.resets), "subtract"),
        "learn": names,
        "per_channel": names,
        "separate": Setting(SWITCH, False),
        "integrator": Setting(SWITCH, False),
    }

    def make(name: str, own: Mapping[str, Any]) -> Neurons:
        configured = {parameter: float(own[parameter]) for parameter in neuron.parameters}
        reset: Reset = own["reset"]
        learned, wide = own["learn"], own["per_channel"]
        if own["integrator"]:
            reset, configured["threshold"] = "none", NEVER
            learned, wide = (tuple(one for one in some if one != "threshold") for some in (learned, wide))
        return Neurons(name, neuron, reset, 0, tuple(configured.items()), learned, wide, own["separate"])

    return settings, make


_OPERATIONS |= {kind: _neurons(kind) for kind in NEURONS}
OPERATIONS = tuple(_OPERATIONS)
"""The names of operations."""


@dataclass(frozen=True, init=False)
class NodeConfig(Described):
    """A node of a network.

    Args:
        name: its name, the prefix of its tensors in files.
        operation: `convolution`, `linear`, `one_to_one` (one weight for each feature), `flatten`, `max_pool`,
            `avg_pool`, `sum_pool`, or a neuron model, `leaky` or `synaptic`.
        inputs: the names of the nodes that it reads; `image` is the network's input, and `lif1@1` are the spikes of
            `lif1` in the step before. A node adds several inputs.
        settings: those of the operation, see docs/network.md.

    Raises:
        UserError: an unknown operation or setting, or an invalid value; the message names the node.

    Examples:
        >>> from csnn_jax import NodeConfig
        >>> NodeConfig("rec1", "linear", ["lif1@1"], channels=100, bias=False)
        NodeConfig(rec1: linear of lif1@1, channels 100, bias False)
    """

    name: str
    operation: str
    inputs: tuple[str, ...]
    settings: tuple[tuple[str, Any], ...]

    def __init__(self, /, name: str, operation: str, inputs: str | Sequence[str], **settings: Any):
        if not NAME.accepts(name) or name == IMAGE:
            raise UserError(f"node {show(name, quoted=True)}: expected a name other than {IMAGE}, {NAME.expected}")
        if operation not in OPERATIONS:
            raise UserError(f"{name}: operation {show(operation)}, expected one of {', '.join(OPERATIONS)}")
        inputs = (inputs,) if isinstance(inputs, str) else inputs
        if not (isinstance(inputs, list | tuple) and inputs and all(isinstance(one, str) for one in inputs)):
            raise UserError(f"{name}: inputs {show(inputs)}, expected names of nodes")
        known, given = _OPERATIONS[operation][0], {}
        for key, value in settings.items():
            if key not in known:
                takes = f"expected {', '.join(known)}" if known else "it has no settings"
                raise UserError(f"{name}: {show(key)} isn't a setting of {operation}, {takes}")
            given[key] = tuple(value) if isinstance(value, list) else value
            if not known[key].kind.accepts(given[key]):
                wanted = "a list: " * (known[key].default == ()) + known[key].kind.expected
                raise UserError(f"{name}: {key} {show(given[key], known[key].kind.quoted)}, expected {wanted}")
        for key, setting in known.items():
            if setting.required and key not in given:
                raise UserError(f"{name}: has no {key}, expected {setting.kind.expected}")
        values = tuple((key, given[key]) for key in known if key in given)
        for field, value in (("name", name), ("operation", operation), ("inputs", tuple(inputs)), ("settings", values)):
            object.__setattr__(self, field, value)
        _ = self.edges, self.made()  # raises UserError

    def __repr__(self) -> str:
        parts = [f"{self.name}: {self.operation} of {', '.join(self.inputs)}"]
        return f"NodeConfig({', '.join([*parts, *(f'{key} {show(value)}' for key, value in self.settings)])})"

    @property
    def edges(self) -> tuple[Edge, ...]:
        """The nodes that it reads, with their delays."""
        return tuple(map(self._edge, self.inputs))

    def _edge(self, text: str) -> Edge:
        source, at, delay = text.partition("@")
        if at and not (delay.isascii() and delay.isdigit() and len(delay) < 9):
            raise UserError(f"{self.name}: reads {show(text)}, expected a delay in whole steps, as in {show(source)}@1")
        return Edge(source, int(delay or 0))

    def made(self) -> Operation:
        """The operation with its settings."""
        settings, make = _OPERATIONS[self.operation]
        return make(self.name, {key: setting.default for key, setting in settings.items()} | dict(self.settings))

    def described(self) -> dict[str, Any]:
        """Its JSON object."""
        return {"name": self.name, "operation": self.operation, "inputs": list(self.inputs)} | {
            key: list(value) if isinstance(value, tuple) else value for key, value in self.settings
        }


@dataclass(frozen=True)
class Nodes(Described):
    """The nodes of a network.

    Attributes:
        nodes: in any order.
    """

    nodes: tuple[NodeConfig, ...]
    word = "config.json"
    """What a command line has as the value of --network: a run's config.json contains the nodes."""

    def __str__(self) -> str:
        return f"{len(self.nodes)} nodes"

    def described(self) -> list[dict[str, Any]]:
        """Their JSON."""
        return [node.described() for node in self.nodes]

    @property
    def operations(self) -> list[tuple[str, Operation, tuple[Edge, ...]]]:
        """Each node's name, operation and inputs."""
        return [(node.name, node.made(), node.edges) for node in self.nodes]


def nodes(values: Any) -> Nodes:
    """The nodes in a list of `NodeConfig`s or of JSON objects.

    Raises:
        UserError: it isn't one, or has too many; the message names the node.
    """
    if isinstance(values, Nodes):
        return values
    if not isinstance(values, list | tuple) or not values:
        raise UserError("expected a list of nodes, each with a name, an operation and inputs")
    if len(values) > MOST_NODES:
        raise UserError(f"has {len(values):,} nodes, expected at most {MOST_NODES:,}")
    return Nodes(tuple(_node(number, value) for number, value in enumerate(values, 1)))


def _node(number: int, value: Any) -> NodeConfig:
    """A `NodeConfig`, as it is or from a JSON object."""
    if isinstance(value, NodeConfig):
        return value
    parts = {"name", "operation", "inputs"}
    if not isinstance(value, dict) or not parts <= value.keys() or not all(isinstance(key, str) for key in value):
        named = value.get("name") if isinstance(value, dict) else value
        lacks = f" without {', '.join(sorted(parts - value.keys()))}" if isinstance(value, dict) else ""
        raise UserError(f"node {number}, {show(named)[:60]}{lacks}: expected an object with name, operation and inputs")
    return NodeConfig(**value)


def read(path: str) -> Nodes:
    """Reads the nodes in a file: a list of them in JSON, a run or its config.json, or a NIR file.

    Raises:
        UserError: it can't be read, or isn't one; the message names the file.
    """
    if path.endswith(".nir"):
        return nodes(_of_nir(path))
    if os.path.isdir(path) and os.path.exists(inside := os.path.join(path, "config.json")):
        path = inside
    content = reading.read(path, "a JSON file with a network's nodes", MOST_BYTES)
    try:
        values = parsed_json(content.decode("utf-8-sig"), path)
    except UnicodeDecodeError:
        raise UserError(f"{path}: expected JSON in UTF-8") from None
    if isinstance(values, dict):  # a run's
        model = values.get("model")
        values = model.get("network") if isinstance(model, dict) else None
    try:
        return nodes(values)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _of_nir(path: str) -> Any:
    """The nodes in a NIR file, read by a child process, because h5py and torch aren't needed otherwise."""
    command = [sys.executable, "-m", "csnn_torch.foreign.nodes", path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        line = ([*done.stderr.splitlines()] or ["can't be read"])[-1].removeprefix("error: ")
        raise UserError(line if line.startswith(path) else f"{path}: {line}")
    return json.loads(done.stdout)


def _from_words(words: Sequence[str]) -> Nodes:
    if not words[0]:
        raise UserError("--network '': expected a file")
    try:
        return read(words[0])
    except UserError as error:
        raise UserError(f"--network {error}") from None


FILE = Kind("a list of nodes", "FILE", lambda value: isinstance(value, Nodes), _from_words, quoted=False)
"""The nodes of a network; a command line has the name of a file."""
