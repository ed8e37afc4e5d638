"""Packs documents into arrays, cuts arrays of documents, and reports or replaces text that is not Unicode."""

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
    """Chooses where to cut documents into parts of about equal size.

    Args:
        offsets: integers[n_documents + 1], rising: where each document begins, and where the last one ends.
        batch_bytes: about the size of a part, in bytes.

    Returns:
        The number of the first document of each part, and the number of documents; no number twice.

    >>> cuts([0, 3, 6, 9, 12], 6)
    [0, 2, 4]
    """
    n_parts = max(1, round(int(offsets[-1] - offsets[0]) / batch_bytes))
    if n_parts == 1:
        return [0, len(offsets) - 1] if len(offsets) > 1 else [0]
    aims = np.linspace(offsets[0], offsets[-1], n_parts + 1)[1:-1]
    return sorted({0, *np.searchsorted(offsets, aims).tolist(), len(offsets) - 1})


def checked(batch: TextBatch, errors: Errors, location: Callable[[int], str], *, lines: bool = False) -> TextBatch:
    """Checks that each document is UTF-8.

    Args:
        batch: the documents.
        errors: "strict" raises an error; "replace" puts U+FFFD instead of bytes that are not UTF-8.
        location: returns the file and the line of a byte of the batch, for errors.
        lines: True if all documents but the last end in ASCII, so that no document can begin inside a character.

    Returns:
        The batch, or a repaired copy.

    Raises:
        ValueError: if a document is not UTF-8, and `errors` is "strict".
    """
    from gputok.kernels.cpu.lines import is_utf8
    from gputok.kernels.cpu.utf8 import find_invalid_utf8

    data, offsets = batch
    at = -1 if is_utf8(data) else find_invalid_utf8(data)
    if at < 0 and lines:
        return batch
    if at < 0:  # but a document may still begin inside a character of the document before
        starts = offsets[offsets < len(data)]
        torn = starts[(data[starts] & 0xC0) == 0x80]
        if len(torn) == 0:
            return batch
        at = int(torn[0])
    if errors == "strict":
        raise ValueError(f"{location(at)}: 0x{data[at]:02x} is not UTF-8; {_ADVICE}")
    raw, ends = data.tobytes(), offsets.tolist()
    return TextBatch.from_strings(raw[a:b].decode(errors="replace") for a, b in itertools.pairwise(ends))


def packed(texts: Sequence[str], name: Callable[[int], str], errors: Errors) -> TextBatch:
    """Packs strings into a batch.

    Args:
        texts: the documents.
        name: returns the name of text i, for errors.
        errors: "strict" raises an error for a lone surrogate, which has no UTF-8; "replace" puts U+FFFD there.

    Returns:
        The batch.

    Raises:
        TypeError: if a text is not a string.
        ValueError: if a text has a lone surrogate, and `errors` is "strict".
    """
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
