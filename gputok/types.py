"""Types of arguments: texts that can be encoded, the choices of a few options, and arrays, named by their content."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from gputok.lazy import public

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Array: TypeAlias = Any
"""An array of NumPy or of CuPy; code that knows which one, and the dtype, uses an alias below instead."""

Bytes: TypeAlias = "npt.NDArray[np.uint8]"
"""UTF-8 text, one string after the other, or other bytes."""

Positions: TypeAlias = "npt.NDArray[np.int64]"
"""Positions of bytes, tokens or rows, or offsets: string i of packed strings is data[offsets[i]:offsets[i + 1]]."""

Positions32: TypeAlias = "npt.NDArray[np.int32]"
"""Positions within one text, or the numbers of its words; -1: no position, or no word."""

Counts: TypeAlias = "npt.NDArray[np.int64]"
"""How often each word occurs."""

Ids: TypeAlias = "npt.NDArray[np.uint32]"
"""Ids of tokens."""

PackedIds: TypeAlias = "npt.NDArray[np.uint16 | np.uint32]"
"""Ids of tokens, in 16 bits if every id of the vocabulary fits, else in 32 bits."""

Mask: TypeAlias = "npt.NDArray[np.bool_]"
"""True or False for each item."""

Scores: TypeAlias = "npt.NDArray[np.float64]"
"""Logarithms of probabilities, by id."""

CodePoints: TypeAlias = "npt.NDArray[np.uint32]"
"""Characters of Unicode."""

Direction: TypeAlias = Literal["left", "right"]
"""The side of an encoding that is filled or cut off."""

Strategy: TypeAlias = Literal["longest_first", "only_first", "only_second"]
"""Which text of a pair is cut."""

Behavior: TypeAlias = Literal["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]
"""The treatment of the text that a pattern matches."""

Device: TypeAlias = Literal["auto", "cpu", "cuda"] | str
"""A device: one of these words, or "cuda:N"."""

FileFormat: TypeAlias = Literal[
    "npy", "llmc", "bin", "arrow", "parquet", "megatron", "datatrove", "nanogpt", "mds", "litdata", "olmo"
]
"""The format of files of ids."""

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
    """The text that offsets count in."""

    ORIGINAL = "original"
    NORMALIZED = "normalized"


@public("gputok")
class OffsetType(Enum):
    """The unit of offsets."""

    BYTE = "byte"
    CHAR = "char"


@public("gputok")
class SplitDelimiterBehavior(Enum):
    """The treatment of the text that a pattern matches."""

    REMOVED = "removed"
    ISOLATED = "isolated"
    MERGED_WITH_PREVIOUS = "merged_with_previous"
    MERGED_WITH_NEXT = "merged_with_next"
    CONTIGUOUS = "contiguous"
