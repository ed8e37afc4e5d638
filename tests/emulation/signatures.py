"""What the kernels and structs of a .cu file take, read from its text: CUDA itself never checks what it is given.

A kernel that is launched with one struct too few, or with structs whose fields are exchanged or of another size, runs
all the same. The emulator compares each launch with the kernel's structs, and each struct with its launcher's fields.
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


class Field(NamedTuple):
    """A field of a struct."""

    name: str
    # The type of the elements if it is a pointer, else that of the number.
    kind: str
    is_pointer: bool

    def takes(self, value: Any) -> bool:
        """Whether a value is what this is: an array, a whole number, or None for no array."""
        if not self.is_pointer:
            return isinstance(value, int | np.integer) and (self.kind == "i64" or 0 <= value < 1 << 32)
        if value is None:
            return True
        if not hasattr(value, "flags") or not value.flags.c_contiguous:
            return False
        return value.dtype.type in DTYPES[self.kind]


def _field(text: str) -> Field:
    found = re.fullmatch(r"(?:const |(alignas\(8\)) )?(\w+)(\*?) (\w+)", " ".join(text.split()))
    assert found, f"not read: {text!r}"
    aligned, kind, star, name = found.groups()
    assert star or kind == ("u32" if aligned else "i64"), f"{name}: a field is a pointer, alignas(8) u32 or i64"
    return Field(name, kind, bool(star))


@functools.cache
def kernels(source: pathlib.Path) -> dict[str, list[str]]:
    """The names of the structs that each kernel of a .cu file takes."""
    found = re.findall(r'^extern "C" __global__ void (\w+)\(([^()]*)\)', source.read_text(), re.MULTILINE)
    return {name: [_struct(part) for part in parameters.split(",")] for name, parameters in found}


def _struct(text: str) -> str:
    found = re.fullmatch(r"const __grid_constant__ (\w+) \w+", " ".join(text.split()))
    assert found, f"{text!r}: a kernel takes structs by value, and nothing else"
    return found[1]


@functools.cache
def fields(source: pathlib.Path, struct: str) -> list[Field]:
    """The fields of a struct of a .cu file."""
    (found,) = re.findall(rf"^struct {struct} {{\n(.*?)^}};", source.read_text(), re.MULTILINE | re.DOTALL)
    return [_field(line) for line in re.findall(r"^ +([^;/]+);", found, re.MULTILINE)]


def check(source: pathlib.Path, kernel: str, structs: tuple) -> None:
    """TypeError: these are not the structs of this kernel. A packed struct is compared by its size."""
    what, known = f"{source.name}, {kernel}", kernels(source)[kernel]
    if len(known) != len(structs):
        raise TypeError(f"{what}: {len(structs)} structs for {known}")
    for name, struct in zip(known, structs, strict=True):
        if isinstance(struct, tuple):
            check_struct(source, name, struct)
        elif struct.shape != (1,) or struct.dtype != np.dtype((np.void, 8 * len(fields(source, name)))):
            raise TypeError(f"{what}: {name} can't be an array of {struct.shape}, {struct.dtype}")


def check_struct(source: pathlib.Path, name: str, struct: tuple) -> None:
    """TypeError: these are not the fields of this struct, in its order."""
    known, given = fields(source, name), type(struct).__name__
    if given != name or [field.name for field in known] != [*struct._fields]:
        names = [field.name for field in known]
        raise TypeError(f"{name} of {source.name} has {names}, {given} of its launcher {[*struct._fields]}")
    for field, value in zip(known, struct, strict=True):
        if not field.takes(value):
            there = getattr(value, "dtype", value if isinstance(value, int) else type(value).__name__)
            kind = f"{field.kind}{'*' if field.is_pointer else ''}"
            raise TypeError(f"{source.name}, {name}: {kind} {field.name} can't be {there}")
