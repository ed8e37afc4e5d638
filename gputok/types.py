"""What can be encoded, the words of a few arguments, and arrays, as types."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, TypeVar

Array = Any  # numpy.ndarray or cupy.ndarray: shape and dtype stand beside each name instead

Public = TypeVar("Public")


def public(module: str) -> Callable[[Public], Public]:
    """Names the module that users import a class from: its `repr` and pickles show that one, not where it is written.

    >>> from gputok import AddedToken
    >>> AddedToken.__module__
    'gputok'
    """

    def name(value: Public) -> Public:
        value.__module__ = module
        return value

    return name


Offsets = tuple[int, int]
"""(first, last + 1) character of a text."""

TextInputSequence = str
"""One text."""

PreTokenizedInputSequence = list[str] | tuple[str, ...]
"""One text as words."""

TextEncodeInput = TextInputSequence | tuple[TextInputSequence, TextInputSequence] | list[TextInputSequence]
"""One text, or a pair."""

PreTokenizedEncodeInput = (
    PreTokenizedInputSequence
    | tuple[PreTokenizedInputSequence, PreTokenizedInputSequence]
    | list[PreTokenizedInputSequence]
)
"""One text as words, or a pair."""

InputSequence = TextInputSequence | PreTokenizedInputSequence
EncodeInput = TextEncodeInput | PreTokenizedEncodeInput


@public("gputok")
class OffsetReferential(Enum):
    """Which text offsets count in."""

    ORIGINAL = "original"
    NORMALIZED = "normalized"


@public("gputok")
class OffsetType(Enum):
    """What offsets count."""

    BYTE = "byte"
    CHAR = "char"


@public("gputok")
class SplitDelimiterBehavior(Enum):
    """What becomes of the text that a pattern matches."""

    REMOVED = "removed"
    ISOLATED = "isolated"
    MERGED_WITH_PREVIOUS = "merged_with_previous"
    MERGED_WITH_NEXT = "merged_with_next"
    CONTIGUOUS = "contiguous"
