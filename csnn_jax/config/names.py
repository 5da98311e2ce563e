"""Which names a job may contain, so that they neither break a line nor control a terminal."""

import unicodedata

MOST_CLASSES = 2**16
"""Far more than real data sets have (ImageNet-21k has a third), but a file from someone else can state any number."""


def is_class_name(text: str) -> bool:
    """Whether text can name a class in lines of text: without controls, and not `-`, which means none."""
    return text not in ("", "-") and is_plain(text) and not any(unicodedata.category(c) == "Cs" for c in text)


def is_plain(text: str) -> bool:
    """Whether text neither breaks lines, nor controls a terminal, nor overrides the direction of text like U+202E."""
    breaking = {"Cc", "Zl", "Zp"}  # control characters, line and paragraph separators
    turning = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    return not any(unicodedata.category(c) in breaking or unicodedata.bidirectional(c) in turning for c in text)
