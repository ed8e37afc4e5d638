"""What can be encoded, the words of a few arguments, and arrays, as types."""

from __future__ import annotations

from enum import Enum
from typing import Any

Array = Any  # numpy.ndarray or cupy.ndarray: shape and dtype stand beside each name instead

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


class OffsetReferential(Enum):
    """Which text offsets count in."""

    ORIGINAL = "original"
    NORMALIZED = "normalized"


class OffsetType(Enum):
    """What offsets count."""

    BYTE = "byte"
    CHAR = "char"


class SplitDelimiterBehavior(Enum):
    """What becomes of the text that a pattern matches."""

    REMOVED = "removed"
    ISOLATED = "isolated"
    MERGED_WITH_PREVIOUS = "merged_with_previous"
    MERGED_WITH_NEXT = "merged_with_next"
    CONTIGUOUS = "contiguous"
