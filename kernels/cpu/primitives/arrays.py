"""Passes the memory of arrays to kernels, and makes arrays longer."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.memory import view
from gputok.kernels.native import CHECKED

# Additional bytes of `new_memory`, as the memory is used again for ranges of files of not quite the same size
_ROOM = 1 << 12
_HUGE_PAGE = 1 << 21  # bytes of a huge page


def pointer(array: np.ndarray | None) -> int | tuple[int, int]:
    """The address of a contiguous array, or 0 for None, of which a kernel makes a view by `memory.view`.

    In the checked build, also the number of its bytes. If arrays themselves were arguments, Numba would compile a
    kernel again for read-only arrays.
    """
    if array is None:
        return (0, 0) if CHECKED else 0
    return (_address(array), array.nbytes) if CHECKED else _address(array)


def _address(array: np.ndarray) -> int:
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(array))  # five times as fast as the line below
    except (TypeError, ValueError):  # read-only, or empty
        return array.__array_interface__["data"][0]


def resized(array: np.ndarray, size: int) -> np.ndarray:
    """Returns a longer copy, whose end is not initialised."""
    larger = np.empty(size, array.dtype)
    larger[: len(array)] = array
    return larger


def of_pieces(
    kernel: Any, data: np.ndarray, start: np.ndarray, end: np.ndarray, frozen: np.ndarray | None, *arguments: Any
) -> Any:
    """Calls a kernel with the addresses of text and of its pieces; frozen: a bool or mode (uint8) of each, or None."""
    start, end = np.ascontiguousarray(start), np.ascontiguousarray(end)
    return kernel(pointer(data), (pointer(start), pointer(end), pointer(frozen), len(start)), *arguments)


@kernel(inline=True)
def views_of(pieces):
    """Views of start, end and frozen, and the number of pieces, as `of_pieces` gives them to a kernel."""
    return view(pieces[0], np.int64), view(pieces[1], np.int64), view(pieces[2], np.uint8), pieces[3]


def new_memory(n_bytes: int) -> np.ndarray:
    """Memory for `n_bytes` bytes, uint8[]: in huge pages from half of one on (small ones took as long as a copy)."""
    if 2 * n_bytes < _HUGE_PAGE:
        return np.empty(n_bytes + _ROOM, np.uint8)
    size = -(-n_bytes // _HUGE_PAGE) * _HUGE_PAGE
    # NumPy asks the system for huge pages. The array has one more, so that a part of it can begin where one begins
    memory = np.empty(size + _HUGE_PAGE, np.uint8)
    skip = -_address(memory) % _HUGE_PAGE
    return memory[skip : skip + size]


@kernel(inline=True)
def put_row(columns, n, x, y, z):
    """Writes x, y, z to index n of three columns, and returns n + 1."""
    a, b, c = columns
    a[n], b[n], c[n] = x, y, z
    return n + 1


@kernel(inline=True)
def longer(array, used, n):
    """A new array of length n with the first `used` elements of another (copying a slice compiles a second longer)."""
    new = np.empty(n, array.dtype)
    for i in range(used):
        new[i] = array[i]
    return new
