"""The types of arguments that a kernel declares: `@kernel(u8[:], i64[:], i64, Walk, (u64[:], f64))`.

`u8[:]` is a C-contiguous array of one dimension, `u32[:, :]` of two; `i64`, `u64`, `f64` and `boolean` are numbers;
parentheses are a tuple. A `NamedTuple` class stands for the types of its fields, which are annotated with the names
below (`words: U64s`), with `int`, `bool`, `float`, or with another such class. An alternative (`symbols: U16orU32`)
makes two versions of the kernel.
"""

from __future__ import annotations

import builtins
import functools
import itertools
import sys
import typing
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from collections import _tuplegetter

    class _Constructor:
        """Stands for the `__new__` of a class until the first use, which puts a function of the fields in its place."""

        def __get__(self, _, owner):
            owner = next(kind for kind in owner.__mro__ if "_fields" in vars(kind))
            names = ", ".join(owner._fields)
            made = eval(f"lambda _cls, {names}: _new(_cls, ({names},))", {"_new": tuple.__new__})
            made.__defaults__ = tuple(owner._field_defaults.values())
            made.__name__, made.__qualname__ = "__new__", f"{owner.__qualname__}.__new__"
            owner.__new__ = made
            return made

    class _Fields(type):
        def __new__(cls, name, bases, own):
            is_record = bool(bases) and bases[0].__bases__ == (tuple,)
            made = super().__new__(cls, name, bases, own | {"__slots__": ()} if is_record else own)
            if is_record:
                fields = made._fields = made.__match_args__ = tuple(made.__annotations__)
                made._field_defaults = {field: own[field] for field in fields if field in own}
                for i, field in enumerate(fields):
                    setattr(made, field, _tuplegetter(i, None))
                made.__new__ = _Constructor()
            return made

    class NamedTuple(tuple, metaclass=_Fields):
        """As `typing.NamedTuple`, which takes .1 ms a class: it compiles each constructor, needed or not."""

        __slots__ = ()

        @classmethod
        def _make(cls, items):
            return tuple.__new__(cls, items)

        def _replace(self, **changes):
            made = self._make(map(changes.pop, self._fields, self))
            if changes:
                raise TypeError(f"{type(self).__name__} has no fields {', '.join(changes)}")
            return made

        def _asdict(self):
            return dict(zip(self._fields, self, strict=True))

        def __getnewargs__(self):
            return tuple(self)

        def __repr__(self):
            return f"{type(self).__name__}({', '.join(f'{name}={item!r}' for name, item in self._asdict().items())})"


Array = Any  # numpy.ndarray or cupy.ndarray


class Number(NamedTuple):
    """A number, by NumPy's code of its type: "i8" for int64, "b1" for a truth value."""

    code: str

    def __getitem__(self, dimensions: Any) -> Elements:  # pyright: ignore[reportIncompatibleMethodOverride]
        return Elements(self.code, len(dimensions) if isinstance(dimensions, tuple) else 1)


class Elements(NamedTuple):
    """A C-contiguous array of `ndim` dimensions."""

    code: str
    ndim: int


class Either(NamedTuple):
    """One of several types: in each version of a kernel, all arguments with this name have the same type."""

    name: str
    types: tuple[Type, ...]


class TupleType(NamedTuple):
    """A tuple, or a NamedTuple of this class."""

    items: tuple[Type, ...]
    made_by: type | None = None


Type = Number | Elements | Either | TupleType

boolean = Number("b1")
i8, i16, i32, i64 = (Number(f"i{size}") for size in (1, 2, 4, 8))
u8, u16, u32, u64 = (Number(f"u{size}") for size in (1, 2, 4, 8))
f64 = Number("f8")
_PYTHON = {int: i64, bool: boolean, float: f64}

U8s = Annotated[Array, Elements("u1", 1)]
U16s = Annotated[Array, Elements("u2", 1)]
U32s = Annotated[Array, Elements("u4", 1)]
U64s = Annotated[Array, Elements("u8", 1)]
I32s = Annotated[Array, Elements("i4", 1)]
I64s = Annotated[Array, Elements("i8", 1)]
F64s = Annotated[Array, Elements("f8", 1)]
Bools = Annotated[Array, Elements("b1", 1)]
U8x2 = Annotated[Array, Elements("u1", 2)]
U16x2 = Annotated[Array, Elements("u2", 2)]
U32x2 = Annotated[Array, Elements("u4", 2)]
U64x2 = Annotated[Array, Elements("u8", 2)]
U16orU32 = Annotated[Array, Either("symbols", (Elements("u2", 1), Elements("u4", 1)))]
U32orI64 = Annotated[Array, Either("places", (Elements("u4", 1), Elements("i8", 1)))]


def versions(arguments: tuple[Any, ...]) -> list[tuple[Type, ...]]:
    """The types of the arguments of each version of a kernel.

    >>> versions((u8[:], (i64, f64)))
    [(Elements(code='u1', ndim=1), TupleType(items=(Number(code='i8'), Number(code='f8')), made_by=None))]
    """
    kind = type_of(arguments)
    choices = list(dict.fromkeys(_choices(kind)))
    picked = itertools.product(*(choice.types for choice in choices))
    return [_with(kind, dict(zip(choices, types, strict=True))).items for types in picked]


def _choices(kind: Type) -> Iterator[Either]:
    if isinstance(kind, Either):
        yield kind
    elif isinstance(kind, TupleType):
        for item in kind.items:
            yield from _choices(item)


def _with(kind: Type, picked: dict[Either, Type]) -> Any:
    if isinstance(kind, TupleType):
        return TupleType(tuple(_with(item, picked) for item in kind.items), kind.made_by)
    return picked[kind] if isinstance(kind, Either) else kind


def chosen(kind: Type, code: str) -> Any:
    """The same type, but in place of each `Either` its alternative whose elements have this code.

    >>> chosen(type_of(U16orU32), "u4")
    Elements(code='u4', ndim=1)
    """
    picked = {each: next(one for one in each.types if one.code == code) for each in _choices(kind)}
    return _with(kind, picked)


def type_of(value: Any) -> Type:
    """The type that a name, an annotation, a class or a tuple of these stands for."""
    if isinstance(value, Number | Elements | Either | TupleType):
        return value
    if isinstance(value, tuple):
        return TupleType(tuple(map(type_of, value)))
    if value in _PYTHON:
        return _PYTHON[value]
    if typing.get_origin(value) is Annotated:
        return value.__metadata__[0]
    if isinstance(value, type) and issubclass(value, tuple) and hasattr(value, "_make"):
        return _group(value)
    raise TypeError(f"expected the type of an argument, got {value!r}")


@functools.cache
def _group(of: Any) -> TupleType:
    # With `from __future__ import annotations`, annotations are strings, and here always names. `typing.get_type_hints`
    # would compile each string, which takes a millisecond for the handles of a tokenizer
    names = vars(builtins) | vars(sys.modules[of.__module__])
    kinds = (getattr(kind, "__forward_arg__", kind) for kind in of.__annotations__.values())
    return TupleType(tuple(type_of(names[kind] if isinstance(kind, str) else kind) for kind in kinds), of)


def numba_type(kind: Type) -> Any:
    """The type in Numba."""
    import numpy as np
    from numba.core import types
    from numba.np.numpy_support import from_dtype

    if isinstance(kind, Number):
        return types.boolean if kind.code == "b1" else from_dtype(np.dtype(kind.code))
    if isinstance(kind, Elements):
        return types.Array(numba_type(Number(kind.code)), kind.ndim, "C")
    assert isinstance(kind, TupleType)
    items = tuple(map(numba_type, kind.items))
    return types.BaseTuple.from_types(items, kind.made_by)
