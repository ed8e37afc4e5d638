"""Bytes of text, in plain Python."""

from __future__ import annotations

import numpy as np


def find_invalid_utf8(data: np.ndarray) -> int:
    """The index in data (uint8[n]) of the first byte that begins no valid UTF-8 character; -1 if all of it is valid."""
    try:
        data.tobytes().decode()
    except UnicodeDecodeError as error:
        return error.start
    return -1
