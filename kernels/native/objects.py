"""Builtin functions of machine code, which take and make Python's objects: no Python code between a text and its ids.

    encode_ids(call, text, flags)          the ids of a text, by a kernel
    encode_one(maker, text, special)       the `Encoding` of a text
    encode_each(maker, texts, special)     the encodings of a list of texts
    list_ids(...)                          a list of the ids in an array
    Tokenizer.encode, Encoding.ids         of the classes themselves, see `Builtins.take_over`

kernels/wheel/builtins.ll is their code. It calls functions of Python's stable interface, whose addresses `builtins` writes into
the library, so one library serves every version of Python. Only a wheel has it.
"""

from __future__ import annotations

import ctypes
import inspect
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

_CALLED = tuple(f"gputok_{name}" for name in ("encode_ids", "encode_one", "encode_each", "claim", "list_ids"))
EXPORTED = *_CALLED, "gputok_encode", "gputok_ids"
TABLES = "gputok_python", "gputok_classes"
FUNCTIONS = (
    *("PyUnicode_AsUTF8AndSize", "PyList_New", "PyList_SetItem", "Py_IncRef", "PyLong_AsLongLong"),
    *("PyLong_FromLongLong", "PyEval_SaveThread", "PyEval_RestoreThread", "Py_DecRef"),
    *("PyTuple_New", "PyTuple_SetItem", "PyObject_SetAttr", "PyList_GetItem"),
    *("PyObject_Type", "PyTuple_Size", "PyTuple_GetItem", "PyObject_GetAttr"),
    *("PyObject_Vectorcall", "PyList_GetSlice", "PyObject_GC_UnTrack"),
)
"""By the numbers that the code has for them."""
_FASTCALL = 0x80  # METH_FASTCALL: f(self, arguments, their number)
_KEYWORDS = 0x02  # METH_KEYWORDS: and the names of the last arguments
_ONE = 0x08  # METH_O: f(self, argument)


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
    """(address of a `new_call`, text, flags) -> the ids; or the negative result of the kernel, -1 for a text that is too long."""
    encode_one: Callable[[int, str, int], Any]
    """(address of a `Maker`, text, 1: with special tokens) -> an object with the attribute; or, as `encode_ids` gives them,
    the ids, if they are more than the maker may take, or a negative number: -3 if another thread uses the maker."""
    encode_each: Callable[[int, list[str], int, int], list[Any]]
    """(address of a `Maker`, texts, their number, 1: with special tokens) -> what `encode_one` gives for each."""
    claim: Callable[[int], int]
    """(address of a `Maker`) -> 1 if the maker is in use; else 0, and it is in use now."""
    list_ids: Callable[[int, int, int, int, int], list[int]]
    """(address of ids, their number, bytes of an id, address of the objects of the first ids, number of these) -> the ids."""
    library: ctypes.CDLL

    def take_over(self, tokenizer: type, encoding: type, versions: list[object]) -> None:
        """Replaces `Tokenizer.encode` and `Encoding.ids` by machine code, which calls what it replaces if it can't go on.

        `_texts` of a tokenizer is (version, any object, address of a `Maker` or 0, what finishes an encoding). Machine code
        encodes if the version is `versions[0]`. If it finds anything but an encoding, it calls finish(found, text, special).
        `_later` of an encoding is None, or a tuple; item 1 is a list of its ids if item 5 is 0.
        """
        encode, ids = vars(tokenizer)["encode"], vars(encoding)["ids"]
        of_classes = (
            *(sys.intern("_texts"), sys.intern("add_special_tokens"), True, False, str, encoding, versions),
            *(encode, None, sys.intern("_later"), list, 0, ids.fget),
        )
        table = (ctypes.c_void_p * len(of_classes)).in_dll(self.library, "gputok_classes")
        table[:] = [*map(id, of_classes)]
        definition = _Definition(
            b"encode",
            address_of(self.library["gputok_encode"]),
            _FASTCALL | _KEYWORDS,
            f"encode{_signature(encode)}\n--\n\n{inspect.getdoc(encode)}".encode(),
        )
        _KEPT.extend((definition, of_classes))
        new = ctypes.pythonapi.PyDescr_NewMethod
        new.argtypes, new.restype = [ctypes.py_object, ctypes.POINTER(_Definition)], ctypes.py_object
        setattr(tokenizer, encode.__name__, new(tokenizer, ctypes.byref(definition)))
        setattr(
            encoding, ids.fget.__name__, property(_builtin(self.library, "gputok_ids", _ONE), doc=ids.__doc__)
        )


def _signature(function: Callable[..., Any]) -> str:
    """The parameters of a method, as the documentation of a builtin begins with them."""
    found = inspect.signature(function)
    names = [one.replace(annotation=one.empty) for one in found.parameters.values()]
    bare = str(found.replace(parameters=names, return_annotation=found.empty))
    return bare.replace("(self", "($self").replace("=Ellipsis", "=...")


def _builtin(library: ctypes.CDLL, name: str, flags: int) -> Any:
    new = ctypes.pythonapi.PyCFunction_NewEx
    new.argtypes = [ctypes.POINTER(_Definition), ctypes.c_void_p, ctypes.c_void_p]
    new.restype = ctypes.py_object
    short = name.removeprefix("gputok_").encode()
    definition = _Definition(short, address_of(library[name]), flags, None)
    _KEPT.append(definition)
    return new(ctypes.byref(definition), None, None)


def builtins(library: ctypes.CDLL) -> Builtins:
    """Makes the builtin functions of a library."""
    table = (ctypes.c_void_p * len(FUNCTIONS)).in_dll(library, "gputok_python")
    for number, name in enumerate(FUNCTIONS):
        table[number] = address_of(getattr(ctypes.pythonapi, name))
    return Builtins(*(_builtin(library, name, _FASTCALL) for name in _CALLED), library)


# As long as the process lives: builtin functions refer to their definitions, and the code to objects
_KEPT: list[Any] = []


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


class Maker:
    """What makes objects of a class whose attribute is (owner, ids, text, special, None, flags), for `encode_one`.

    Args:
        call: the address of a `new_call`, which no other maker uses.
        kind: the class.
        attribute: the name of the attribute.
        owner: the first item.
        flags: the last item, a small number.
        most: the largest number of ids, without and with special tokens.
    """

    def __init__(
        self, call: int, kind: type, attribute: str, owner: object, flags: int, most: tuple[int, int]
    ) -> None:
        slot = ctypes.pythonapi.PyType_GetSlot
        slot.argtypes, slot.restype = [ctypes.py_object, ctypes.c_int], ctypes.c_void_p
        objects = attribute, owner, 0, 1, None, flags
        # The owner keeps this object alive, and the others are kept here: a reference to the owner would keep it alive for ever
        self._kept = kind, attribute, flags
        self.fields = np.array(
            [0, call, id(kind), slot(kind, _ALLOCATE), *map(id, objects), *most, 0], np.int64
        )
        self.address: int = self.fields.__array_interface__["data"][0]

    def pause(self, stops: bool) -> None:
        """Has `Tokenizer.encode` call Python for each text, or no longer."""
        self.fields[12] = stops

    def release(self) -> None:
        """Lets others use a maker that was claimed."""
        self.fields[0] = 0


_ALLOCATE = 47  # Py_tp_alloc of typeslots.h
