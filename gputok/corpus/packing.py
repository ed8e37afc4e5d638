"""Documents in arrays: where to cut them, and text that is not Unicode found, named by its place, or replaced."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Literal

import numpy as np

from gputok.text.pieces import TextBatch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gputok.types import Array

Errors = Literal["strict", "replace"]

_ADVICE = 'convert it to UTF-8, or pass errors="replace" (--errors replace) to put U+FFFD there'


def cuts(offsets: Array, batch_bytes: int) -> list[int]:
    """Document numbers, from 0 to the last + 1, between which lie about `batch_bytes` bytes; none twice.

    offsets: integers, rising, [n_documents + 1].

    >>> cuts([0, 3, 6, 9, 12], 6)
    [0, 2, 4]
    """
    n_parts = max(1, round(int(offsets[-1] - offsets[0]) / batch_bytes))
    if n_parts == 1:
        return [0, len(offsets) - 1] if len(offsets) > 1 else [0]
    aims = np.linspace(offsets[0], offsets[-1], n_parts + 1)[1:-1]
    return sorted({0, *np.searchsorted(offsets, aims).tolist(), len(offsets) - 1})


def checked(
    batch: TextBatch, errors: Errors, place: Callable[[int], str], *, lines: bool = False
) -> TextBatch:
    """The batch if each of its documents is UTF-8, or its repair; `place(byte)` names a byte of it in an error.

    lines: all documents but the last end in ASCII, so that none can begin inside a character.
    """
    from gputok.kernels.cpu.lines import is_utf8
    from gputok.kernels.cpu.text import find_invalid_utf8

    data, offsets = batch
    at = -1 if is_utf8(data) else find_invalid_utf8(data)
    if at < 0 and lines:
        return batch
    if at < 0:  # but a document may still begin inside a character that the one before began
        starts = offsets[offsets < len(data)]
        torn = starts[(data[starts] & 0xC0) == 0x80]
        if len(torn) == 0:
            return batch
        at = int(torn[0])
    if errors == "strict":
        raise ValueError(f"{place(at)}: 0x{data[at]:02x} is not UTF-8; {_ADVICE}")
    raw, ends = data.tobytes(), offsets.tolist()
    return TextBatch.from_strings(raw[a:b].decode(errors="replace") for a, b in itertools.pairwise(ends))


def packed(texts: Sequence[str], name: Callable[[int], str], errors: Errors) -> TextBatch:
    """Strings as a batch; `name(i)` names text i in an error. A lone surrogate has no UTF-8: an error, or U+FFFD."""
    try:
        return TextBatch.from_strings(texts)
    except (AttributeError, TypeError, UnicodeEncodeError):
        return TextBatch.from_strings([_unicode(text, name(i), errors) for i, text in enumerate(texts)])


def _unicode(text: str, name: str, errors: Errors) -> str:
    if not isinstance(text, str):
        hint = {bytes: "; decode it first", dict: "; pass row[column]"}.get(type(text), "")
        raise TypeError(f"{name} is {type(text).__name__}, not str{hint}")
    try:
        text.encode()
        return text
    except UnicodeEncodeError as error:
        if errors == "strict":
            raise ValueError(
                f"{name}: character {error.start} is the lone surrogate U+{ord(text[error.start]):04X}, which no UTF-8 "
                f'can hold; errors="replace" puts U+FFFD there'
            ) from None
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
