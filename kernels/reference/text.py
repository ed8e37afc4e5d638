"""Bytes of text, in plain Python."""

from __future__ import annotations

import re

import numpy as np


def find_invalid_utf8(data: np.ndarray) -> int:
    """The index in data (uint8[n]) of the first byte that begins no valid UTF-8 character; -1: all is valid."""
    try:
        data.tobytes().decode()
    except UnicodeDecodeError as error:
        return error.start
    return -1


def find_bytes(data: np.ndarray, pattern: np.ndarray) -> np.ndarray:
    """Where `pattern` occurs in data (uint8[n]), from left to right, not overlapping: int64[]."""
    found = re.finditer(re.escape(pattern.tobytes()), data.tobytes(), re.DOTALL)
    return np.array([match.start() for match in found], np.int64)


def lines(data: np.ndarray) -> tuple[np.ndarray, bool]:
    """Where the lines of a text begin, behind the last too if it ends in `\\n`, and whether all of it is UTF-8."""
    return np.append(0, np.flatnonzero(data == 10) + 1), find_invalid_utf8(data) < 0
