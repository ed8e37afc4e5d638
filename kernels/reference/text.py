"""Bytes of text, in plain Python."""

from __future__ import annotations

import re

import numpy as np


def find_invalid_utf8(data: np.ndarray) -> int:
    """The index in data (uint8[n]) of the first byte that begins no valid UTF-8 character; -1 if all of it is valid."""
    try:
        data.tobytes().decode()
    except UnicodeDecodeError as error:
        return error.start
    return -1


def find_bytes(data: np.ndarray, pattern: np.ndarray) -> np.ndarray:
    """Finds where `pattern` occurs in data (uint8[n]), from left to right without overlap: int64[]."""
    found = re.finditer(re.escape(pattern.tobytes()), data.tobytes(), re.DOTALL)
    return np.array([match.start() for match in found], np.int64)
