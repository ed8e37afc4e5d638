"""Builtin functions of machine code, which take and make Python's objects: no Python code between a text and its ids.

    encode_ids(call, text, flags)   the ids of a short text, by a kernel
    list_ids(...)                   a list of the ids in an array

`IR` is their code in LLVM's language. It calls functions of Python's stable interface, whose addresses `builtins` writes into
the library, so one library serves every version of Python. Only a wheel has it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

IR = """
@gputok_python = global [9 x ptr] zeroinitializer

define internal ptr @python(i64 %number) {
  %where = getelementptr [9 x ptr], ptr @gputok_python, i64 0, i64 %number
  %function = load ptr, ptr %where
  ret ptr %function
}

define internal i64 @argument(ptr %arguments, i64 %number) {
  %where = getelementptr ptr, ptr %arguments, i64 %number
  %object = load ptr, ptr %where
  %convert = call ptr @python(i64 4)
  %value = call i64 %convert(ptr %object)
  ret i64 %value
}

define internal ptr @new_list(ptr %ids, i64 %n, i1 %narrow, ptr %table, i64 %known) {
  %make = call ptr @python(i64 1)
  %put = call ptr @python(i64 2)
  %share = call ptr @python(i64 3)
  %number = call ptr @python(i64 5)
  %list = call ptr %make(i64 %n)
  %made = icmp ne ptr %list, null
  br i1 %made, label %test, label %none
test:
  %i = phi i64 [ 0, %0 ], [ %next, %store ]
  %more = icmp slt i64 %i, %n
  br i1 %more, label %read, label %done
read:
  br i1 %narrow, label %read_two, label %read_four
read_two:
  %at_two = getelementptr i16, ptr %ids, i64 %i
  %two = load i16, ptr %at_two, align 1
  %of_two = zext i16 %two to i64
  br label %choose
read_four:
  %at_four = getelementptr i32, ptr %ids, i64 %i
  %four = load i32, ptr %at_four, align 1
  %of_four = zext i32 %four to i64
  br label %choose
choose:
  %id = phi i64 [ %of_two, %read_two ], [ %of_four, %read_four ]
  %in_table = icmp ult i64 %id, %known
  br i1 %in_table, label %shared, label %new
shared:
  %slot = getelementptr ptr, ptr %table, i64 %id
  %found = load ptr, ptr %slot
  call void %share(ptr %found)
  br label %store
new:
  %fresh = call ptr %number(i64 %id)
  %got = icmp ne ptr %fresh, null
  br i1 %got, label %store, label %drop
store:
  %object = phi ptr [ %found, %shared ], [ %fresh, %new ]
  %status = call i32 %put(ptr %list, i64 %i, ptr %object)
  %next = add i64 %i, 1
  br label %test
done:
  ret ptr %list
drop:
  %release = call ptr @python(i64 8)
  call void %release(ptr %list)
  ret ptr null
none:
  ret ptr null
}

define ptr @gputok_list_ids(ptr %self, ptr %arguments, i64 %count) {
  %address = call i64 @argument(ptr %arguments, i64 0)
  %n = call i64 @argument(ptr %arguments, i64 1)
  %width = call i64 @argument(ptr %arguments, i64 2)
  %entries = call i64 @argument(ptr %arguments, i64 3)
  %known = call i64 @argument(ptr %arguments, i64 4)
  %ids = inttoptr i64 %address to ptr
  %table = inttoptr i64 %entries to ptr
  %narrow = icmp eq i64 %width, 2
  %list = call ptr @new_list(ptr %ids, i64 %n, i1 %narrow, ptr %table, i64 %known)
  ret ptr %list
}

define ptr @gputok_encode_ids(ptr %self, ptr %arguments, i64 %count) {
  %slots = alloca [4 x i64]
  %size_at = alloca i64
  %address = call i64 @argument(ptr %arguments, i64 0)
  %flags = call i64 @argument(ptr %arguments, i64 2)
  %call = inttoptr i64 %address to ptr
  %text_at = getelementptr ptr, ptr %arguments, i64 1
  %text = load ptr, ptr %text_at
  %utf8 = call ptr @python(i64 0)
  %bytes = call ptr %utf8(ptr %text, ptr %size_at)
  %is_text = icmp ne ptr %bytes, null
  br i1 %is_text, label %measure, label %error
measure:
  %size = load i64, ptr %size_at
  %special = and i64 %flags, 1
  %longest_field = add i64 %special, 2
  %longest_at = getelementptr i64, ptr %call, i64 %longest_field
  %longest = load i64, ptr %longest_at
  %fits = icmp sle i64 %size, %longest
  br i1 %fits, label %fill, label %refused
fill:
  %handle_at = getelementptr i64, ptr %call, i64 1
  %handle = load i64, ptr %handle_at
  store i64 %handle, ptr %slots
  %slot_1 = getelementptr i64, ptr %slots, i64 1
  %text_address = ptrtoint ptr %bytes to i64
  store i64 %text_address, ptr %slot_1
  %slot_2 = getelementptr i64, ptr %slots, i64 2
  store i64 %size, ptr %slot_2
  %slot_3 = getelementptr i64, ptr %slots, i64 3
  store i64 %flags, ptr %slot_3
  %entry = load ptr, ptr %call
  %is_long = icmp sgt i64 %size, 1024
  br i1 %is_long, label %run_alone, label %run
run_alone:
  %save = call ptr @python(i64 6)
  %state = call ptr %save()
  %code_alone = call i32 %entry(ptr %slots)
  %restore = call ptr @python(i64 7)
  call void %restore(ptr %state)
  br label %ran
run:
  %code_here = call i32 %entry(ptr %slots)
  br label %ran
ran:
  %code = phi i32 [ %code_alone, %run_alone ], [ %code_here, %run ]
  %n = load i64, ptr %slots
  %no_error = icmp eq i32 %code, 0
  %not_refused = icmp sge i64 %n, 0
  %good = and i1 %no_error, %not_refused
  br i1 %good, label %make, label %refused
make:
  %ids_at = getelementptr i64, ptr %call, i64 4
  %ids_address = load i64, ptr %ids_at
  %ids = inttoptr i64 %ids_address to ptr
  %shared_at = getelementptr i64, ptr %call, i64 5
  %shared_address = load i64, ptr %shared_at
  %shared = inttoptr i64 %shared_address to ptr
  %known_at = getelementptr i64, ptr %shared, i64 1
  %known = load atomic i64, ptr %known_at acquire, align 8
  %table = load ptr, ptr %shared
  %list = call ptr @new_list(ptr %ids, i64 %n, i1 0, ptr %table, i64 %known)
  ret ptr %list
refused:
  %number = call ptr @python(i64 5)
  %minus_one = call ptr %number(i64 -1)
  ret ptr %minus_one
error:
  ret ptr null
}
"""

EXPORTED = "gputok_encode_ids", "gputok_list_ids"
_FUNCTIONS = (
    *("PyUnicode_AsUTF8AndSize", "PyList_New", "PyList_SetItem", "Py_IncRef", "PyLong_AsLongLong"),
    *("PyLong_FromLongLong", "PyEval_SaveThread", "PyEval_RestoreThread", "Py_DecRef"),
)
"""By the numbers that the code has for them."""
_FASTCALL = 0x80  # METH_FASTCALL: f(self, arguments, their number)


class _Definition(ctypes.Structure):
    """PyMethodDef."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


class Builtins(NamedTuple):
    """The builtin functions. They check no addresses: only `gputok.pipeline` calls them, with those of arrays that it keeps."""

    encode_ids: Callable[[int, str, int], list[int] | int]
    """(address of a `Call`, text, flags) -> the ids; or -1, if other stages must encode the text."""
    list_ids: Callable[[int, int, int, int, int], list[int]]
    """(address of ids, their number, bytes of an id, address of the objects of the first ids, number of these) -> the ids."""


def builtins(library: ctypes.CDLL) -> Builtins:
    """Makes the builtin functions of a library."""
    table = (ctypes.c_void_p * len(_FUNCTIONS)).in_dll(library, "gputok_python")
    for number, name in enumerate(_FUNCTIONS):
        table[number] = address_of(getattr(ctypes.pythonapi, name))
    new = ctypes.pythonapi.PyCFunction_NewEx
    new.argtypes, new.restype = (
        [ctypes.POINTER(_Definition), ctypes.c_void_p, ctypes.c_void_p],
        ctypes.py_object,
    )
    for name in EXPORTED:
        short = name.removeprefix("gputok_").encode()
        _KEPT.append(_Definition(short, address_of(library[name]), _FASTCALL, None))
    return Builtins(*(new(ctypes.byref(definition), None, None) for definition in _KEPT[-len(EXPORTED) :]))


_KEPT: list[_Definition] = []  # as long as the process lives: builtin functions refer to their definitions


def address_of(function: Any) -> int:
    """The address of a C function."""
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def new_call(
    entry: Any, handle: int, longest: tuple[int, int], ids: np.ndarray, table: np.ndarray
) -> np.ndarray:
    """What `encode_ids` takes by its address: int64[6].

    entry: the C function of a kernel of short texts; handle: the address of a handle; longest: the bytes of a text, without and
    with special tokens; ids: where the handle's kernel writes; table: int64[2], the address of the objects of the first ids,
    and their number. The caller keeps all of them alive.
    """
    addresses = (array.__array_interface__["data"][0] for array in (ids, table))
    return np.array([address_of(entry), handle, *longest, *addresses], np.int64)
