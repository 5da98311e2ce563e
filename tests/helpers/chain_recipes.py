"""The networks of flags that tests of equality share: every one does something that the others don't."""

from dataclasses import dataclass, field
from typing import Any

from csnn_jax.config import ModelConfig


@dataclass(frozen=True)
class Recipe:
    """How a network and its input are made.

    Attributes:
        config: the network. Its input is an image, or a sequence of spikes if the network encodes images.
        gain: the standard deviation of all weights, or of each layer's, times the root of the number of inputs.
        counts: the largest count, if the input is a sequence of counts; 0 for images.
        dark: columns of an image, or steps of a sequence, from this one on are 0.
        values: the neurons' stored parameters; others are random.
        power: binary logarithm of a factor for weights and biases.
    """

    config: ModelConfig
    gain: float | tuple[float, ...] = 2.0
    counts: int = 0
    dark: int | None = None
    values: dict[str, float] = field(default_factory=dict)
    power: int = 0


def _leaky(shape: tuple[int, int, int], conv: tuple[int, ...], *hidden: int, steps: int = 36, **fields: Any):
    """A network with five classes. With 36 steps, constant currents last until the event engine's kernels settle."""
    return ModelConfig(shape, conv_channels=conv, hidden=hidden, num_classes=5, time_steps=steps, **fields)


def _synaptic(shape: tuple[int, int, int], conv: tuple[int, ...], *hidden: int, **fields: Any):
    return _leaky(shape, conv, *hidden, steps=12, neuron="synaptic", **fields)


COUNTS = {"scale": 1.0, "input_bits": 4}
CHAINS = {
    # In the dark half every neuron settles, and conv1 is silent.
    "dark half": Recipe(_leaky((12, 24, 2), (20, 7), 70), dark=14),
    "reset for each layer": Recipe(
        _leaky((17, 16, 1), (6, 33, 17), threshold=2.0, reset=("none", "zero", "subtract", "zero")),
        gain=(2.0, 1.0, 1.5, 4.0),
    ),
    # The kernels' blocks have 16 or 32 channels, and their words 64 steps.
    "full blocks, 70 steps": Recipe(_leaky((9, 10, 2), (16, 48), steps=70)),
    "only outputs, no reset": Recipe(_leaky((6, 5, 1), (), reset="none", beta=0.8, threshold=2.5)),
    # Two betas are clipped, and neurons with a negative threshold spike at rest.
    "kernel 1, learned": Recipe(
        _leaky((12, 10, 1), (6, 5), 20, kernel_size=1, learn_beta=True, learn_threshold=True),
        values={
            "lif1.beta": 0.6,
            "lif2.beta": 1.3,
            "lif3.beta": -0.2,
            "lif4.beta": 0.9,
            "lif1.threshold": 0.3,
            "lif2.threshold": 0.7,
            "lif3.threshold": -0.2,
            "lif4.threshold": 1.1,
        },
    ),
    "even kernels, integrator, 6 bits": Recipe(
        _leaky(
            (17, 15, 1),
            (20, 7),
            30,
            kernel_size=(5, 2),
            padding="valid",
            output="integrator",
            bias=False,
            weight_bits=6,
        )
    ),
    "no pool, no bias, membranes": Recipe(
        _leaky((10, 9, 2), (20, 7, 4), 30, pool="none", padding="valid", bias=False, beta=0.9, readout="membrane")
    ),
    # Weights are almost as large as they may be.
    "one average, no decay, large weights": Recipe(
        _leaky(
            (13, 12, 2),
            (20, 7),
            30,
            steps=20,
            reset="zero",
            beta=1.0,
            threshold=2.0**28,
            pool=("avg", "none"),
            padding=("same", "valid"),
            kernel_size=(3, 4),
        ),
        power=28,
    ),
    "averages, zero, 3 bits": Recipe(
        _leaky((13, 10, 2), (20, 7), 70, pool="avg", reset="zero", bias=False, weight_bits=3)
    ),
    "1,030 channels": Recipe(_leaky((4, 5, 1), (1030, 7), steps=12)),
    # Their weights have 12 bits, the most that kernels add as integers.
    "2,100 inputs": Recipe(_leaky((5, 4, 2), (), 2100)),
    # Their indices have more than 16 bits.
    "70,400 neurons": Recipe(_leaky((16, 20, 1), (220,), steps=2, pool="none")),
    "counts, five channels": Recipe(_leaky((9, 10, 5), (20, 7), 30, pool="avg", reset="zero", **COUNTS), counts=15),
    "counts, no convolution, 2 bits": Recipe(
        _leaky(
            (9, 7, 1),
            (),
            30,
            11,
            reset="none",
            beta=(0.9, 0.3, 1.0),
            threshold=(8.0, 2.0, 4.0),
            weight_bits=2,
            **COUNTS,
        ),
        gain=1.2,
        counts=15,
    ),
    # Without input and bias, what remains of a membrane keeps shrinking, below 2^-126.
    "counts that end": Recipe(
        _leaky((9, 8, 2), (7,), steps=60, pool="none", bias=False, beta=0.1, **COUNTS), counts=15, dark=15
    ),
    "kernel 7 on spikes": Recipe(
        _leaky((17, 19, 2), (3, 4, 5), 8, steps=12, kernel_size=7, encoding="rate", pool="avg", reset="zero")
    ),
    "strides, 5 bits": Recipe(
        _leaky(
            (25, 22, 1),
            (4, 5, 3),
            9,
            steps=12,
            kernel_size=(4, 3, 1),
            stride=(1, 2, 1),
            padding=("valid", "same", "same"),
            pool=("sum", "none", "avg"),
            bias=False,
            reset="zero",
            weight_bits=5,
            scale=1.0,
            input_bits=0,
        ),
        gain=(2.0, 4.0, 4.0, 5.0, 3.0),
        counts=1,
    ),
    # Leaks are powers of two, as Norse needs, and bytes enter as 0 to 2.
    "powers of two": Recipe(
        _leaky(
            (13, 11, 3),
            (4, 6),
            9,
            steps=12,
            kernel_size=5,
            pool="avg",
            reset="zero",
            scale=128.0,
            learn_beta=True,
            threshold=(2.0, 3.0, 1.0, 1.0),
        ),
        gain=(1.0, 1.5, 2.0, 2.0),
        values={"lif1.beta": 0.5, "lif2.beta": 1.0, "lif3.beta": 0.75, "lif4.beta": 0.875},
    ),
    "synaptic": Recipe(
        _synaptic(
            (9, 8, 2),
            (5,),
            11,
            reset=("subtract", "zero", "none"),
            alpha=(0.9, 0.7, 0.6),
            beta=(0.8, 0.5, 0.3),
            threshold=(4.0, 1.0, 1.0),
        ),
        gain=1.2,
    ),
    "synaptic, sums after": Recipe(
        _synaptic((9, 8, 2), (5, 6), 11, reset="clear", alpha=0.75, beta=0.5, pool="sum", pool_after=True)
    ),
    "synaptic, averages after": Recipe(
        _synaptic(
            (18, 17, 1),
            (5, 6),
            11,
            reset="clear",
            pool="avg",
            pool_size=(4, 2),
            pool_after=True,
            alpha=(0.0, 0.4, 0.9, 1.0),
            beta=(0.9, 0.4, 0.0, 0.7),
        )
    ),
    "synaptic integrator, values per channel": Recipe(
        _synaptic(
            (9, 8, 2),
            (5,),
            11,
            reset=("zero", "subtract", "zero"),
            per_channel=("alpha", "beta", "threshold"),
            learn_alpha=True,
            output="integrator",
            encoding="latency",
        ),
        gain=1.5,
    ),
    "sums, values per channel": Recipe(
        _leaky((9, 8, 2), (5,), 11, steps=12, reset="zero", per_channel=("beta", "threshold"), pool="sum", pool_size=4)
    ),
    "averages and sums after, 8 bits": Recipe(
        _leaky(
            *((9, 8, 2), (5, 6), 11),
            steps=12,
            reset="zero",
            beta=0.75,
            pool=("avg", "sum"),
            pool_after=True,
            weight_bits=8,
        )
    ),
    "all pools after, 4 bits": Recipe(
        _synaptic(
            (34, 31, 1),
            (4, 5, 3, 4),
            kernel_size=(4, 3, 1, 3),
            padding=("valid", "same", "same", "same"),
            stride=(2, 1, 1, 1),
            pool=("sum", "none", "avg", "max"),
            pool_size=(2, 2, 2, 3),
            pool_after=True,
            reset="clear",
            bias=False,
            weight_bits=4,
        )
    ),
    # NIR needs names that sort in the order of layers. Neurons of fc1 differ in the number of their weights' bits.
    "ten layers": Recipe(
        _leaky((16, 16, 1), (), *(16,) * 9, steps=12, reset="zero", beta=(0.0, 0.6, 1.0, 0.9) * 2 + (0.7, 0.5))
    ),
    "recurrent": Recipe(_leaky((6, 5, 1), (), 70, steps=20, recurrent=("fc1", "fc2"), threshold=(2.0, 1.0))),
    "recurrent, one weight, synaptic": Recipe(
        _synaptic(
            (9, 8, 2), (5,), 20, reset="zero", recurrent=("fc1:one", "fc2"), learn_threshold=True, learn_beta=True
        ),
        gain=(1.5, 1.5, 0.5, 1.5, 1.5),
    ),
    "recurrent twice, averages, 3 bits": Recipe(
        _leaky((9, 10, 2), (6,), 20, 12, steps=20, pool="avg", reset="zero", weight_bits=3, recurrent=("fc1", "fc2")),
    ),
    # Their weights on images have 5 bits at least, and up to four more.
    "recurrent on images": Recipe(_leaky((33, 32, 1), (), 30, steps=20, recurrent=("fc1",), per_channel=("beta",))),
    "recurrent on images, 6 bits": Recipe(
        _leaky((33, 32, 1), (), 30, steps=20, recurrent=("fc1", "fc2:one"), weight_bits=6)
    ),
    # Weights are almost as large as they may be, and their sums add up to 24 bits.
    "recurrent, large weights": Recipe(
        _leaky((10, 10, 2), (5,), 40, steps=20, pool="avg", recurrent=("fc1", "fc2"), beta=1.0, threshold=2.0**28),
        power=28,
    ),
    # Blocks add their input as it is, pooled, and pooled and through a 1x1 convolution.
    "residual": Recipe(
        _leaky(
            *((9, 10, 2), (6, 6, 6, 7), 12),
            steps=20,
            pool=("none", "none", "max", "max"),
            residual=("conv2", "conv3", "conv4"),
        ),
        gain=(2.0, 1.0, 1.0, 2.0, 1.0, 2.0, 2.0),
    ),
    # Averages of sums of spikes and averages enter the linear layer.
    "residual, averages after, 3 bits": Recipe(
        _leaky(
            *((12, 9, 2), (6, 6, 8, 8), 12),
            steps=20,
            pool=("none", "avg", "none", "avg"),
            pool_after=True,
            reset="zero",
            weight_bits=3,
            residual=("conv2", "conv3", "conv4"),
            recurrent=("fc1",),
        ),
    ),
    "floats": Recipe(_leaky((9, 8, 2), (5,), steps=12, scale=4096.0, input_bits=12)),
}
