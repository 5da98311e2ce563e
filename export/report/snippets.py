"""The Python examples in report.md: complete programs that need only NumPy and the runtime for the file."""

import math
from typing import Any

_NAMES = {"spikes": ("spikes", "counts"), "membrane": ("membrane", "scores")}
"""Names of a step's output and of its sum over the window, by the output of step.onnx."""


def step(semantics: dict[str, Any]) -> str:
    """A program that classifies with step.onnx, from a manifest's semantics.

    It ends by classifying the first golden image, whose values are the last bytes of its tensor file.
    """
    (argument, given, shape), (output, total) = _input(semantics), _NAMES[semantics["output"]]
    loop, frame = f"for _ in range({semantics['time_steps']})", "image"
    if argument == "frames":
        loop, frame = "for frame in frames", "frame"
    return f"""\
import numpy as np
import onnxruntime as ort

{_session("step.onnx")}
inputs = session.get_inputs()


def classify({argument}):  # {given}
    states = [np.zeros((1, *value.shape[1:]), np.float32) for value in inputs[1:]]
    {total} = 0
    {loop}:
        feed = {{value.name: x for value, x in zip(inputs, [{frame}[None], *states])}}
        {output}, *states = session.run(None, feed)
        {total} = {total} + {output}[0]
    return {total}.argmax(), {total}


{_first(argument, shape)}"""


def sequence(semantics: dict[str, Any]) -> str:
    """The example with sequence.onnx."""
    (argument, given, shape), (_, total) = _input(semantics), _NAMES[semantics["output"]]
    value = "image[None]" if argument == "image" else "frames[:, None]"
    return f"""\
import numpy as np
import onnxruntime as ort

{_session("sequence.onnx", quiet=argument == "image")}


def classify({argument}):  # {given}
    {total}, _ = session.run(None, {{session.get_inputs()[0].name: {value}}})
    return {total}[0].argmax(), {total}[0]


{_first(argument, shape)}"""


def nir(semantics: dict[str, Any]) -> str:
    """The example with network.nir, which needs nir and snnTorch.

    The network is imported again for each image, because the imported neurons keep their membranes.
    """
    argument, given, shape = _input(semantics)
    each, loop, frame = "_", f"range({semantics['time_steps']})", "image"
    if argument == "frames":
        each, loop, frame = "frame", "frames", "frame"
    return f"""\
import nir
import numpy as np
import torch
from snntorch.import_nir import import_from_nir

graph = nir.read("network.nir")


@torch.no_grad()
def classify({argument}):  # {given}
    network = import_from_nir(graph)  # again for each image, because its neurons keep their membranes
    counts = sum(network(torch.tensor({frame}[None]))[0][0] for {each} in {loop})
    return counts.argmax().item(), counts.numpy()


{_first(argument, shape)}"""


def norse(semantics: dict[str, Any]) -> str:
    """The example with network_norse.nir, which needs nir and Norse."""
    importer, network = "from norse.torch import from_nir", 'from_nir(nir.read("network_norse.nir"))'
    return _stepped(semantics, "import nir", importer, network)


def spikingjelly(semantics: dict[str, Any]) -> str:
    """The example with network_spikingjelly.nir, which needs nir and SpikingJelly."""
    importer = "from spikingjelly.activation_based.nir_exchange import import_from_nir"
    return _stepped(semantics, "", importer, 'import_from_nir("network_spikingjelly.nir")')


def sinabs(semantics: dict[str, Any]) -> str:
    """The example with network_sinabs.nir, which needs nir and Sinabs. It passes all steps at once."""
    (name, given, shape), steps = _input(semantics), semantics["time_steps"]
    frames = f"torch.tensor(image).expand({steps}, -1, -1, -1)" if name == "image" else "torch.tensor(frames)"
    return f"""\
import nir
import numpy as np
import sinabs.layers as sl
import torch
from sinabs.activation import MembraneReset, SingleSpike
from sinabs.nir import from_nir

graph = nir.read("network_sinabs.nir")


@torch.no_grad()
def classify({name}):  # {given}
    network = from_nir(graph, batch_size=1)  # again for each image, because its neurons keep their membranes
    for neurons in network.modules():
        if isinstance(neurons, sl.LIFSqueeze):
            neurons.reset_fn, neurons.spike_fn = MembraneReset(), SingleSpike
    counts = network({frames})[0].sum(0)
    return counts.argmax().item(), counts.numpy()


{_first(name, shape)}"""


def _stepped(semantics: dict[str, Any], imports: str, importer: str, network: str) -> str:
    """A program with a network (x, state) -> (spikes, state), called step by step."""
    name, given, shape = _input(semantics)
    each, loop = ("_", f"range({semantics['time_steps']})") if name == "image" else ("frame", "frames")
    frame = "image" if name == "image" else "frame"
    head = f"{imports}\n" if imports else ""
    return f"""\
{head}import numpy as np
import torch
{importer}

network = {network}


@torch.no_grad()
def classify({name}):  # {given}
    counts, state = 0, None
    for {each} in {loop}:
        spikes, state = network(torch.tensor({frame}[None]), state)
        counts = counts + spikes[0]
    return counts.argmax().item(), counts.numpy()


{_first(name, shape)}"""


def _input(semantics: dict[str, Any]) -> tuple[str, str, list[int]]:
    """(name of the argument, its description, its shape)."""
    shape = semantics["input"]["shape"]
    if semantics["input"]["layout"] == "N, C, H, W":
        return "image", f"image: float32 {shape}, {semantics['input']['range'].split(': ')[0]}", shape
    shape = [semantics["time_steps"], *shape]
    return "frames", f"frames: float32 {shape}, {semantics['input']['range'].split(': ')[-1]}", shape


def _first(name: str, shape: list[int]) -> str:
    return f"""\
{name} = np.fromfile("golden/sequence/test_data_set_0/input_0.pb", np.uint8)[-{4 * math.prod(shape)}:].view(np.float32)
print(*classify({name}.reshape({", ".join(map(str, shape))})))"""


def _session(name: str, quiet: bool = False) -> str:
    """A session; `quiet`: without the warning about `time_steps`, an optional input."""
    silent = "options.log_severity_level = 3  # no warning that the input time_steps has a default\n" if quiet else ""
    return f"""\
options = ort.SessionOptions()
options.add_session_config_entry("session.disable_quant_qdq", "1")  # int8 weights become floats once, not at each call
{silent}session = ort.InferenceSession("{name}", options)"""
