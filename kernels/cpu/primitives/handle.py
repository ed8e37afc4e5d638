"""Handles: one array with all arguments of a kernel for short texts, so that Python passes one address to the kernel.

Passing the tables of a model as arrays would take longer than encoding a short text, and a handle is made only once. A
NamedTuple class declares its fields. `Handle` writes three numbers for each field: the address, the number of elements
and the number of columns of an array, or a number and two zeros. `tables.record_at` gives a kernel the fields by name.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
from gputok.kernels.signatures import Either, Elements, TupleType, Type, type_of

WORDS = 3  # how many numbers of 64 bits a field has


class Handle:
    """uint64[fields, 3] for a NamedTuple class, and references to the arrays whose addresses it contains.

    Args:
        of: the class. In place of a field whose type is also such a class, the array has the fields of that class.
        room: the array has at least so many fields, so that handles of several classes can have the same size.
        values: the values of fields, by name; others can be `put` later.
    """

    def __init__(self, of: type, room: int = 0, **values: Any) -> None:
        self.of, (self._leaves, self._first) = of, layout(of)
        self._hold(np.zeros((max(len(self._leaves), room), WORDS), np.uint64))
        self._values: dict[str, Any] = {}  # keeps the arrays alive whose addresses are in `slots`
        self._kept: list[Handle] = []
        self.put(**values)

    def _hold(self, slots: np.ndarray) -> None:
        self.slots, self._numbers = slots, slots.reshape(-1).view(np.int64).data

    @classmethod
    def holding(cls, table: Any) -> Handle:
        """The handle of a NamedTuple of arrays and numbers."""
        return cls(type(table), **table._asdict())

    def put(self, **values: Any) -> None:
        """Writes fields by name: numbers, contiguous arrays, which the handle keeps alive, or NamedTuples of these."""
        for name, value in values.items():
            if self._values.get(name) is not value:  # callers put the same cache and walk again for each 32 kB of text
                for field, item in enumerate(_items(value), self._first[name]):
                    self._put(name, field, item)
                self._values[name] = value

    def _put(self, name: str, field: int, value: np.ndarray | float) -> None:
        (kind, arrays), first = self._leaves[field], WORDS * field
        if arrays:
            is_array = isinstance(value, np.ndarray)
            if not is_array or (value.dtype, value.ndim) not in arrays or not value.flags.c_contiguous:
                raise TypeError(f"{name} of a handle: expected a contiguous array of {kind}, got {value!r:.60}")
            self._numbers[first] = value.__array_interface__["data"][0]
            self._numbers[first + 1], self._numbers[first + 2] = value.size, value.shape[-1]
        elif kind.code == "f8":
            self.slots[field].view(np.float64)[0] = value
        else:
            self._numbers[first] = int(value)

    def make(self, name: str, n: int) -> None:
        """Gives a field a new array of n elements, not initialised."""
        self.put(**{name: np.empty(n, self._leaves[self._first[name]][0].code)})

    def __getitem__(self, name: str) -> Any:
        """What was written to a field."""
        return self._values[name]

    def keep(self, *others: Handle) -> None:
        """Keeps other handles alive as long as this handle."""
        self._kept = [*self._kept, *others]  # a new list: copies of the handle share the old one

    def copy(self) -> Handle:
        """Returns a handle with the same numbers and arrays; changing its fields does not change this handle."""
        other = Handle(self.of)
        other._hold(self.slots.copy())
        other._values, other._kept = dict(self._values), self._kept
        return other

    @property
    def address(self) -> int:
        """The address of the array of numbers."""
        return self.slots.__array_interface__["data"][0]


@functools.cache
def layout(of: Any) -> tuple[list[Any], dict[str, int]]:
    """The arrays and numbers in a NamedTuple class and the classes of its fields; and by field, the index of its first.

    For each: its type, and a list of the (dtype, number of dimensions) that an array may have; [] for a number.
    """
    kind, leaves, first = type_of(of), [], {}
    assert isinstance(kind, TupleType)
    for name, item in zip(of._fields, kind.items, strict=True):
        first[name] = len(leaves)
        leaves += _leaves(item)
    return leaves, first


def _leaves(kind: Type) -> Iterator[Any]:
    if isinstance(kind, TupleType):
        for item in kind.items:
            yield from _leaves(item)
    else:
        some = kind.types if isinstance(kind, Either) else (kind,) if isinstance(kind, Elements) else ()
        yield kind, [(np.dtype(one.code), one.ndim) for one in some]


def _items(value: Any) -> Iterator[Any]:
    if isinstance(value, tuple):
        for item in value:
            yield from _items(item)
    else:
        yield value
