"""Helpers for the generated calls.py: arrays of memory that a kernel has made, and errors that a kernel has raised."""

from __future__ import annotations

import ctypes
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np

WRONG_ARGUMENT = 99  # a code that Numba doesn't use for errors
COPIED = 1 << 15  # bytes; copying less memory is faster than making an array that refers to it


class Memory:
    """A block of memory that a kernel has made; freed when no array refers to it any more."""

    __slots__ = ("__array_interface__", "_block", "_release")

    def __init__(self, release: Callable[[int], Any], block: int, interface: dict[str, Any]) -> None:
        self._release, self._block, self.__array_interface__ = release, block, interface

    def __del__(self) -> None:
        self._release(self._block)


def arrays(library: ctypes.CDLL) -> Callable[..., np.ndarray]:
    """Returns a function that makes an array from the slots that a kernel filled.

    Slots: the block of memory (0: the array was an argument), the argument's address, that of the elements, the shape.
    """
    take, release = library.gputok_take, library.gputok_release
    take.argtypes, take.restype = [ctypes.c_int64] * 4, None
    release.argtypes, release.restype = [ctypes.c_int64], None

    def array(slots: Any, at: int, ndim: int, dtype: np.dtype) -> np.ndarray:
        block, shape = slots[at], tuple(slots[at + 3 : at + 3 + ndim])
        if not block:  # the array was an argument of the kernel
            same = ctypes.cast(slots[at + 1], ctypes.py_object).value
            if same.shape != shape:
                raise SystemError("a kernel returned a part of an array that was its argument")
            return same
        size = math.prod(shape) * dtype.itemsize
        if size > COPIED:
            about = {"version": 3, "data": (slots[at + 2], False), "shape": shape, "typestr": dtype.str}
            return np.asarray(Memory(release, block, about))
        copy = np.empty(shape, dtype)
        take(id(copy), block, slots[at + 2], size)
        return copy

    return array


def fail(call: Callable[..., Any], code: int, slots: Any, arguments: tuple) -> Any:
    """Raises the error of a kernel; if an argument was a subclass of arrays, first calls again with plain arrays."""
    if code == WRONG_ARGUMENT:
        plain = _plain(arguments)
        if _types(plain) != _types(arguments):
            return call(*plain)
        raise TypeError(
            f"{call.__name__}: argument {slots[0]} (the members of tuples are counted, too) has another type than "
            f"declared, or does not fit that type; got {_types(arguments)}"
        )
    if code != 1:
        raise SystemError(f"{call.__name__} ended with status {code}")
    data, size = ctypes.c_void_p.from_address(slots[0]).value, ctypes.c_int32.from_address(slots[0] + 8).value
    kind, args, _ = pickle.loads(ctypes.string_at(data or 0, size))
    raise kind(*args)


def refused(call: Callable[..., Any], why: Exception, arguments: tuple) -> TypeError:
    """Returns the error for arguments of which one is declared as a number and is none, or has more than 64 bits."""
    return TypeError(f"{call.__name__}: {why}; got {_types(arguments)}")


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return getattr(value, "_make", tuple)(map(_plain, value))
    return value.view(np.ndarray) if isinstance(value, np.ndarray) else value


def _types(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_types, value))})"
    if not isinstance(value, np.ndarray):
        return type(value).__name__
    layout = "" if value.flags.c_contiguous and value.flags.aligned else " in steps"
    return f"{type(value).__name__} of {value.ndim} x {value.dtype.str}{layout}"


def suits(library: ctypes.CDLL) -> bool:
    """Whether arrays have the layout that the machine code expects; tells the library where their fields begin."""
    array = np.zeros((2, 3), np.uint16)
    head = object.__basicsize__
    fields = (ctypes.c_int64 * 7).from_address(id(array) + head)
    kind = (ctypes.c_int64 * 3).from_address(fields[5] + head)
    shape = (ctypes.c_int64 * 2).from_address(fields[2])
    found = fields[0], fields[1] & 0xFFFF_FFFF, *shape, fields[6] & 0x101, kind[1] >> 32
    if found != (array.ctypes.data, 2, 2, 3, 0x101, array.dtype.num):
        return False
    if ctypes.c_int64.from_address(id(array) + head - 8).value != id(np.ndarray):
        return False
    ctypes.c_int64.in_dll(library, "gputok_head").value = head
    ctypes.c_int64.in_dll(library, "gputok_array").value = id(np.ndarray)
    return True
