"""Writing calls.py of a wheel: for each kernel, a Python function that fills the slots of its entry (see `entries`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gputok.kernels.signatures import Number, TupleType, Type
from gputok.kernels.wheel.entries import Kernel
from numba.core import types
from numba.np.numpy_support import as_dtype

CALLS = '''"""Calls of the kernels' machine code; written by kernels/wheel/write_calls.py."""

from ctypes import c_int64
from struct import Struct, unpack_from
from struct import error as struct_error

from numpy import dtype

from gputok.kernels.native.call import WRONG_ARGUMENT, arrays, fail, refused

LEVELS = {levels}
SOURCES = {sources!r}


def calls(entry, library):
    """What makes the call of each kernel, by its name: a process needs few. entry: returns the C function of a name."""
    found, array = {{}}, arrays(library)
{kernels}
    return found
'''


def call(versions: list[Kernel]) -> str:
    """The source of the Python function that calls a kernel."""
    kernel = versions[0]
    if kernel.is_c:
        return f"    found[{kernel.name!r}] = lambda: entry({kernel.symbol!r})"
    tag = kernel.symbol.removesuffix("_0")
    leaves, unpacking = _leaves(kernel)
    if any(version.result != kernel.result for version in versions):
        raise SystemExit(f"{kernel.name} returns different types for different arguments")
    results, n_slots, names = _results(kernel.result)
    n_slots = 1 << (max(n_slots, len(leaves), 1) - 1).bit_length()  # few different sizes: each is a class
    form = "=" + "".join(letter for _, letter in leaves)
    values = "".join(f", {value}" for value, _ in leaves)
    given = ", ".join(kernel.parameters)
    numbers = range(len(versions))
    # Defaults of parameters are found faster than names of the outer function.
    own = ["_new=_new", "_pack=_pack", *(f"_entry_{k}=_entry_{k}" for k in numbers), *names]
    lines = [f"_new, _pack = c_int64 * {n_slots}, Struct({form!r}).pack_into"]
    lines += [f"_entry_{k} = entry({version.symbol!r})" for k, version in enumerate(versions)]
    lines += [f"def {tag}({', '.join([*kernel.parameters, '*', *own])}):"]
    body = [*unpacking, "_slots = _new()", "try:", f"    _pack(_slots, 0{values})"]  # a `try` costs nothing
    body += ["except struct_error as _why:", f"    raise refused({tag}, _why, ({given},)) from None"]
    body += ["_code = _entry_0(_slots)"]
    for k in numbers[1:]:
        again = f"_pack(_slots, 0{values})", f"_code = _entry_{k}(_slots)"
        body += ["if _code == WRONG_ARGUMENT:", *(f"    {line}" for line in again)]
    body += ["if _code:", f"    return fail({tag}, _code, _slots, ({given},))", *results]
    lines += [f"    {line}" for line in body]
    lines += [f"{tag}.__name__ = {tag}.__qualname__ = {kernel.name.rpartition('.')[2]!r}", f"{tag}.entry = _entry_0"]
    lines = [f"def make_{tag}():", *(f"    {line}" for line in [*lines, f"return {tag}"])]
    return "\n".join(f"    {line}" for line in [*lines, f"found[{kernel.name!r}] = make_{tag}"])


def _leaves(kernel: Kernel) -> tuple[list[tuple[str, str]], list[str]]:
    """The expressions that fill the slots, each with its letter for `struct`; and the lines that unpack tuples."""
    leaves: list[tuple[str, str]] = []
    lines: list[str] = []

    def walk(name: str, kind: Type) -> None:
        if isinstance(kind, TupleType):
            parts = [f"{name}_{k}" for k in range(len(kind.items))]
            lines.append(f"{''.join(f'{part}, ' for part in parts).rstrip()} = {name}")
            for part, item in zip(parts, kind.items, strict=True):
                walk(part, item)
        elif isinstance(kind, Number):
            leaves.append((name, "d" if kind.code[0] == "f" else "Q" if kind.code[0] == "u" else "q"))
        else:
            leaves.append((f"id({name})", "Q"))

    for name, kind in zip(kernel.parameters, kernel.arguments, strict=True):
        walk(name, kind)
    return leaves, lines


def _results(result: Any) -> tuple[list[str], int, list[str]]:
    """The lines that make the result from the slots, the number of slots, and the names that the lines need."""
    at, lines, own = 0, [], ["_array=array"]

    def made(kind: Any) -> str:
        nonlocal at
        first = at
        if isinstance(kind, types.BaseTuple):
            items = "".join(f"{made(item)}, " for item in kind.types)
            if not isinstance(kind, types.BaseNamedTuple):
                return f"({items.rstrip()})"
            by = kind.instance_class
            lines.append(f"from {by.__module__} import {by.__qualname__}")
            return f"{by.__qualname__}({items})"
        if isinstance(kind, types.Array):
            at += 3 + kind.ndim
            name = f"_{as_dtype(kind.dtype).name}"
            own.append(f"{name}=dtype({name[1:]!r})")
            return f"_array(_slots, {first}, {kind.ndim}, {name})"
        at += 1
        if isinstance(kind, types.Boolean):
            return f"_slots[{first}] != 0"
        if kind == types.float64:
            return f"unpack_from('d', _slots, {8 * first})[0]"
        return f"_slots[{first}] & 0xFFFF_FFFF_FFFF_FFFF" if kind == types.uint64 else f"_slots[{first}]"

    if result != types.none:
        value = made(result)
        lines.append(f"return {value}")
    return lines, at, list(dict.fromkeys(own))


def calls(kernels: list[Kernel], levels: Sequence[str], sources: str = "") -> str:
    """The source of calls.py; sources: the hash of the sources that the machine code was made of."""
    of_each: dict[str, list[Kernel]] = {}
    for kernel in kernels:
        of_each.setdefault(kernel.name, []).append(kernel)
    return CALLS.format(levels=tuple(levels), sources=sources, kernels="\n".join(map(call, of_each.values())))
