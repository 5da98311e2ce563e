"""Reads the network of an snnTorch state_dict: stack, neurons and weights.

    network = state_dict.read("net.pt", time_steps=25, padding="valid")

`foreign/saved.py` reads the file, `foreign/stack.py` identifies its modules and finds their order, and
`foreign/neurons.py` reads the neurons. This module builds the network.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from csnn_jax.config import ModelConfig, Output
from csnn_jax.errors import UserError, naming_arguments, worded
from csnn_jax.options import check, check_value, show
from csnn_jax.options.kinds import number
from csnn_torch.foreign import network, neurons, saved, stack
from csnn_torch.foreign.network import ForeignNetwork, weights_of
from csnn_torch.foreign.stack import Module

UNSEEN = (
    "a state_dict doesn't contain inhibition, reset_delay, state_quant, graded spikes (before snnTorch 1.0), a "
    "BatchNorm's eps, or the places and kinds of pools: assuming snnTorch's defaults and the values you chose"
)
USUAL = (28, 32, 34, 48, 64, 96, 128, 224, 256)
"""Image sizes of common data sets, which messages suggest first."""
SIZES = 512
"""The largest size that messages suggest."""


def read(
    path: str,
    input_shape: tuple[int, int, int] | None = None,
    places: Sequence[str] = (),
    *,
    batchnorm_eps: float = network.NORM_EPS,
    normalize: Sequence[float] | None = None,
    divided_by: float | None = None,
    output: Output | None = None,
    **fields: Any,
) -> ForeignNetwork:
    """Reads the network from a file written by torch.save.

    Args:
        path: the file.
        input_shape: height, width and channels of the images; None: 28, 28 and the channels of the first weight.
        places: "NAME=PLACE" for modules whose order in the file differs from the network; see `stack.stack`.
        batchnorm_eps: eps of the BatchNorms.
        normalize: mean and standard deviation that normalized the training images, for pixels from 0 to 1; or the means
            of all channels followed by their standard deviations.
        divided_by: divisor of the bytes of its images; None: see `network.entered`.
        output: kind of the last layer; None: see `neurons.read`.
        fields: fields of ModelConfig that aren't in a state_dict: padding, stride, pool, surrogate, slope, time_steps,
            encoding, readout, and the scale and input_bits of its images.

    Raises:
        UserError: the file isn't a state_dict, csnn_jax doesn't support the network, or shapes don't match; the message
            names the tensor.
    """
    file = saved.read(path)
    fields |= {"ordered": file.ordered, "batchnorm_eps": batchnorm_eps, "normalize": normalize}
    fields |= {"divided_by": divided_by, "output": output}
    found = convert(file.tensors, path, input_shape, places, **fields)
    return found._replace(notes=(*file.notes, *found.notes))


@naming_arguments(map="places")
def convert(
    state: dict[str, torch.Tensor],
    source: str = "state_dict",
    input_shape: tuple[int, int, int] | None = None,
    places: Sequence[str] = (),
    *,
    ordered: bool = True,
    batchnorm_eps: float = network.NORM_EPS,
    normalize: Sequence[float] | None = None,
    divided_by: float | None = None,
    output: Output | None = None,
    **fields: Any,
) -> ForeignNetwork:
    """Converts a state_dict in memory. For arguments and errors, see `read`; `source` is its name in messages.

    `ordered`: whether its modules are in the order of their registration; see `stack.stack`.
    """
    check_value("--batchnorm-eps", batchnorm_eps, number(0))
    by = None if normalize is None else network.normalization(normalize)
    placed = stack.stack(stack.modules(saved.plain(state, source), source), places, source, ordered)
    pairs = zip(placed.layers, placed.norms, strict=True)
    weighted = [network.weighted(layer, norm, source, batchnorm_eps) for layer, norm in pairs]
    shapes = [one.weight.shape for one in weighted]
    found = neurons.read(placed, source, output)
    stated = _stated(shapes) | found.fields
    stated["bias"] = by is not None or any(one.bias is not None for one in weighted)
    if input_shape is not None:
        stated["input_shape"] = input_shape
    config = _config(stated, fields, shapes, placed.layers, source, input_shape is None)
    if by is not None:
        check("--encoding", config.encoding, "direct with --normalize", config.encoding == "direct")
        weighted[0] = network.normalized(weighted[0], config, by)
    weighted[0] = network.entered(weighted[0], config, divided_by)
    notes = [*placed.notes, *(note for one in weighted for note in one.notes), *_changes(placed.layers, weighted)]
    if input_shape is None and config.input_shape[2] != 1:
        notes.append(f"assuming images of {'x'.join(map(str, config.input_shape))}; use --input-shape for another size")
    if stated["conv_channels"] and (others := _fitting(stated, fields, shapes)):
        notes.append(
            f"the weights also fit with {' or '.join(others[:3])}; a state_dict doesn't show which one was used"
        )
    tensors = weights_of(config, [module.name for module in placed.layers], weighted, source)
    arguments = {"map": "places", "scale": "divided_by"}
    said = tuple(worded(note, **arguments) for note in (*notes, *found.notes, UNSEEN))
    return ForeignNetwork(config, tensors | found.stored(config), said)


def _stated(shapes: Sequence[tuple[int, ...]]) -> dict[str, Any]:
    """Fields of ModelConfig that follow from the shapes of the weights."""
    convs = [shape for shape in shapes if len(shape) == 4]
    outputs = [shape[0] for shape in shapes]
    inputs = shapes[0][1]
    stated = {
        "input_shape": (28, 28, inputs if convs else max(1, inputs // 28**2)),
        "conv_channels": tuple(outputs[: len(convs)]),
        "hidden": tuple(outputs[len(convs) : -1]),
        "num_classes": outputs[-1],
    }
    return stated | ({"kernel_size": tuple(shape[2] for shape in convs)} if convs else {})


def _changes(layers: Sequence[Module], weighted: Sequence[network.Weighted]) -> Iterator[str]:
    """Notes on changed types and missing biases, one line each."""
    if kinds := {kind for one in weighted for kind in one.types if kind != torch.float32}:
        yield f"weights of type {' and '.join(sorted(map(str, kinds)))} are converted to float32"
    without = [layer.name for layer, one in zip(layers, weighted, strict=True) if one.bias is None]
    if 0 < len(without) < len(layers):
        yield f"{', '.join(without)}: no bias, using 0 because the other layers have one"


def _config(
    stated: dict[str, Any],
    fields: dict[str, Any],
    shapes: Sequence[tuple[int, ...]],
    layers: Sequence[Module],
    source: str,
    sized: bool,
) -> ModelConfig:
    """The configuration, checked against the weights' shapes; errors suggest flags that would fit."""
    try:
        config = ModelConfig(**stated | fields)
    except UserError as error:
        advice = _advice(stated, fields, shapes, sized)
        raise UserError(f"{source}: {error}{advice if advice.endswith('would fit') else ''}") from None
    for place, (node, module, shape) in enumerate(zip(config.graph.weighted, layers, shapes, strict=True)):
        *window, inputs, out = node.kernel_shape
        expected = (out, inputs, *window)
        if tuple(shape) == expected:
            continue
        size = " ".join(map(str, config.input_shape))
        hint = "; use --map NAME=conv1 ... if the order in the file isn't that of the network"
        if not node.is_convolution and len(config.graph.unflattened(node)) == 3:
            hint = f", because --input-shape {size} gives it {inputs} inputs{_advice(stated, fields, shapes, sized)}"
        elif place == 0:
            hint = f" for --input-shape {size}"
        raise UserError(f"{source}: {module.name}.weight has shape {list(shape)}, expected {list(expected)}{hint}")
    return config


def _advice(stated: dict[str, Any], fields: dict[str, Any], shapes: Sequence[tuple[int, ...]], sized: bool) -> str:
    """The flags with which the weights would fit, for an error; `sized`: the size of the images wasn't given."""
    convs, channels = stated["conv_channels"], stated["input_shape"][2]
    flags = _fitting(stated, fields, shapes)[:3] if convs and (channels == 1 or not sized) else []
    fitting = flags + (_sizes(stated, fields, shapes) if sized else [])
    if fitting:
        return f"; {' or '.join(fitting)} would fit"
    if not convs:
        return ""
    hint = ", or set the size of the images with --input-shape" if sized else ""
    return f"; no --padding, --stride and --pool make them fit, where padding is 0 or half a kernel{hint}"


def _sizes(stated: dict[str, Any], fields: dict[str, Any], shapes: Sequence[tuple[int, ...]]) -> list[str]:
    """Flags for square images with which the weights would fit: sizes of usual data sets, then the smallest.

    Unusual sizes of gray images are left out, because a different padding or pool is more likely.
    """
    count, channels = len(stated["conv_channels"]), stated["input_shape"][2]
    found: list[tuple[int, str]] = []
    for size, valid in itertools.product(range(1, SIZES + 1), (False, True)):
        padding = {"padding": "valid"} if valid else {}
        if valid and (channels == 1 or not count or fields.get("padding") == "valid"):
            continue
        try:
            config = ModelConfig(**stated | fields | padding | {"input_shape": (size, size, channels)})
        except UserError:
            continue
        if config.graph.weighted[count].kernel_shape[0] == shapes[count][1]:
            found.append((size, f"--input-shape {size} {size} {channels}" + " --padding valid" * valid))
    usual = [flags for size, flags in found if size in USUAL]
    plain = [flags for _, flags in found if flags not in usual and "--padding" not in flags]
    return usual + plain[: channels != 1 and all("--padding" in flags for flags in usual)]


def _fitting(stated: dict[str, Any], fields: dict[str, Any], shapes: Sequence[tuple[int, ...]]) -> list[str]:
    """The simplest other flags with which the weights fit."""
    count = len(stated["conv_channels"])
    pooled = fields.get("pool", "max")
    pool = next((kind for kind in (pooled if isinstance(pooled, tuple) else (pooled,)) if kind != "none"), "max")
    width = count if count <= 3 else 1
    each = [choices for choices in (("same", "valid"), (1, 2), (pool, "none")) for _ in range(width)]
    found: list[tuple[int, str]] = []
    for values in itertools.product(*each):
        flags = {name: values[i * width : (i + 1) * width] for i, name in enumerate(("padding", "stride", "pool"))}
        plain = {name: one[0] if len(set(one)) == 1 else one for name, one in flags.items()}
        new = {name: one for name, one in plain.items() if fields.get(name, getattr(ModelConfig, name)) != one}
        try:
            first = ModelConfig(**stated | fields | new).graph.weighted[count]
        except UserError:
            continue
        if new and first.kernel_shape[0] == shapes[count][1]:
            words = [f"--{name} {show(one)}" for name, one in new.items()]
            found.append((10 * len(new) + sum(isinstance(one, tuple) for one in new.values()), " ".join(words)))
    return sorted(words for score, words in found if score == min(found)[0])
