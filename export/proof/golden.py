"""What golden files hold, and whether they hold it: the reference's values, but for rounding.

Where torch adds in another order, on another machine, the last bits of a membrane differ, and a spike flips where it
lies that near to its threshold. Then what follows from that spike differs too.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from export import reference
from export.proof.equality import LIMIT, Stepwise, thresholds
from export.proof.runners import Recording


class Golden(NamedTuple):
    """One set of golden tensors: arrays in the order of the graph's inputs and outputs."""

    inputs: list[np.ndarray]
    outputs: list[np.ndarray]


def of_step(step: reference.Step, inputs: list[np.ndarray]) -> Golden:
    """A step of the reference from these inputs: frame and membranes."""
    with torch.no_grad():
        return Golden(inputs, [value.numpy() for value in step(*map(torch.from_numpy, inputs))])


def of_window(step: reference.Step, x: torch.Tensor, time_steps: int) -> Golden:
    """The whole window of an input, see `reference.inputs`: spike counts and spikes."""
    spikes = reference.trace(step, x, time_steps).spikes[-1]
    return Golden([x.numpy()], [spikes.sum(0).numpy(), spikes.numpy()])


def step_problems(
    name: str, golden: Golden, inputs: list[np.ndarray], step: reference.Step, before: str | None = None
) -> Iterator[str]:
    """What is wrong with the set of a step.

    Args:
        name: of the set in the bundle.
        golden: what it holds.
        inputs: what its inputs are to be, to the bit.
        step: the reference, from whose outputs a set may differ by rounding.
        before: the set whose outputs are this one's membranes; None: it begins a window.
    """
    yield from _unequal(name, golden.inputs, inputs, before)
    if _forms(golden.inputs) != _forms(inputs):
        return
    expected = of_step(step, golden.inputs).outputs
    if _forms(golden.outputs) != _forms(expected):
        yield f"{name}: outputs {_forms(golden.outputs)}, expected {_forms(expected)}"
        return
    found = Stepwise(thresholds(step))
    spikes, *membranes = golden.outputs
    found.add(0, 0, Recording(expected[0][None], [u[None] for u in expected[1:]]), spikes, membranes)
    for number, largest in enumerate(found.largest, 1):
        if largest > LIMIT:
            yield f"{name}/output_{number}.pb: membranes differ by up to {largest:.3g} (1 + |U|)"
    if found.unexplained:
        yield f"{name}/output_0.pb: {found.unexplained} spikes differ"


def window_problems(name: str, golden: Golden, x: torch.Tensor, step: reference.Step, time_steps: int) -> Iterator[str]:
    """What is wrong with the set of a whole window of the input `x`, in the manner of `step_problems`."""
    whole = of_window(step, x, time_steps)
    yield from _unequal(name, golden.inputs, whole.inputs)
    if _forms(golden.outputs) != _forms(whole.outputs):
        yield f"{name}: outputs {_forms(golden.outputs)}, expected {_forms(whole.outputs)}"
        return
    counts, spikes = golden.outputs
    if not np.array_equal(counts, spikes.sum(0)):
        yield f"{name}/output_0.pb: differs from the sums of output_1.pb"
    if not np.array_equal(spikes, whole.outputs[1]) and not _by_rounding(spikes, x, step, time_steps):
        different = int((spikes != whole.outputs[1]).sum())
        yield f"{name}/output_1.pb: {different} spikes differ, and no membrane near its threshold explains them"


def _by_rounding(spikes: np.ndarray, x: torch.Tensor, step: reference.Step, time_steps: int) -> bool:
    """Whether the reference gives these output spikes if one membrane near its threshold crosses it.

    Each membrane within LIMIT (1 + |U|) of its threshold is moved across in turn, up to the first different spike.
    """
    ours = reference.trace(step, x, time_steps)
    first = int(np.flatnonzero((ours.spikes[-1].numpy() != spikes).any((1, 2)))[0])
    for layer, (whole, neurons) in enumerate(zip(ours.membranes, step.neurons, strict=True)):
        u = whole[: first + 1]
        near = (u - neurons.threshold).abs() <= LIMIT * (1 + u.abs())
        for t, *place in near.nonzero().tolist():
            if np.array_equal(_crossed(step, x, time_steps, layer, t, tuple(place)), spikes):
                return True
    return False


@torch.no_grad()
def _crossed(
    step: reference.Step, x: torch.Tensor, time_steps: int, layer: int, when: int, place: tuple[int, ...]
) -> np.ndarray:
    """Output spikes [time, 1, classes] of a window in which one neuron crosses its threshold at step `when`."""
    neurons = step.neurons[layer]
    above = torch.nextafter(neurons.threshold, torch.tensor(torch.inf))

    def cross(_: Any, __: Any, out: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        membrane, fired = out
        membrane[place] = neurons.threshold if fired[place] else above
        return membrane, neurons.fire(membrane)

    membranes: Sequence[torch.Tensor] = step.initial_membranes(1)
    spikes = []
    for t, frame in enumerate(reference.frames(x, time_steps)):
        hook = neurons.register_forward_hook(cross) if t == when else None
        now, *membranes = step(frame, *membranes)
        if hook:
            hook.remove()
        spikes.append(now.numpy())
    return np.stack(spikes)


def _unequal(
    name: str, found: list[np.ndarray], expected: list[np.ndarray], before: str | None = None
) -> Iterator[str]:
    if len(found) != len(expected):
        yield f"{name}: {len(found)} inputs, expected {len(expected)}"
    for number, (a, b) in enumerate(zip(found, expected, strict=False)):
        if a.dtype != b.dtype or not np.array_equal(a, b):
            copied = f"{before}/output_{number}.pb, of which it is a copy: one of the two was changed"
            yield f"{name}/input_{number}.pb: differs from {copied if before and number else 'the reference'}"


def _forms(arrays: Sequence[np.ndarray]) -> str:
    return ", ".join(f"{array.dtype}{list(array.shape)}" for array in arrays)
