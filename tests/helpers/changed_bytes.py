"""Copies of a file with changed bytes: cut off, flipped, overwritten, swapped, repeated, inserted and removed.

A copy depends only on the file and its number, so the number in a failed test makes it again.
"""

import re
from collections.abc import Iterator

import numpy as np

Random = np.random.Generator
LONGEST = 24
"""Maximum length of a block that's swapped, repeated, inserted or removed."""


def copies(content: bytes, count: int, marks: bytes) -> Iterator[tuple[str, bytes]]:
    """The file cut off at every mark, then `count` random changes; yields what was done, and the changed bytes.

    Args:
        content: the file.
        count: number of random changes.
        marks: regular expression for what begins a part of the file, such as a PNG's chunk.
    """
    places = sorted({0, *(mark.start() for mark in re.finditer(marks, content, re.DOTALL))})
    for place in places:
        yield f"cut at mark {place}", content[:place]
    for number in range(count):
        done, changed = copy(content, number, places)
        if changed != content:
            yield f"change {number}: {done}", changed


def copy(content: bytes, number: int, marks: list[int]) -> tuple[str, bytes]:
    """What change `number` does, and the changed bytes."""
    random = np.random.default_rng(number)
    change = CHANGES[number % len(CHANGES)]
    place, length = _place(content, marks, random), int(random.integers(1, LONGEST))
    return f"{change.__name__.strip('_')} {length} at {place}", change(content, place, length, random)


def _place(content: bytes, marks: list[int], random: Random) -> int:
    """Anywhere, or just after a mark, where sizes and types are."""
    anywhere = int(random.integers(len(content)))
    near = int(random.choice(marks)) + int(random.integers(LONGEST))
    return near if random.integers(2) and near < len(content) else anywhere


def _cut(content: bytes, place: int, length: int, random: Random) -> bytes:
    return content[:place]


def _flip(content: bytes, place: int, length: int, random: Random) -> bytes:
    return content[:place] + bytes([content[place] ^ 1 << int(random.integers(8))]) + content[place + 1 :]


def _overwrite(content: bytes, place: int, length: int, random: Random) -> bytes:
    """Four bytes become a number that's extreme in some type, or text."""
    new = (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"9999", b"\x80")
    return (content[:place] + new[int(random.integers(len(new)))] + content[place + 4 :])[: len(content)]


def _swap(content: bytes, place: int, length: int, random: Random) -> bytes:
    """Two blocks of equal length change places; the second often follows the first."""
    other = place + length if random.integers(2) else int(random.integers(len(content)))
    first, second = sorted((place, other))
    length = min(length, second - first, len(content) - second)
    one, two = content[first : first + length], content[second : second + length]
    return content[:first] + two + content[first + length : second] + one + content[second + length :]


def _repeat(content: bytes, place: int, length: int, random: Random) -> bytes:
    return content[: place + length] + content[place:]


def _insert(content: bytes, place: int, length: int, random: Random) -> bytes:
    return content[:place] + random.bytes(length) + content[place:]


def _remove(content: bytes, place: int, length: int, random: Random) -> bytes:
    return content[:place] + content[place + length :]


CHANGES = (_cut, _flip, _flip, _overwrite, _overwrite, _swap, _repeat, _insert, _remove)
