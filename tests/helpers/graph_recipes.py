"""The networks of nodes that tests of equality share, see chain_recipes.py."""

from typing import Any

from chain_recipes import Recipe

from csnn_jax import NodeConfig as Node
from csnn_jax.config import ModelConfig


def described(shape: tuple[int, int, int], *nodes: Node, steps: int = 16, **fields: Any) -> ModelConfig:
    return ModelConfig(shape, network=nodes, time_steps=steps, **fields)


GRAPHS = {
    # Its file has the nodes in another order, and c is read by two layers of neurons.
    "feedback": Recipe(
        described(
            (5, 4, 2),
            Node("a", "leaky", ("in", "back", "c"), reset="zero", learn=["beta"]),
            Node("back", "linear", "b@1", channels=12, bias=False),
            Node("b", "leaky", ("middle", "own", "c"), threshold=1.5, beta=0.8),
            Node("own", "one_to_one", "b@1", channels=12),
            Node("middle", "linear", "a", channels=12),
            Node("flat", "flatten", "image"),
            Node("in", "linear", "flat", channels=12),
            Node("c", "linear", "flat", channels=12, bias=False),
            Node("out", "linear", "b", channels=4),
            Node("last", "synaptic", "out", per_channel=["alpha", "threshold"]),
        )
    ),
    # An average, a maximum and a sum meet, and a convolution of the last step's spikes.
    "branches": Recipe(
        described(
            (12, 12, 2),
            Node("small", "convolution", "image", channels=5, kernel=3, padding=1),
            Node("large", "convolution", "image", channels=5, kernel=5, padding=4, stride=2),
            Node("averages", "avg_pool", "small"),
            Node("sums", "sum_pool", "large", stride=1),
            Node("cut", "max_pool", "sums", size=2, stride=1),
            Node("early", "leaky", ("averages", "cut", "memory"), reset="zero", beta=0.25),
            Node("memory", "convolution", "early@1", channels=5, kernel=3, padding=1),
            Node("pool", "avg_pool", "early"),
            Node("flat", "flatten", "pool"),
            Node("beside", "flatten", "early"),
            Node("fc", "linear", "flat", channels=7),
            Node("skip", "linear", "beside", channels=7, bias=False),
            Node("out", "leaky", ("skip", "fc")),
        ),
        gain=(1.0, 0.3, 2.0, 2.0, 2.0),
    ),
    "mixed neurons": Recipe(
        described(
            (8, 9, 1),
            Node("conv", "convolution", "image", channels=4, kernel=3, bias=False),
            Node("one", "synaptic", "conv", alpha=0.25, reset="clear", learn=["alpha", "threshold"]),
            Node("pool", "sum_pool", "one"),
            Node("flat", "flatten", "pool"),
            Node("fc", "linear", "flat", channels=9),
            Node("two", "leaky", ("fc", "rec"), reset="none", beta=0.75, threshold=2.0),
            Node("rec", "linear", "two@1", channels=9, bias=False),
            Node("fc2", "linear", "two", channels=6),
            Node("end", "synaptic", "fc2", integrator=True),
        ),
    ),
    "separate inputs": Recipe(
        described(
            (7, 6, 1),
            Node("flat", "flatten", "image"),
            Node("fc1", "linear", "flat", channels=15),
            Node("lif1", "leaky", ("fc1", "rec1"), reset="mute", separate=True, beta=0.7, per_channel=["beta"]),
            Node("rec1", "linear", "lif1@1", channels=15),
            Node("fc2", "linear", "lif1", channels=11),
            Node("lif2", "synaptic", ("rec2", "fc2"), reset="zero", separate=True, alpha=0.6),
            Node("rec2", "one_to_one", "lif2@1", channels=11, bias=True),
            Node("fc3", "linear", "lif2", channels=5),
            Node("lif3", "leaky", ("fc3", "rec3"), separate=True, beta=0.9),
            Node("rec3", "linear", "lif3@1", channels=5, bias=False),
        )
    ),
    "deduct": Recipe(
        described(
            (8, 7, 1),
            Node("conv", "convolution", "image", channels=4, kernel=3),
            Node("lif", "leaky", "conv", reset="deduct", beta=0.75, learn=["beta", "threshold"]),
            Node("flat", "flatten", "lif"),
            Node("fc1", "linear", "flat", channels=9),
            Node("syn", "synaptic", "fc1", reset="deduct", alpha=0.25, beta=0.8, learn=["beta"], per_channel=["beta"]),
            Node("fc2", "linear", "syn", channels=5),
            Node("last", "leaky", "fc2"),
        )
    ),
    "delayed spikes": Recipe(
        described(
            (10, 9, 2),
            Node("conv1", "convolution", "image", channels=6, kernel=3, padding=1),
            Node("lif1", "leaky", "conv1", reset="zero"),
            Node("conv2", "convolution", ("lif1", "lif1@3"), channels=6, kernel=3, padding=1),
            Node("near", "convolution", "lif1@1", channels=6, kernel=1, bias=False),
            Node("lif2", "leaky", ("conv2", "near"), reset="zero", threshold=1.5),
            Node("features", "flatten", ("lif2", "lif1@2")),
            Node("fc1", "linear", "features", channels=12),
            Node("lif3", "leaky", "fc1", reset="zero", beta=0.75),
            Node("fc2", "linear", ("lif3", "lif3@5"), channels=5),
            Node("lif4", "leaky", "fc2", reset="zero"),
            steps=40,
        ),
    ),
    # Of the image, spikes, currents, pools and features, also in cycles and over the whole window.
    "delays": Recipe(
        described(
            (9, 8, 1),
            Node("conv1", "convolution", ("image", "image@2"), channels=5, kernel=3, padding=1),
            Node("lif1", "leaky", ("conv1", "conv1@3", "early"), reset="zero"),
            Node("early", "convolution", "lif1@4", channels=5, kernel=3, padding=1),
            Node("pool1", "max_pool", ("lif1", "lif1@1", "lif1@5")),
            Node("conv2", "convolution", ("pool1", "pool1@2"), channels=5, kernel=1),
            Node("conv3", "convolution", "lif1@2", channels=5, kernel=2, stride=2, bias=False),
            Node("lif2", "leaky", ("conv2", "conv3@1"), beta=0.75),
            Node("averages", "avg_pool", ("lif2", "pool1@3")),
            Node("features", "flatten", ("averages", "averages@1")),
            Node("fc1", "linear", ("features", "features@12"), channels=10),
            Node("rec1", "one_to_one", "lif3@2", channels=10),
            Node("lif3", "leaky", ("fc1", "rec1")),
            Node("fc2", "linear", ("lif3", "lif3@1"), channels=5),
            Node("lif4", "leaky", ("fc2", "fc2@16")),
            steps=16,
        ),
    ),
    # Feedback, features that enter twice, overwritten lists of spikes, separate inputs, names that C can't have or has.
    "names, latency, 3 bits": Recipe(
        described(
            (6, 5, 2),
            Node("flat", "flatten", "image"),
            Node("in-1", "linear", "flat", channels=10),
            Node("back", "linear", "answer@1", channels=10, bias=False),
            Node("self", "one_to_one", "first@1", channels=10, bias=True),
            Node("first", "synaptic", ("in-1", "back", "self"), alpha=0.7, threshold=0.8, separate=True, reset="zero"),
            Node("in_1", "linear", "first", channels=4),
            Node("csnn", "linear", "flat", channels=4),
            Node("late", "linear", "first@1", channels=4),
            Node("answer", "leaky", ("in_1", "csnn", "late"), beta=0.8, per_channel=["threshold"]),
            steps=8,
            weight_bits=3,
            encoding="latency",
        ),
    ),
    # Neurons with negative thresholds count as having spiked before the first step.
    "at rest": Recipe(
        described(
            (6, 5, 2),
            Node("flat", "flatten", "image"),
            Node("fc1", "linear", "flat", channels=9, bias=False),
            Node("rec1", "linear", "lif1@1", channels=9, bias=False),
            Node("one1", "one_to_one", "lif1@1", channels=9),
            Node("lif1", "leaky", ("fc1", "rec1", "one1"), learn=["threshold"]),
            Node("fc2", "linear", "lif1", channels=3),
            Node("late", "linear", "lif1@1", channels=3),
            Node("lif2", "leaky", ("fc2", "late"), integrator=True),
            steps=8,
        ),
        values={"lif1.threshold": -0.4},
    ),
    # A recurrent convolution, pools before and after weights, and a pool that two layers read.
    "recurrent convolution, 4 bits": Recipe(
        described(
            (6, 5, 2),
            Node("conv1", "convolution", "image", channels=9, kernel=3, padding=1),
            Node("again", "convolution", "lif1@1", channels=9, kernel=3, padding=1, bias=False),
            Node("lif1", "leaky", ("conv1", "again"), beta=0.9, reset="mute"),
            Node("most", "max_pool", "lif1"),
            Node("mean", "avg_pool", "lif1@1"),
            Node("conv2", "convolution", "most", channels=9, kernel=3, padding=1),
            Node("conv3", "convolution", "mean", channels=9, kernel=3, padding=1),
            Node("late", "convolution", "lif1@1", channels=9, kernel=3, padding=1, bias=False),
            Node("summed", "sum_pool", "late"),
            Node("small", "convolution", "image", channels=9, kernel=3, padding=1),
            Node("best", "max_pool", "small"),
            Node("inputs", "leaky", ("conv2", "conv3", "summed", "best"), threshold=2.0, separate=True, reset="zero"),
            Node("flat1", "flatten", "lif1"),
            Node("flat2", "flatten", "inputs@1"),
            Node("flat3", "flatten", "most"),
            Node("fc1", "linear", "flat1", channels=4),
            Node("fc2", "linear", "flat2", channels=4, bias=False),
            Node("fc3", "linear", "flat3", channels=4),
            Node("answer", "leaky", ("fc1", "fc2", "fc3"), integrator=True),
            steps=8,
            weight_bits=4,
        ),
    ),
    # Sums of spikes, pools and features of different grids, before and after lists are overwritten.
    "delayed sums": Recipe(
        described(
            (6, 5, 2),
            Node("conv1", "convolution", "image", channels=9, kernel=3, padding=1),
            Node("again", "convolution", ("lif1@2", "lif1@1"), channels=9, kernel=3, padding=1, bias=False),
            Node("lif1", "leaky", ("conv1", "again"), beta=0.9),
            Node("most", "max_pool", ("lif1", "lif1@1", "lif1@3")),
            Node("mean", "avg_pool", ("lif1", "lif1@2")),
            Node("late", "max_pool", ("lif1", "lif1@1")),
            Node("rest", "avg_pool", ("lif1@1", "lif1@2")),
            Node(
                "conv2", "convolution", ("most", "mean@2", "mean", "late@2", "rest@1"), channels=9, kernel=3, padding=1
            ),
            Node("back", "convolution", ("lif2@2", "lif2@1"), channels=9, kernel=3, padding=1, bias=False),
            Node("both", "avg_pool", ("conv1", "again")),
            Node("lif2", "leaky", ("conv2", "back", "both"), threshold=2.0, reset="zero"),
            Node("flat", "flatten", ("lif2", "lif2@1")),
            Node("fc1", "linear", ("flat", "flat@3"), channels=9),
            Node("rec3", "linear", "lif3@2", channels=9, bias=False),
            Node("one3", "one_to_one", ("lif3@1", "lif3@3"), channels=9),
            Node("lif3", "leaky", ("fc1", "rec3", "one3"), separate=True),
            Node("fc2", "linear", ("lif3", "lif3@4"), channels=4),
            Node("last", "linear", ("answer@1", "answer@2"), channels=4),
            Node("answer", "leaky", ("fc2", "last")),
            steps=8,
        )
    ),
    # The next four are those that NIR's readers can run. Biases of layers that close a cycle are moved.
    "cycles in a cycle": Recipe(
        described(
            (4, 4, 1),
            Node("lif2", "leaky", "fc2", reset="zero", beta=0.75, threshold=0.5),
            Node("fc2", "linear", "lif1", channels=3),
            Node("lif1", "leaky", ("fc1", "back", "own"), reset="zero", beta=0.75, threshold=0.5),
            Node("own", "linear", "lif1@1", channels=8),
            Node("back", "linear", "lif2@1", channels=8),
            Node("fc1", "linear", "flat", channels=8),
            Node("flat", "flatten", "image"),
            steps=12,
        )
    ),
    "two kinds": Recipe(
        described(
            (4, 4, 1),
            Node("flat", "flatten", "image"),
            Node("fc1", "linear", "flat", channels=8),
            Node("lif1", "leaky", "fc1", reset="zero", beta=0.75),
            Node("fc2", "linear", "lif1", channels=3),
            Node("rec", "linear", "lif2@1", channels=3),
            Node("lif2", "synaptic", ("fc2", "rec"), reset="clear", beta=0.75),
            steps=12,
        )
    ),
    "a recurrent convolution": Recipe(
        described(
            (4, 4, 1),
            Node("conv", "convolution", "image", channels=3, kernel=3, padding=1),
            Node("rec", "convolution", "lif1@1", channels=3, kernel=3, padding=1),
            Node("lif1", "leaky", ("conv", "rec"), reset="zero", beta=0.75),
            Node("flat", "flatten", "lif1"),
            Node("fc2", "linear", "flat", channels=3),
            Node("lif2", "leaky", "fc2", reset="zero", beta=0.75),
            steps=12,
        )
    ),
    "delays of all kinds": Recipe(
        described(
            (4, 4, 1),
            Node("conv", "convolution", ("image", "image@2"), channels=3, kernel=3, padding=1),
            Node("lif1", "leaky", "conv", reset="zero", beta=0.75),
            Node("pool", "avg_pool", ("lif1", "lif1@4")),
            Node("flat", "flatten", "pool@1"),
            Node("fc1", "linear", "flat", channels=8),
            Node("lif2", "leaky", ("fc1", "fc1@2"), reset="zero", beta=0.75),
            Node("fc2", "linear", "lif2", channels=3),
            Node("back", "linear", "lif3@3", channels=3),
            Node("lif3", "leaky", ("fc2", "back"), reset="zero", beta=0.75),
            steps=12,
        )
    ),
}
