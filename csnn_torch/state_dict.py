"""Reads the network of an snnTorch state_dict: stack, neurons and weights.

    network = state_dict.read("net.pt", time_steps=25, padding="valid")

`foreign/saved.py` reads the file, `foreign/stack.py` identifies its modules and finds their order, and
`foreign/neurons.py` reads the neurons. This module builds the network.
"""

import itertools
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import fields as dataclass_fields
from typing import Any

import torch

from csnn_jax.config import ModelConfig, Neurons, Output
from csnn_jax.config.graph import Edge, Operation
from csnn_jax.config.network import IN_NODES
from csnn_jax.config.nodes import Nodes
from csnn_jax.config.operations import Convolution, Linear, OneToOne
from csnn_jax.errors import UserError, naming_arguments, worded
from csnn_jax.options import check_value, show
from csnn_jax.options.kinds import number
from csnn_torch.foreign import neurons, saved, stack
from csnn_torch.foreign.network import (
    NORM_EPS,
    ForeignNetwork,
    Weighted,
    channels,
    node_of,
    parameters,
    weighted,
)

UNSEEN = (
    "a state_dict doesn't contain inhibition, reset_delay, state_quant, graded spikes (before snnTorch 1.0), a "
    "BatchNorm's eps, groups, dilation, residual connections, or the places and kinds of pools: assuming the "
    "libraries' defaults, no such connections and the values you chose"
)
USUAL = (28, 32, 34, 48, 64, 96, 128, 224, 256)
"""Image sizes of common data sets, which messages suggest first."""
SIZES = 512
"""The largest size that messages suggest."""


def read(path: str, *arguments: Any, **options: Any) -> ForeignNetwork:
    """Reads the network from a file written by torch.save.

    Args:
        path: the file.
        *arguments: as for `convert`, from `input_shape` on.
        **options: likewise.

    Raises:
        UserError: the file isn't a state_dict, csnn_jax doesn't support the network, or shapes don't match; the message
            names the tensor.
    """
    file = saved.read(path)
    network = convert(file.tensors, path, *arguments, ordered=file.ordered, **options)
    return network._replace(notes=(*file.notes, *network.notes))


@naming_arguments(map="places")
def convert(
    state: dict[str, torch.Tensor],
    source: str = "state_dict",
    input_shape: tuple[int, int, int] | None = None,
    places: Sequence[str] = (),
    *,
    ordered: bool = True,
    batchnorm_eps: float = NORM_EPS,
    normalize: Sequence[float] | None = None,
    divided_by: float | None = None,
    output: Output | None = None,
    **fields: Any,
) -> ForeignNetwork:
    """Converts a state_dict in memory; for errors, see `read`.

    Args:
        state: the tensors by name.
        source: its name in messages.
        input_shape: height, width and channels of the images; None: 28, 28 and the channels of the first weight.
        places: "NAME=PLACE" for modules whose order in the file differs from the network; see `stack.stack`.
        ordered: whether its modules are in the order of their registration; see `stack.stack`.
        batchnorm_eps: eps of the BatchNorms.
        normalize: mean and standard deviation that normalized the training images, for pixels from 0 to 1; or the means
            of all channels followed by their standard deviations.
        divided_by: divisor of the bytes of its images; None: 255, as in torchvision's ToTensor, and 1 for counts.
        output: kind of the last layer; None: see `neurons.read`.
        fields: fields of ModelConfig that aren't in a state_dict: padding, stride, pool, surrogate, slope, time_steps,
            encoding, readout, and the scale and input_bits of its images.
    """
    check_value("--batchnorm-eps", batchnorm_eps, number(0))
    placed = stack.stack(stack.modules(saved.plain(state, source), source), places, source, ordered)
    names = [layer.name for layer in placed.layers]
    pairs = zip(placed.layers, placed.norms, strict=True)
    layers = [weighted(layer, norm, batchnorm_eps) for layer, norm in pairs]
    shapes = [layer.weight.shape for layer in layers]
    lifs = neurons.read(placed, source, output)
    inputs = shapes[0][1] if len(shapes[0]) == 4 else max(1, shapes[0][1] // 28**2)
    stated = {"input_shape": input_shape or (28, 28, inputs)} | channels(shapes) | lifs.fields
    stated["bias"] = normalize is not None or any(layer.bias is not None for layer in layers)
    known = _Stack(stated, fields, shapes, input_shape is None)
    config = known.config(names, source)
    named = {node.name: pair for node, pair in zip(config.graph.weighted, zip(names, layers, strict=True), strict=True)}
    neurons_of = dict(zip((node.name for node in config.graph.neurons), placed.neurons, strict=False))
    if recurrent := {name: module for name, module in neurons_of.items() if module.is_recurrent}:
        config, fed_back = _recurrent(config, recurrent)
        named |= fed_back
    tensors, notes = parameters(config, named, source, normalize, divided_by)
    tensors |= lifs.stored(config)
    if input_shape is None and config.input_shape[2] != 1:
        notes.append(f"assuming images of {'x'.join(map(str, config.input_shape))}; use --input-shape for another size")
    if stated["conv_channels"] and (others := " or ".join(known.fitting(known.fields)[:3])):
        notes.append(f"the weights also fit with {others}; a state_dict doesn't show which one was used")
    arguments = {"map": "places", "scale": "divided_by"}
    notes = [*placed.notes, *notes, *lifs.notes, UNSEEN]
    return ForeignNetwork(config, tensors, tuple(worded(note, **arguments) for note in notes))


def _recurrent(
    config: ModelConfig, modules: Mapping[str, stack.Module]
) -> tuple[ModelConfig, dict[str, tuple[str, Weighted]]]:
    """A chain some of whose neurons also read their own spikes of the step before, and these layers.

    Args:
        config: the chain.
        modules: the recurrent modules by the name of their neurons.

    Raises:
        UserError: their weights don't fit; the message names the tensor.
    """
    nodes, layers = [], dict[str, tuple[str, Weighted]]()
    for node in config.graph:
        operation, inputs = node.operation, [*node.inputs]
        if module := modules.get(node.name):
            assert isinstance(operation, Neurons)
            name = f"rec{node.name.removeprefix('lif')}"
            layers[name] = _fed_back(module, node.shape)
            weight, bias = layers[name][1].weight, layers[name][1].bias is not None
            made: dict[int, Operation] = {
                1: OneToOne(len(weight), bias),
                2: Linear(len(weight), bias),
                4: Convolution(len(weight), weight.shape[-1], padding=weight.shape[-1] // 2, bias=bias),
            }
            nodes.append(node_of(name, made[weight.ndim], [Edge(node.name, 1)]))
            operation = replace(operation, separate=True)  # snnTorch adds the layer's output, then its own spikes'
            inputs.append(Edge(name))
        assert operation is not None
        nodes.append(node_of(node.name, operation, inputs))
    left_out = (*IN_NODES, "network")
    others = {one.name: getattr(config, one.name) for one in dataclass_fields(config) if one.name not in left_out}
    return ModelConfig(network=Nodes(tuple(nodes)), **others), layers


def _fed_back(module: stack.Module, shape: tuple[int, ...]) -> tuple[str, Weighted]:
    """The name and the weights with which neurons of a shape read their own spikes."""
    name, weight, bias = module.fed_back
    size = shape[-1]
    for key, tensor in ((name, weight), (name, bias)):
        if tensor is not None and not (tensor.dtype.is_floating_point and tensor.isfinite().all()):
            raise module.error(key, f"has type {tensor.dtype} or values that aren't finite, expected finite floats")
    if not name.endswith("weight"):  # one weight for each neuron, or for all of them
        if weight.numel() not in (1, size) or len(shape) > 1:
            raise module.error(name, f"has shape {list(weight.shape)}, expected one value per neuron of a linear layer")
        weight = weight.reshape(-1).expand(size) if weight.numel() == 1 else weight.reshape(size)
    else:
        kernel = list(weight.shape[2:])
        if list(weight.shape[:2]) != [size, size] or len(kernel) != len(shape) - 1 or len(set(kernel)) > 1:
            expected = f"{[size, size]}{' and a square kernel' * (len(shape) > 1)}"
            raise module.error(name, f"has shape {list(weight.shape)}, expected {expected}")
        if kernel and kernel[0] % 2 == 0:
            raise module.error(name, f"has a kernel of {kernel[0]}x{kernel[0]}, expected an odd size")
    types = {one.dtype for one in (weight, bias) if one is not None}
    each = Weighted(weight.double().numpy(), None if bias is None else bias.double().numpy(), types)
    return f"{module.name}.{name.rpartition('.')[0] or name}", each


@dataclass(frozen=True)
class _Stack:
    """What is known of a stack, and the flags with which its weights would fit.

    Attributes:
        stated, fields: fields of ModelConfig, from the file and from the caller.
        shapes: of the weights.
        sized: whether the size of the images wasn't given.
    """

    stated: dict[str, Any]
    fields: dict[str, Any]
    shapes: Sequence[tuple[int, ...]]
    sized: bool

    def config(self, names: Sequence[str], source: str) -> ModelConfig:
        """The configuration, checked against the weights' shapes; errors suggest flags that would fit."""
        try:
            config = ModelConfig(**self.stated | self.fields)
        except UserError as error:
            advice = self._advice()
            raise UserError(f"{source}: {error}{advice if advice.endswith('would fit') else ''}") from None
        size = " ".join(map(str, config.input_shape))
        for place, (node, name, shape) in enumerate(zip(config.graph.weighted, names, self.shapes, strict=True)):
            *window, inputs, out = node.kernel_shape
            expected = (out, inputs, *window)
            if tuple(shape) == expected:
                continue
            hint = "; use --map NAME=conv1 ... if the order in the file isn't that of the network"
            if not node.is_convolution and len(config.graph.unflattened(node)) == 3:
                hint = f", because --input-shape {size} gives it {inputs} inputs{self._advice()}"
            elif place == 0:
                hint = f" for --input-shape {size}"
            raise UserError(f"{source}: {name}.weight has shape {list(shape)}, expected {list(expected)}{hint}")
        return config

    def _advice(self) -> str:
        """The flags with which the weights would fit, for an error."""
        convs, inputs = self.stated["conv_channels"], self.stated["input_shape"][2]
        flags = self.fitting()[:3] if convs and (inputs == 1 or not self.sized) else []
        if fitting := flags + (self._sizes() if self.sized else []):
            return f"; {' or '.join(fitting)} would fit"
        if not convs:
            return ""
        size = "pass the size of your images with --input-shape; for this one, " if self.sized else ""
        return f"; {size}no --padding (0 or half a kernel), --stride and --pool fit"

    def _fits(self, **changes: Any) -> bool:
        """Whether the first linear layer's weights fit with other fields."""
        count = len(self.stated["conv_channels"])
        try:
            config = ModelConfig(**self.stated | self.fields | changes)
        except UserError:
            return False
        return config.graph.weighted[count].kernel_shape[0] == self.shapes[count][1]

    def _sizes(self) -> list[str]:
        """Flags for square images with which the weights would fit: sizes of usual data sets, then the smallest.

        Unusual sizes of gray images are left out, because a different padding or pool is more likely.
        """
        inputs = self.stated["input_shape"][2]
        padded = inputs == 1 or not self.stated["conv_channels"] or self.fields.get("padding") == "valid"
        fitting: list[tuple[int, str]] = []
        for size, valid in itertools.product(range(1, SIZES + 1), (False,) if padded else (False, True)):
            if self._fits(input_shape=(size, size, inputs), **{"padding": "valid"} if valid else {}):
                fitting.append((size, f"--input-shape {size} {size} {inputs}" + " --padding valid" * valid))
        usual = [flags for size, flags in fitting if size in USUAL]
        plain = [flags for _, flags in fitting if flags not in usual and "--padding" not in flags]
        return usual + plain[: inputs != 1 and all("--padding" in flags for flags in usual)]

    def fitting(self, given: Container[str] = ()) -> list[str]:
        """The simplest other flags with which the weights fit, without those that are given."""
        count, pools = len(self.stated["conv_channels"]), self.fields.get("pool", "max")
        pool = next((kind for kind in (pools if isinstance(pools, tuple) else (pools,)) if kind != "none"), "max")
        width = count if count <= 3 else 1
        each = [choices for choices in (("same", "valid"), (1, 2), (pool, "none")) for _ in range(width)]
        fitting: list[tuple[tuple[int, int], str]] = []
        for values in itertools.product(*each):
            flags = {name: values[i * width : (i + 1) * width] for i, name in enumerate(("padding", "stride", "pool"))}
            plain = {name: value[0] if len(set(value)) == 1 else value for name, value in flags.items()}
            usual = {name: self.fields.get(name, getattr(ModelConfig, name)) for name in plain}
            new = {name: value for name, value in plain.items() if usual[name] != value}
            if new and not any(name in given for name in new) and self._fits(**new):
                words = " ".join(f"--{name} {show(value)}" for name, value in new.items())
                fitting.append(((len(new), sum(isinstance(value, tuple) for value in new.values())), words))
        return sorted(words for complexity, words in fitting if complexity == min(fitting)[0])
