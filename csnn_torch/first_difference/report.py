"""The output, line by line."""

from collections.abc import Iterator

import numpy as np

from csnn_torch.first_difference.explain import Compared, Finding
from csnn_torch.first_difference.images import Inputs
from csnn_torch.first_difference.sides import Side


def heading(sides: tuple[Side, Side], inputs: Inputs) -> Iterator[str]:
    """What is compared."""
    for letter, side in zip("AB", sides, strict=True):
        yield f"{letter}  {side.name}: {side.program}"
    yield f"On {inputs.what}, {len(inputs.each[0])} steps. Images, steps and neurons count from 0."


def counts(result: Compared) -> Iterator[str]:
    """A line for each layer."""
    nodes = result.signals[0].states
    width = max(map(len, nodes))
    for node in nodes:
        text = "not compared: one of the sides doesn't show its spikes"
        if count := result.comparison.spikes.get(node):
            text = f"{count.compared:,} spikes compared; A has {count.active[0]:,}, B {count.active[1]:,}"
        elif count := result.comparison.membranes.get(node):
            text = f"{count.compared:,} membranes compared"
        yield f"  {node:{width}}  {text}"


def differences(result: Compared, sides: tuple[Side, Side]) -> Iterator[str]:
    """What differs, and the membrane with the first difference on each side."""
    first = result.comparison.first
    assert first is not None
    yield from result.comparison.sentences("A")
    yield _row("", "A", "B")
    step = first.place.step
    before = "at the start" if step == 0 else f"after step {step - 1}"
    for text, values in zip((before, f"after step {step}"), zip(*result.membranes, strict=True), strict=True):
        yield _row(f"membrane {text}", *map(_membrane, values))
    if sides[0].held == sides[1].held:
        yield f"  Membranes on both sides are {sides[0].held} the reset that a spike causes."
    else:
        yield f"  A's membranes are {sides[0].held} the reset that a spike causes, B's {sides[1].held} it."


def _row(text: str, a: str, b: str) -> str:
    return f"  {text:26} {a:>14} {b:>14}"


def _membrane(value: float) -> str:
    return np.format_float_positional(np.float32(value), trim="-")


def causes(explained: tuple[int, list[Finding]] | None, differ: int, sides: tuple[Side, Side]) -> Iterator[str]:
    """What explains the difference.

    Args:
        explained: the side whose network was changed, and the findings; None: there was no such side.
        differ: number of values that differ.
        sides: A and B.
    """
    if explained is None:
        yield "Causes: unknown, because neither side's network can be computed here:"
        differs = "computed here, its network gives different values than on that side"
        yield from (f"  {letter}: {side.why_unread or differs}" for letter, side in zip("AB", sides, strict=True))
        if files := [side.name for side in sides if ":" in side.name]:
            yield f"  Compare each file with NIR's definition, such as {files[0].partition(':')[2]} {files[0]}"
        return
    number, findings = explained
    changed, other = "AB"[number], "AB"[1 - number]
    if good := [one for one in findings if one.first and one.left < differ]:
        yield f"Causes: {changed}'s network gives {other}'s values when it's computed with"
    elif findings[0].left < differ:
        yield f"Causes: no known one makes {changed}'s network give {other}'s first difference; the closest is"
    else:
        yield f"Causes: none of the known ones explains any of {other}'s values."
        return
    for finding in good or findings[:1]:
        left = f"{finding.left:,} of {differ:,}"
        yield f"  {'; and with '.join(cause.text for cause in finding.causes)}"
        if not finding.first:
            yield f"    leaves {left}, the first among them"
        else:
            yield (
                f"    explains the first of them and all but {left}" if finding.left else f"    explains all {differ:,}"
            )
