"""Which backends can't run which networks, and what the reason must name; every other combination must run."""

NO_NIR = {
    "dark half": "--pool avg --reset zero",
    "reset for each layer": "not as --reset none or subtract",
    "full blocks, 70 steps": "--pool avg --reset zero",
    "only outputs, no reset": "--reset zero",
    "kernel 1, learned": "--pool avg --reset zero",
    "even kernels, integrator, 6 bits": "--pool avg --reset zero --output spiking",
    "no pool, no bias, membranes": "--reset zero --readout spikes",
    "1,030 channels": "--pool avg --reset zero",
    "2,100 inputs": "--reset zero",
    "70,400 neurons": "--reset zero",
    "counts, no convolution, 2 bits": "--reset zero",
    "counts that end": "--reset zero",
    "synaptic": "--pool avg --reset clear",
    "synaptic integrator, values per channel": "--pool avg --reset clear --output spiking",
    "sums, values per channel": "without --per-channel",
    "all pools after, 4 bits": "--pool avg",
    "floats": "--pool avg --reset zero",
}
NO_NIR |= dict.fromkeys(
    ("recurrent", "recurrent on images", "recurrent on images, 6 bits", "recurrent, large weights"), "--reset subtract"
)
NO_NIR |= {
    "feedback": "reset subtract of b",
    "branches": "no max-pooling",
    "mixed neurons": "reset none of two",
    "separate inputs": "reset mute or subtract of lif1",
    "residual": "--pool avg --reset zero",
    "delays": "reset subtract of lif2",
    "deduct": "reset deduct",
    "names, latency, 3 bits": "reset zero of first",
    "at rest": "reset subtract of lif1",
    "recurrent convolution, 4 bits": "no max-pooling",
    "delayed sums": "no max-pooling",
}
NO_NIR["recurrent, one weight, synaptic"] = "--reset zero"
ONLY_CHAINS = dict.fromkeys(
    (
        *("recurrent", "recurrent, one weight, synaptic", "recurrent twice, averages, 3 bits", "recurrent on images"),
        *("recurrent on images, 6 bits", "feedback", "branches", "mixed neurons", "separate inputs"),
        *("recurrent, large weights", "residual", "residual, averages after, 3 bits", "delayed spikes", "delays"),
        *("names, latency, 3 bits", "at rest", "recurrent convolution, 4 bits", "cycles in a cycle", "two kinds"),
        *("a recurrent convolution", "delays of all kinds", "delayed sums"),
    ),
    "only written for chains",
)
CLEAR = dict.fromkeys(
    ("synaptic, sums after", "synaptic, averages after", "all pools after, 4 bits"), "reset clear: snnTorch"
)
NOT_SNNTORCH = {
    "mixed neurons": "reset clear of one",
    "separate inputs": "reset mute of lif1",
    "deduct": "reset deduct of lif",
    "names, latency, 3 bits": "first adds its inputs one by one",
    "recurrent convolution, 4 bits": "reset mute of lif1",
    "two kinds": "reset clear of lif2",
    "delayed sums": "lif3 adds its inputs one by one",
}
SYNAPTIC = ("synaptic", "synaptic, sums after", "synaptic, averages after", "synaptic integrator, values per channel")
REASONS = {
    "event": {
        "strides, 5 bits": "sum pooling",
        **dict.fromkeys((*SYNAPTIC, "all pools after, 4 bits"), "synaptic neurons"),
        "sums, values per channel": "beta and threshold per layer",
        **dict.fromkeys(("recurrent on images", "separate inputs"), "one beta per layer"),
        **dict.fromkeys(("recurrent, one weight, synaptic", "feedback", "mixed neurons"), "synaptic neurons"),
        "branches": "cut reads sums",
        "delays": "conv1@3",
        "deduct": "reset deduct",
        "names, latency, 3 bits": "synaptic neurons",
        "at rest": "one recurrent input",
        "recurrent convolution, 4 bits": "reset mute",
        "cycles in a cycle": "back reads lif2@1",
        "two kinds": "synaptic neurons",
        "a recurrent convolution": "rec reads lif1@1",
        "delays of all kinds": "fc1@2",
        "delayed sums": "again reads lif1@2",
    },
    "snnTorch": CLEAR | NOT_SNNTORCH,
    "snnTorch, channels last": CLEAR | NOT_SNNTORCH,
    "C": {
        "floats": "whole numbers from 0 to 255",
        "branches": "cut pools sums",
        "delays": "conv1 adds image and image@2",
        "delays of all kinds": "conv adds image and image@2",
    },
    "network.nir": NO_NIR,
    "network_norse.nir": NO_NIR
    | ONLY_CHAINS
    | {"synaptic, averages after": "lif1's beta is 0.9", "ten layers": "lif2's beta is 0.6"},
    "network_sinabs.nir": NO_NIR
    | ONLY_CHAINS
    | dict.fromkeys(("synaptic, sums after", "synaptic, averages after"), "--neuron leaky"),
    "network_spikingjelly.nir": NO_NIR | ONLY_CHAINS,
}
"""By backend and network."""
