"""Passes the memory of arrays to kernels, and makes arrays longer."""

from __future__ import annotations

import ctypes

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.native import CHECKED


def pointer(array: np.ndarray | None) -> int | tuple[int, int]:
    """The address of a contiguous array, or 0 for None, for `memory.view`; in the checked build with the number of bytes.

    With addresses as arguments, Numba compiles a kernel once, and not again for read-only arrays.
    """
    if array is None:
        return (0, 0) if CHECKED else 0
    try:
        address = ctypes.addressof(ctypes.c_char.from_buffer(array))  # five times as fast as the line below
    except (TypeError, ValueError):  # read-only, or empty
        address = array.__array_interface__["data"][0]
    return (address, array.nbytes) if CHECKED else address


@kernel(inline=True)
def longer(array, used, n):
    """A new array of length n with the first `used` elements of another (a slice takes a second longer to compile)."""
    new = np.empty(n, array.dtype)
    for i in range(used):
        new[i] = array[i]
    return new
