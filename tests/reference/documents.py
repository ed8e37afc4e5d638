"""The documents of a text with separators, in plain Python."""

from __future__ import annotations

import numpy as np

from tests.reference.lines import find_invalid_utf8


def documents(data: np.ndarray, separator: np.ndarray, is_last: bool) -> tuple[np.ndarray, np.ndarray, int, bool]:
    """Packs the documents of a text (uint8[n]) without their separators.

    The last document may end without a separator if `is_last`. Returns the documents; their offsets; how many bytes of
    `data` they took, with separators; and whether all of `data` is valid UTF-8.
    """
    found = data.tobytes().split(separator.tobytes())
    rest = found.pop()
    if is_last and rest:
        found.append(rest)
        rest = b""
    packed = np.frombuffer(b"".join(found), np.uint8)
    offsets = np.cumsum([0, *map(len, found)], dtype=np.int64)
    return packed, offsets, len(data) - len(rest), find_invalid_utf8(data) < 0
