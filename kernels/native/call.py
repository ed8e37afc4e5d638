"""What generated calls of machine code need beside it: memory that a kernel made, and the errors that it raised."""

from __future__ import annotations

import ctypes
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np

WRONG_ARGUMENT = 99  # beside Numba's own codes of an error


class Memory:
    """A block that a kernel has made, for as long as an array shows it."""

    __slots__ = ("__array_interface__", "_address", "_release")

    def __init__(self, release: Callable[[int], Any], address: int, interface: dict[str, Any]) -> None:
        self._release, self._address = release, ctypes.c_void_p(address)
        self.__array_interface__ = interface

    def __del__(self) -> None:
        self._release(self._address)


def array(release: Callable[[Any], Any], slots: Any, at: int, ndim: int, typestr: str) -> np.ndarray:
    """An array that a kernel gave back; slots from `at` on: its block, the array that it was, its elements, its shape."""
    block, given, elements, *shape = slots[at : at + 3 + ndim]
    if block:
        about = {"version": 3, "data": (elements, False), "shape": tuple(shape), "typestr": typestr}
        return np.asarray(Memory(release, block, about))
    same = ctypes.cast(given, ctypes.py_object).value  # the kernel was given it, and so is it still there
    if same.shape != tuple(shape):
        raise SystemError("a kernel gave back a part of an array that it was given")
    return same


def fail(call: Callable[..., Any], code: int, slots: Any, arguments: tuple) -> Any:
    """Raises what a kernel raised; where it was given a subclass of arrays, calls it again with plain ones."""
    if code == WRONG_ARGUMENT:
        plain = _plain(arguments)
        if _types(plain) != _types(arguments):
            return call(*plain)
        raise TypeError(
            f"{call.__name__}: argument {slots[0]}, counting those in tuples, is of another type than is declared;"
            f" given {_types(arguments)}"
        )
    if code != 1:
        raise SystemError(f"{call.__name__} ended with status {code}")
    data, size = ctypes.c_void_p.from_address(slots[0]).value, ctypes.c_int32.from_address(slots[0] + 8).value
    kind, args, _ = pickle.loads(ctypes.string_at(data or 0, size))
    raise kind(*args)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        items = map(_plain, value)
        return value._make(items) if hasattr(value, "_make") else tuple(items)
    return value.view(np.ndarray) if isinstance(value, np.ndarray) else value


def _types(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_types, value))})"
    if not isinstance(value, np.ndarray):
        return type(value).__name__
    layout = "" if value.flags.c_contiguous and value.flags.aligned else " in steps"
    return f"{type(value).__name__} of {value.ndim} x {value.dtype.str}{layout}"


def suits(library: ctypes.CDLL) -> bool:
    """Are arrays laid out as the machine code reads them? Tells it where their fields begin in this Python."""
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
