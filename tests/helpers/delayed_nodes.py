"""A network with delays of images, currents and spikes, two branches in the order of their names, and a cycle."""

from csnn_jax import NodeConfig

CONVOLUTION = {"channels": 3, "kernel": 3, "padding": 1}
NEURONS = {"threshold": 0.5, "learn": ["threshold"]}
NODES = [
    NodeConfig("now", "convolution", "image", **CONVOLUTION),
    NodeConfig("then", "convolution", "image@2", **CONVOLUTION),
    NodeConfig("larger", "max_pool", ["now", "then@1"]),
    NodeConfig("first", "leaky", "larger", **NEURONS),
    NodeConfig("before", "convolution", ["first@1", "late@2"], **CONVOLUTION),
    NodeConfig("earlier", "convolution", "first@2", channels=3, kernel=1),
    NodeConfig("second", "leaky", ["before", "earlier@1"], **NEURONS),
    NodeConfig("own", "convolution", "image", channels=3, kernel=2, stride=2),
    NodeConfig("late", "leaky", "own", **NEURONS),
    NodeConfig("flat", "flatten", ["second", "late"]),
    NodeConfig("fc1", "linear", "flat", channels=9),
    NodeConfig("back", "linear", ["mid@1", "mid@3"], channels=9),
    NodeConfig("mid", "leaky", ["fc1", "back"], **NEURONS),
    NodeConfig("fc2", "linear", ["mid", "mid@1"], channels=3),
    NodeConfig("end", "leaky", "fc2", beta=0.9, **NEURONS),
]
