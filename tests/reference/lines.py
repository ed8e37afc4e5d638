"""The lines of a text, in plain Python."""

from __future__ import annotations

import numpy as np


def find_invalid_utf8(data: np.ndarray) -> int:
    """The index in data (uint8[n]) of the first byte that begins no valid UTF-8 character; -1 if all of it is valid."""
    try:
        data.tobytes().decode()
    except UnicodeDecodeError as error:
        return error.start
    return -1


def is_utf8(data: np.ndarray) -> bool:
    """Whether all of a text, uint8[n], is UTF-8."""
    return find_invalid_utf8(data) < 0


def lines(data: np.ndarray) -> tuple[np.ndarray, bool]:
    r"""Finds where lines begin (0, and the offset after each `\n`), and whether all of the text is UTF-8."""
    return np.append(0, np.flatnonzero(data == 10) + 1), find_invalid_utf8(data) < 0
