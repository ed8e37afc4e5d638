"""Handles: one array with all arguments of a kernel for short texts, so that Python passes one address to the kernel.

Passing the tables of a model as arrays would take longer than encoding a short text, and a handle is made only once. A
handle has a pair of numbers for each *place*, which has a name: for memory, the address and the number of bytes; for a
number, the number and 0.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.constants import U1
from gputok.kernels.cpu.primitives.memory import CHECKED, view


class Handle:
    """uint64[places, 2], and references to the arrays whose addresses it contains."""

    def __init__(self, n_places: int) -> None:
        self.slots, self._arrays, self._kept = np.zeros((n_places, 2), np.uint64), {}, []

    def put(self, place: int, value: np.ndarray | float) -> None:
        """Writes a number, or the address of a contiguous array; the handle keeps the array alive."""
        if isinstance(value, np.ndarray):
            if not value.flags.c_contiguous:
                raise ValueError(f"place {place} of a handle: expected a contiguous array")
            self._arrays[place] = value
            self.slots[place] = value.__array_interface__["data"][0], value.nbytes
        elif isinstance(value, float):
            self.slots[place, :1].view(np.float64)[0] = value
        else:
            self.slots[place, :1].view(np.int64)[0] = int(value)

    def array(self, place: int) -> np.ndarray:
        """The array at a place."""
        return self._arrays[place]

    def keep(self, others: Iterable[Handle]) -> None:
        """Keeps other handles, and so their arrays, alive as long as this handle."""
        self._kept += others

    def copy(self) -> Handle:
        """Returns a handle with the same numbers and arrays; changing its places does not change this handle."""
        other = Handle(0)
        other.slots, other._arrays, other._kept = self.slots.copy(), dict(self._arrays), self._kept
        return other

    @property
    def address(self) -> int:
        """The address of the array of numbers."""
        return self.slots.__array_interface__["data"][0]


@kernel(inline=True)
def handle_at(address, n_places):
    """The handle at an address, as a view of its numbers."""
    return view((np.uint64(address), np.uint64(16 * n_places)), np.uint64)


@kernel(inline=True)
def number(handle, place):
    """The whole number at a place."""
    return np.int64(handle[2 * place])


@kernel(inline=True)
def real(handle, place):
    """The float64 at a place."""
    return view(handle, np.float64)[2 * place]


@kernel(inline=True)
def memory(handle, place, dtype):
    """The memory at a place, as a view."""
    at = np.uint64(2 * place)
    return view((handle[at], handle[at + U1]), dtype)


@kernel(inline=True)
def size(handle, place):
    """The number of bytes of the memory at a place."""
    return np.int64(handle[2 * place + 1])


@kernel(inline=True)
def _address(handle, place):
    return np.int64(handle[2 * place])


@kernel(inline=True)
def _address_and_bytes(handle, place):
    return np.int64(handle[2 * place]), np.int64(handle[2 * place + 1])


pointer_at = _address_and_bytes if CHECKED else _address
"""The memory at a place, in the form of `arrays.pointer`, for another kernel."""


@kernel(inline=True)
def _no_address():
    return np.int64(0)


@kernel(inline=True)
def _no_address_and_bytes():
    return np.int64(0), np.int64(0)


no_pointer = _no_address_and_bytes if CHECKED else _no_address
"""The result of `arrays.pointer(None)`."""
