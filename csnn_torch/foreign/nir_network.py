"""Reads the network in a NIR file from any program: stack, neurons and weights.

    network = nir_network.read("net.nir", written_by="sinabs", time_steps=50)

`nir_file.py` reads the file's nodes in order, `nir_blocks.py` finds the layers, and `nir_neurons.py` reads their
neurons, by the rules in `csnn_torch/programs`.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from csnn_jax.config import ModelConfig, Reset
from csnn_jax.errors import UserError, worded
from csnn_jax.options import check, check_value, show
from csnn_jax.options.kinds import choice, number
from csnn_torch.foreign import nir_blocks, nir_file, nir_neurons
from csnn_torch.foreign.network import ForeignNetwork, Weighted, parameters
from csnn_torch.foreign.nir_file import Chain
from csnn_torch.programs import PROGRAMS, definition
from csnn_torch.programs.program import Rules

SAID = ("time_steps", "encoding", "scale", "input_bits")
"""Fields of ModelConfig in the metadata of files written by `export`, besides dt."""


MOST_PIXELS = 2**24
"""Maximum number of values of an image, such as 4096 x 4096; a file of a few kB can state any shape."""


def read(
    path: str,
    *,
    dt: float | None = None,
    written_by: str | None = None,
    reset: Reset | None = None,
    norm_input: bool = True,
    input_shape: tuple[int, int, int] | None = None,
    divided_by: float | None = None,
    normalize: Sequence[float] | None = None,
    **fields: Any,
) -> ForeignNetwork:
    """Reads the network from a NIR file.

    Args:
        path: the file.
        dt: time step, seconds; None: from the file, otherwise the program's default.
        written_by: the program whose rules apply to the neurons; None: NIR's definition.
        reset: what a spike does to a membrane; None: the program's default.
        norm_input: whether Sinabs' LIF multiplies its input by its leak, as it does by default.
        input_shape: height, width and channels of the images; None: from the file.
        divided_by: divisor of the bytes of its images; None: from the file, otherwise see `network.parameters`.
        normalize: see `state_dict.convert`.
        fields: fields of ModelConfig that aren't in the file: surrogate, slope, time_steps, encoding, and the scale and
            input_bits of its images. None: from the file.

    Raises:
        UserError: it's another kind of file, or csnn_jax can't run the network; the message names the node.
    """
    if written_by is not None:
        check_value("--written-by", written_by, choice(PROGRAMS))
    if not norm_input and written_by != "sinabs":
        raise UserError("--no-norm-input: expected --written-by sinabs, whose neurons have norm_input")
    graph = nir_file.read(path)
    stored = of_metadata(graph.metadata, path)
    chain = nir_file.chain(graph, path)
    rules = definition.RULES if written_by is None else PROGRAMS[written_by].rules
    written = stored.pop("dt", None)
    step = _step(rules, written_by, dt, written)
    rules = replace(rules, dt=step, reset=reset or rules.reset, norm_input=norm_input)
    size, entering = _input_shape(chain, input_shape, path)
    blocks = nir_blocks.blocks(chain, entering, path)
    neurons = nir_neurons.read(blocks, rules)
    stated = {"input_shape": size} | nir_blocks.geometry(blocks) | neurons.fields
    stated["bias"] = normalize is not None or any(block.bias.any() for block in blocks)
    chosen = {name: value for name, value in fields.items() if value is not None}
    try:
        config = ModelConfig(**stated | stored | chosen)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    if divided_by is None and config.encoding == "direct" and config.pixels.are_bytes:
        divided_by = stored.get("scale")
    names, weighted = zip(*((one.node.name, Weighted(one.weight, one.bias, set())) for one in blocks), strict=True)
    tensors, notes = parameters(config, names, weighted, neurons, path, normalize, divided_by)
    notes += neurons.notes
    if dt is None and written is None and rules.dt and not rules.fixed:
        notes.append(f"the file has no time step: assuming {rules.dt:g} s; use --dt for another")
    if written_by is None and written is None:
        notes.append("read by NIR's definition: reset to v_reset, spikes above v_threshold; see --written-by")
    notes += [rules.unsaid] if rules.unsaid else []
    return ForeignNetwork(config, tensors, tuple(worded(note, scale="divided_by") for note in notes))


def of_metadata(metadata: dict[str, Any], source: str) -> dict[str, Any]:
    """The fields in `SAID`, and dt, from a file's metadata, as Python numbers and text."""
    stored = {}
    for name in metadata.keys() & {"dt", *SAID}:
        value = metadata[name]
        stored[name] = value.item() if isinstance(value, np.generic) else value
        kinds = (str,) if name == "encoding" else (int, float)
        if not isinstance(stored[name], kinds):
            raise UserError(f"{source}: has {name} {show(value)} in its metadata, expected {kinds[-1].__name__}")
    return stored


def _step(rules: Rules, name: str | None, chosen: float | None, stored: float | None) -> float | None:
    """The time step, seconds; None if time constants count steps."""
    if chosen is not None:
        check_value("--dt", chosen, number(above=0))
    fixed = rules.dt is None or rules.fixed
    if chosen is not None and fixed:
        counts = "which counts in steps" if rules.dt is None else f"whose step is {rules.dt:g} s"
        raise UserError(f"--dt {chosen:g}: expected no --dt with --written-by {name}, {counts}")
    return chosen or (None if fixed else stored) or rules.dt


def _input_shape(
    chain: Chain, size: tuple[int, int, int] | None, source: str
) -> tuple[tuple[int, int, int], tuple[int, ...]]:
    """The images' (height, width, channels), and the first node's input shape: (channels, height, width) or
    (features,)."""
    stored = chain.shape
    if stored[:1] == (1,) and len(stored) in (2, 4):  # a batch axis in front
        stored = stored[1:]
    known = len(stored) in (1, 3) and min(stored) > 0
    if size is None:
        if not known:
            has = f"an input of shape {list(chain.shape)}" if chain.shape else "no input shape"
            raise UserError(f"{source}: has {has}, expected channels, height and width; see --input-shape")
        size = (stored[1], stored[2], stored[0]) if len(stored) == 3 else _image(stored[0], source)
    check("--input-shape", size, "three positive whole numbers", len(size) == 3 and min(size) > 0)
    if (values := math.prod(size)) > MOST_PIXELS:
        raise UserError(f"{source}: has images of {values:,} values, expected at most {MOST_PIXELS:,}")
    height, width, channels = size
    first = next((node.kind for node in chain.nodes if node.kind != "Scale"), "")
    flat = len(stored) == 1 if known else first in ("Linear", "Affine")
    return size, (math.prod(size),) if flat else (channels, height, width)


def _image(features: int, source: str) -> tuple[int, int, int]:
    """The shape of a square gray image with that many pixels."""
    side = math.isqrt(features)
    if side**2 != features:
        raise UserError(f"{source}: has {features} inputs, which isn't a square image; use --input-shape")
    return side, side, 1
