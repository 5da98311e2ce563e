"""The most operations that the C program's calls can take, if every neuron fires and no byte of a frame is 0.

An operation adds a weight to a sum, copies or counts an event, or is a neuron's step. Rows of weights are padded, and
zeros count, too.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from csnn_jax.config.operations import Convolution, OneToOne
from export.c.layout import Events, Layout, Map, Source, counted


class Operations(NamedTuple):
    """The most operations of a call.

    Attributes:
        present: of `csnn_present`.
        step: of `csnn_step`.
    """

    present: int
    step: int


def most(made: Layout, padded: Callable[[int], int]) -> Operations:
    """The most operations of a program.

    Args:
        made: its tables.
        padded: from a number of channels to the weights in a row.
    """
    present, step = 0, made.neurons
    for out, sources in zip(made.maps, made.sources, strict=True):
        for source in sources:
            count = _additions(source, out, padded)
            present, step = (present, step + count) if source.drive < 0 else (present + count, step)
    for copy in made.copies:
        places = copy.pool.window if copy.pool else 1
        step += copy.map.height * copy.map.width * places * copy.map.channels * _each(copy.inputs)
    return Operations(present, step)


def _additions(source: Source, out: Map, padded: Callable[[int], int]) -> int:
    """The weights that a source adds to its layer's sums."""
    operation, values = source.node.operation, 1 if source.drive >= 0 else _each(source.inputs)
    if isinstance(operation, OneToOne):  # it counts an event once, whatever it stands for
        return source.map.size * (1 if source.drive >= 0 else sum(_most(one) for one in source.inputs))
    if not isinstance(operation, Convolution):
        return source.map.size * values * padded(out.channels)
    rows, columns = (
        _reads(positions, size, operation, source)
        for positions, size in ((out.height, source.map.height), (out.width, source.map.width))
    )
    return rows * columns * source.map.channels * values * padded(out.channels)


def _reads(positions: int, size: int, operation: Convolution, source: Source) -> int:
    """How often a convolution reads a row of its input, or a column, at all positions and for all of their pools."""
    pool, apart = (source.after.size, source.after.stride) if source.after else (1, 1)
    starts = (
        (position * apart + place) * operation.stride - operation.padding
        for position in range(positions)
        for place in range(pool)
    )
    return sum(max(0, min(size, start + operation.kernel) - max(0, start)) for start in starts)


def _each(inputs: Sequence[Events]) -> int:
    """The most rows or events for one value of a sum of lists."""
    return sum(often * _most(one) for one, often in counted(inputs))


def _most(one: Events) -> int:
    """The most events of a list for one of its values."""
    if one.before < 0:
        return 1
    return _each(one.inputs) * (1 if one.pool is None or one.pool.kind == "max" else one.pool.window)
