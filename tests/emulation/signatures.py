"""What the kernels and structs of a .cu file take, read from its text: CUDA itself never checks what it is given.

A kernel that is launched with one argument too few, with two of them exchanged or with elements of another size runs all
the same. So the emulator compares each launch with the kernel's parameters, and a test each struct with its launcher's.
"""

from __future__ import annotations

import functools
import pathlib
import re
from typing import Any, NamedTuple

import numpy as np

DTYPES = {
    "u8": {np.uint8, np.bool_},
    "u16": {np.uint16},
    "u32": {np.uint32},
    "u64": {np.uint64, np.int64},
    "i64": {np.int64},
}


class Parameter(NamedTuple):
    """Of a kernel, or a field of a struct."""

    name: str
    kind: str  # of the elements, if it is a pointer; the name of a struct that is passed by value
    is_pointer: bool
    is_struct: bool = False

    def takes(self, argument: Any) -> bool:
        """Whether an argument is what this is: an array, a whole number, or None for no array."""
        if self.is_struct:
            # CuPy passes an array by value only if it has one element
            is_array = isinstance(argument, np.ndarray) and argument.shape == (1,)
            return is_array and argument.dtype.kind == "V" and argument.dtype.itemsize % 8 == 0
        if not self.is_pointer:
            return isinstance(argument, int | np.integer)
        if argument is None:
            return True
        if not hasattr(argument, "flags") or not argument.flags.c_contiguous:
            return False
        return argument.dtype.type in DTYPES[self.kind]


def _parameter(text: str) -> Parameter:
    text = " ".join(text.split())
    if struct := re.fullmatch(r"const __grid_constant__ (\w+) (\w+)", text):
        return Parameter(struct[2], struct[1], False, True)
    found = re.fullmatch(r"(?:const )?(\w+)(\*?)(?: __restrict__)? (\w+)", text)
    assert found, f"not read: {text!r}"
    kind, star, name = found.groups()
    assert star or kind == "i64", f"{name}: an argument is a pointer or i64"
    return Parameter(name, kind, bool(star))


@functools.cache
def kernels(source: pathlib.Path) -> dict[str, list[Parameter]]:
    """The parameters of each kernel of a .cu file."""
    found = re.findall(r'^extern "C" __global__ void (\w+)\(([^()]*)\)', source.read_text(), re.MULTILINE)
    return {name: [_parameter(part) for part in parameters.split(",")] for name, parameters in found}


@functools.cache
def fields(source: pathlib.Path, struct: str) -> list[Parameter]:
    """The fields of a struct of a .cu file."""
    (found,) = re.findall(rf"^struct {struct} {{\n(.*?)^}};", source.read_text(), re.MULTILINE | re.DOTALL)
    return [_parameter(line) for line in re.findall(r"^ +([^;/]+);", found, re.MULTILINE)]


def check(source: pathlib.Path, kernel: str, arguments: tuple) -> None:
    """TypeError: these are not the arguments of this kernel."""
    _compare(f"{source.name}, {kernel}", kernels(source)[kernel], arguments)


def check_struct(source: pathlib.Path, name: str, arrays: tuple) -> None:
    """TypeError: these are not the arrays of this struct, in its order."""
    known = fields(source, name)
    if (names := [field.name for field in known]) != [*arrays._fields]:
        raise TypeError(f"{name} of {source.name} has {names}, its launcher {[*arrays._fields]}")
    _compare(f"{source.name}, {name}", known, arrays)


def _compare(what: str, parameters: list[Parameter], arguments: tuple) -> None:
    if len(parameters) != len(arguments):
        raise TypeError(f"{what}: {len(arguments)} arguments for {len(parameters)} parameters")
    for parameter, argument in zip(parameters, arguments, strict=True):
        if not parameter.takes(argument):
            given = getattr(argument, "dtype", type(argument).__name__)
            kind = f"{parameter.kind}{'*' if parameter.is_pointer else ''}"
            raise TypeError(f"{what}: {kind} {parameter.name} can't be {given}")
