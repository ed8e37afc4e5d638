"""Handles: one array with all arguments of a kernel for short texts, so that Python passes one address to the kernel.

Passing the tables of a model as arrays would take longer than encoding a short text, and a handle is made only once. A
handle has a pair of numbers for each *field*, which has a name: for memory, the address and the number of bytes; for a
number, the number and 0.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.constants import U1
from gputok.kernels.cpu.primitives.memory import CHECKED, view


class Handle:
    """uint64[fields, 2], and references to the arrays whose addresses it contains."""

    def __init__(self, n_fields: int) -> None:
        self.slots, self._arrays, self._kept = np.zeros((n_fields, 2), np.uint64), {}, []

    def put(self, field: int, value: np.ndarray | float) -> None:
        """Writes a number, or the address of a contiguous array; the handle keeps the array alive."""
        if isinstance(value, np.ndarray):
            if not value.flags.c_contiguous:
                raise ValueError(f"field {field} of a handle: expected a contiguous array")
            self._arrays[field] = value
            self.slots[field] = value.__array_interface__["data"][0], value.nbytes
        elif isinstance(value, float):
            self.slots[field, :1].view(np.float64)[0] = value
        else:
            self.slots[field, :1].view(np.int64)[0] = int(value)

    def is_number(self, field: int, value: int) -> bool:
        """Whether a field is this number."""
        return int(self.slots[field, 0]) == value

    def array(self, field: int) -> np.ndarray:
        """The array of a field."""
        return self._arrays[field]

    def keep(self, others: Iterable[Handle]) -> None:
        """Keeps other handles, and so their arrays, alive as long as this handle."""
        self._kept = [*self._kept, *others]  # a new list: copies of the handle share the old one

    def copy(self) -> Handle:
        """Returns a handle with the same numbers and arrays; changing its fields does not change this handle."""
        other = Handle(0)
        other.slots, other._arrays, other._kept = self.slots.copy(), dict(self._arrays), self._kept
        return other

    @property
    def address(self) -> int:
        """The address of the array of numbers."""
        return self.slots.__array_interface__["data"][0]


@kernel(inline=True)
def handle_at(address, n_fields):
    """The handle at an address, as a view of its numbers."""
    return view((np.uint64(address), np.uint64(16 * n_fields)), np.uint64)


@kernel(inline=True)
def number(handle, field):
    """The whole number of a field."""
    return np.int64(handle[2 * field])


@kernel(inline=True)
def real(handle, field):
    """The float64 of a field."""
    return view(handle, np.float64)[2 * field]


@kernel(inline=True)
def memory(handle, field, dtype):
    """The memory of a field, as a view."""
    at = np.uint64(2 * field)
    return view((handle[at], handle[at + U1]), dtype)


@kernel(inline=True)
def size(handle, field):
    """The number of bytes of the memory of a field."""
    return np.int64(handle[2 * field + 1])


@kernel(inline=True)
def _address(handle, field):
    return np.int64(handle[2 * field])


@kernel(inline=True)
def _address_and_bytes(handle, field):
    return np.int64(handle[2 * field]), np.int64(handle[2 * field + 1])


pointer_at = _address_and_bytes if CHECKED else _address
"""The memory of a field, in the form of `arrays.pointer`, for another kernel."""


@kernel(inline=True)
def _no_address():
    return np.int64(0)


@kernel(inline=True)
def _no_address_and_bytes():
    return np.int64(0), np.int64(0)


no_pointer = _no_address_and_bytes if CHECKED else _no_address
"""The result of `arrays.pointer(None)`."""
