"""The memory of arrays, as kernels take it, and arrays that grow."""

from __future__ import annotations

import ctypes

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.memory import CHECKED


def pointer(array: np.ndarray | None) -> int | tuple[int, int]:
    """The memory of a contiguous array, or of none, for `memory.view`; read-only arrays would be a second specialisation.

    That is its address; in the checked build its number of bytes as well.
    """
    if array is None:
        return (0, 0) if CHECKED else 0
    try:
        address = ctypes.addressof(ctypes.c_char.from_buffer(array))  # in a fifth of the time
    except (TypeError, ValueError):  # read-only, or empty
        address = array.__array_interface__["data"][0]
    return (address, array.nbytes) if CHECKED else address


@kernel(inline=True)
def longer(array, used, n):
    """An array of length n with the first `used` elements of another; a slice would take a second more to compile."""
    new = np.empty(n, array.dtype)
    for i in range(used):
        new[i] = array[i]
    return new
