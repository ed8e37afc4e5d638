"""Builtin functions of machine code, which take and make Python's objects: no Python code between a text and its ids.

    encode_ids(call, text, flags)                    the ids of a text, by a kernel
    encode_one(maker, text, special)                 the `Encoding` of a text
    encode_each(maker, texts, n, special, least)     the encodings of a list of n texts
    measure(texts)                                   the number of characters of a list of texts
    list_ids(ids)                                    a list of ids
    Tokenizer.encode                                 of the classes themselves, see `Builtins.take_over`
    Encoding.ids, Encoding.tokens, Encoding.offsets

Ids are uint32 in a bytes object: it is made by one copy, and holds no object that Python's garbage collector must count. Only the
list that a user asks for has an object for each id.

kernels/wheel/builtins.ll is their code. It calls functions of Python's stable interface, whose addresses `builtins` writes into
the library, so one library serves every version of Python. Only a wheel has it.
"""

from __future__ import annotations

import ctypes
import inspect
import sys
import threading
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np

_Object = TypeVar("_Object")
_CALLED = tuple(f"gputok_{name}" for name in ("encode_ids", "encode_one", "encode_each", "claim"))
_CALLED_WITH_ONE = "gputok_list_ids", "gputok_measure"
_PROPERTIES = "ids", "tokens", "offsets"
EXPORTED = *_CALLED, *_CALLED_WITH_ONE, "gputok_encode", *(f"gputok_{name}" for name in _PROPERTIES)


def _memory(*fields: str) -> Any:
    """A class of memory that machine code reads, int64 by int64. builtins.ll names the fields, too: see `numbers`."""
    return type("Memory", (ctypes.Structure,), {"_fields_": [(name, ctypes.c_int64) for name in fields]})


# The addresses of Python's functions
Python = _memory(
    *("PyUnicode_AsUTF8AndSize", "PyList_New", "Py_IncRef", "PyLong_AsLongLong"),
    *("PyLong_FromLongLong", "PyEval_SaveThread", "PyEval_RestoreThread", "Py_DecRef"),
    *("PyTuple_New", "PyTuple_SetItem", "PyBytes_FromStringAndSize"),
    *("PyList_GetItem", "PyTuple_Size", "PyObject_GetAttr", "PyObject_Vectorcall"),
    *("PyBytes_AsStringAndSize", "PyObject_GC_UnTrack", "PyUnicode_GetLength"),
    *("PyList_Size", "PyErr_Clear", "PyUnicode_FromStringAndSize", "PyObject_GC_Track", "PyTuple_GetItem"),
    "PyCapsule_GetPointer",
)
# Addresses of the objects that `Builtins.take_over` is about; and the offset of `_later` in an encoding
Classes = _memory(
    *("texts", "add_special_tokens", "true", "false", "string", "versions", "encode"),
    *("none", "offset", "address", "zero", "ids", "tokens", "offsets"),
)
# The address of the objects of the first ids, and their number; then where a list has the address of its items, a tuple
# its items, and any object the address of its class
Integers = _memory("shared", "n_shared", "items_of_list", "items_of_tuple", "kind")
TABLES = {"gputok_python": Python, "gputok_classes": Classes, "gputok_integers": Integers}
# Of `new_call` and of `Maker`. The second of two fields with nearly one name is for texts with special tokens
_Call = _memory("entry", "handle", "longest", "longest_special", "ids")
_Maker = _memory(
    *("busy", "call", "kind", "allocate", "offset", "owner", "flag", "flag_special", "none", "flags"),
    *("most", "most_special", "gathered", "room", "positions", "begins", "ends"),
    *("n_before", "n_before_special", "n_after", "n_after_special"),
    *("texts", "rows", "data", "offsets", "trim"),
)
# Tuples; see `Builtins.take_over`
_LATER = "owner", "ids", "text", "special", "more", "flags"
_TEXTS = "version", "texts", "address", "finish"


def numbers() -> dict[str, int]:
    """What each name in builtins.ll stands for: the number of a field or an item; `.n`: how many there are."""
    memory = {"Python": Python, "Classes": Classes, "Integers": Integers, "Call": _Call, "Maker": _Maker}
    names = {of: [name for name, _ in kind._fields_] for of, kind in memory.items()}
    names |= {"Later": [*_LATER], "Texts": [*_TEXTS]}
    return {f"{of}.{name}": at for of, some in names.items() for at, name in enumerate(some)} | {
        f"{of}.n": len(some) for of, some in names.items()
    }


_FASTCALL = 0x80  # METH_FASTCALL: f(self, arguments, their number)
_KEYWORDS = 0x02  # METH_KEYWORDS: and the names of the last arguments
_ONE = 0x08  # METH_O: f(self, argument)


def _for_ever(one: _Object) -> _Object:
    """Returns an object that is never freed: it has a reference that nobody gives back.

    Builtin functions refer to their definitions, and machine code to objects, by bare addresses. A list of these objects in
    this module would not do: when Python ends, it empties modules, and what lives longer still encodes, in `__del__` or in
    another thread. Nor would the list outlive a reload of this module. They are few: they are made when a module is imported,
    and when a vocabulary has twice the size.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(one))
    return one


_CALL, _MAKER = _for_ever(b"gputok call"), _for_ever(b"gputok maker")  # the same as in builtins.ll


def _capsule(memory: ctypes.Structure, name: bytes) -> Any:
    """The address of memory, in an object of Python that nothing else can pass for; the caller keeps the memory alive."""
    new = ctypes.pythonapi.PyCapsule_New
    new.argtypes, new.restype = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p], ctypes.py_object
    return new(ctypes.addressof(memory), name, None)


def _inside(capsule: Any, name: bytes) -> int:
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.argtypes, get.restype = [ctypes.py_object, ctypes.c_char_p], ctypes.c_void_p
    return get(capsule, name)


class _Definition(ctypes.Structure):
    """PyMethodDef."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


class _Attribute(ctypes.Structure):
    """PyGetSetDef."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("get", ctypes.c_void_p),
        ("set", ctypes.c_void_p),
        ("doc", ctypes.c_char_p),
        ("given", ctypes.c_void_p),
    )


class Builtins(NamedTuple):
    """The builtin functions. Only `gputok.pipeline` calls them, and keeps the memory of the calls and makers alive."""

    encode_ids: Callable[[Any, str, int], bytes | int]
    """(call of `new_call`, text, flags) -> the ids; or the negative result of the kernel, -1 for a text that is too long."""
    encode_one: Callable[[Any, str, int], Any]
    """(address of a `Maker`, text, 1: with special tokens) -> an object with the attribute; or, as `encode_ids` gives them,
    the ids, if they are more than the maker may take, or a negative number: -3 if another thread uses the maker."""
    encode_each: Callable[[Any, list[str], int, int, int], list[Any] | tuple[list[Any]]]
    """(address of a `Maker`, texts, their number, 1: with special tokens, least) -> what `encode_one` gives for each,
    in a list; in a tuple with that list, if not all are encodings. Other threads can run while more than `least` bytes
    are encoded together. No other thread may know the list."""
    claim: Callable[[Any], int]
    """(address of a `Maker`) -> 1 if the maker is in use; else 0, and it is in use now."""
    list_ids: Callable[[bytes], list[int]]
    """The ids in a bytes object, as a list."""
    measure: Callable[[list[Any]], int]
    """The number of characters of the texts in a list; -1 if not all are str."""
    library: ctypes.CDLL

    def share_integers(self, n: int) -> None:
        """From now on, lists of ids share the objects of the numbers below n: each is made when it is first needed, and kept.

        Tables double, since those before are kept: a vocabulary that grows by a token at a time makes few of them.
        """
        table = _table(self.library, "gputok_integers")
        with _SHARING:  # two threads could leave the smaller table with the larger number
            if (known := table.n_shared) >= n:
                return
            n = 1 << (n - 1).bit_length()
            objects = _for_ever(np.zeros(n, np.int64))
            if known:
                objects[:known] = np.ctypeslib.as_array((ctypes.c_int64 * known).from_address(table.shared))
            # In this order: another thread may read the number, then the address. It may still use the table before
            table.shared = _where(objects)
            table.n_shared = n

    def take_over(self, tokenizer: type, encoding: type, versions: list[object]) -> None:
        """Replaces a method and some properties by machine code, which calls what it replaces if it can't go on.

        `_texts` of a tokenizer is (version, any object, address of a `Maker` or 0, what finishes an encoding). Machine code
        encodes if the version is `versions[0]`. If it finds anything but an encoding, it calls finish(found, text, special).
        `_later` of an encoding is None, or a tuple; if item 5 is 0, item 1 has its ids (bytes), and item 0 has an attribute
        `address`: of a `Maker`, which it keeps alive, or 0. Item 2 is the text, if the maker gives positions, and item 3
        as in `encode_one`. If anything else stands there, Python's method or property is called.
        """
        encode, properties = vars(tokenizer)["encode"], [vars(encoding)[name] for name in _PROPERTIES]
        if not inspect.isfunction(encode) or not all(isinstance(found, property) for found in properties):
            return  # it is done, and a module was imported again
        objects: dict[str, Any] = {"texts": sys.intern("_texts"), "address": sys.intern("address")}
        objects |= {"add_special_tokens": sys.intern("add_special_tokens"), "versions": versions}
        objects |= {"encode": encode, "true": True, "false": False, "none": None, "zero": 0}
        objects |= {name: found.fget for name, found in zip(_PROPERTIES, properties, strict=True)}
        _for_ever(objects)
        table = _table(self.library, "gputok_classes")
        for name, one in objects.items():
            setattr(table, name, id(one))
        table.offset = offset_of(encoding, "_later")
        code = address_of(self.library["gputok_encode"])
        about = f"encode{_signature(encode)}\n--\n\n{inspect.getdoc(encode)}"
        definition = _for_ever(_Definition(b"encode", code, _FASTCALL | _KEYWORDS, about.encode()))
        new = ctypes.pythonapi.PyDescr_NewMethod
        new.argtypes, new.restype = [ctypes.py_object, ctypes.POINTER(_Definition)], ctypes.py_object
        setattr(tokenizer, encode.__name__, new(tokenizer, ctypes.byref(definition)))
        if not getattr(sys, "_is_gil_enabled", lambda: True)():
            return  # another thread may change `_later` while it is read
        new = ctypes.pythonapi.PyDescr_NewGetSet
        new.argtypes, new.restype = [ctypes.py_object, ctypes.POINTER(_Attribute)], ctypes.py_object
        for name, found in zip(_PROPERTIES, properties, strict=True):
            get = address_of(self.library[f"gputok_{name}"])
            about = inspect.getdoc(found) or ""
            attribute = _for_ever(_Attribute(name.encode(), get, None, about.encode(), None))
            setattr(encoding, name, new(encoding, ctypes.byref(attribute)))


def _table(library: ctypes.CDLL, name: str) -> Any:
    return TABLES[name].in_dll(library, name)


def _finds_items() -> bool:
    """Whether a list has a number of items, then their address, then their room; and a tuple ends with its items.

    Also whether the header of each object ends with the address of its class.
    """
    items = [None] * 3
    pair = items, None
    size, _, room = (ctypes.c_ssize_t * 3).from_address(id(items) + object.__basicsize__)
    first = ctypes.c_void_p.from_address(id(pair) + tuple.__basicsize__).value
    kind = ctypes.c_void_p.from_address(id(items) + _CLASS).value
    return size == room == 3 and first == id(items) and kind == id(list)


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
    definition = _for_ever(_Definition(short, address_of(library[name]), flags, None))
    return new(ctypes.byref(definition), None, None)


def builtins(library: ctypes.CDLL) -> Builtins | None:
    """Makes the builtin functions of a library; None: Python keeps items, or classes, elsewhere than all versions so far."""
    if not _finds_items():
        return None
    table, of_objects = _table(library, "gputok_python"), _table(library, "gputok_integers")
    for name, _ in Python._fields_:
        setattr(table, name, address_of(getattr(ctypes.pythonapi, name)))
    _table(library, "gputok_classes").string = id(str)
    of_objects.items_of_list = object.__basicsize__ + ctypes.sizeof(ctypes.c_ssize_t)
    of_objects.items_of_tuple, of_objects.kind = tuple.__basicsize__, _CLASS
    several = (_builtin(library, name, _FASTCALL) for name in _CALLED)
    return Builtins(*several, *(_builtin(library, name, _ONE) for name in _CALLED_WITH_ONE), library)


_SHARING = threading.Lock()


def address_of(function: Any) -> int:
    """The address of a C function."""
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def offset_of(kind: type, slot: str) -> int:
    """The offset of a slot in the memory of an object, which is 0 there until the slot is set."""
    one, value = kind.__new__(kind), object()
    n = kind.__basicsize__ // ctypes.sizeof(ctypes.c_void_p)
    words = (ctypes.c_void_p * n).from_address(id(one))
    setattr(one, slot, value)
    return [*words].index(id(value)) * ctypes.sizeof(ctypes.c_void_p)


def new_call(entry: Any, handle: int, longest: tuple[int, int], ids: np.ndarray) -> tuple[ctypes.Structure, Any]:
    """Memory, which the caller keeps as long as the call, and the call: what `encode_ids` takes, and a `Maker`.

    entry: the C function of a kernel of short texts; handle: the address of a handle; longest: the bytes of a text, without and
    with special tokens; ids: where the handle's kernel writes. The caller keeps all of them alive.
    """
    memory = _Call(address_of(entry), handle, *longest, _where(ids))
    return memory, _capsule(memory, _CALL)


class Spelling(NamedTuple):
    """The texts of tokens, by their ids, for `Encoding.tokens`."""

    texts: list[str | None]
    """Of `new_texts`. None: the text was not asked for yet. Machine code makes it, if the id has a row, and keeps it here."""
    rows: Any  # int32[the same number]: the row of each id, or -1
    data: Any  # uint8[], in UTF-8; row i is data[offsets[i]:offsets[i + 1]]
    offsets: Any  # int64[]


class Columns(NamedTuple):
    """What `Encoding.tokens` and `Encoding.offsets` are made with; the caller keeps alive what `call` has the addresses of."""

    call: Any
    """A call that writes positions; it may share memory with the maker's own call."""
    begins: Any  # int64[], where that call writes them
    ends: Any
    before: tuple[int, int]  # the numbers of special tokens before a text, without and with special tokens
    after: tuple[int, int]
    spelling: Spelling
    trim: Any
    """The kernel that trims the positions of the tokens first to last - 1, as a C function; None: Python makes positions."""


class Maker:
    """What makes objects of a class whose attribute is (owner, ids, text, special, None, flags), and lists of their attributes.

    Args:
        call: of `new_call`, which no other maker uses.
        kind: the class.
        attribute: the name of the attribute, a slot of the class.
        owner: the first item.
        flags: the last item, a small number.
        most: the largest number of ids, without and with special tokens.
        columns: None: the maker makes no attributes.

    Attributes:
        address: what builtin functions take.
    """

    def __init__(
        self,
        call: Any,
        kind: type,
        attribute: str,
        owner: object,
        flags: int,
        most: tuple[int, int],
        columns: Columns | None = None,
    ) -> None:
        slot = ctypes.pythonapi.PyType_GetSlot
        slot.argtypes, slot.restype = [ctypes.py_object, ctypes.c_int], ctypes.c_void_p
        # The owner keeps this object alive, and the others are kept here: a reference to the owner would keep it alive for ever
        gathered = np.empty(_GATHERED, np.uint32)  # of several texts, for `encode_each`
        self._kept = kind, flags, gathered, columns
        self.fields = _Maker(
            call=_inside(call, _CALL),
            kind=id(kind),
            allocate=slot(kind, _ALLOCATE),
            offset=offset_of(kind, attribute),
            owner=id(owner),
            flag=id(0),
            flag_special=id(1),
            none=id(None),
            flags=id(flags),
            most=most[0],
            most_special=most[1],
            gathered=_where(gathered),
            room=_GATHERED,
        )
        if columns is not None:
            self._put(columns)
        self.address: Any = _capsule(self.fields, _MAKER)

    def _put(self, columns: Columns) -> None:
        fields, spelling = self.fields, columns.spelling
        fields.positions = _inside(columns.call, _CALL)
        fields.begins, fields.ends = _where(columns.begins), _where(columns.ends)
        fields.n_before, fields.n_before_special = columns.before
        fields.n_after, fields.n_after_special = columns.after
        fields.texts, fields.rows = id(spelling.texts), _where(spelling.rows)
        fields.data, fields.offsets = _where(spelling.data), _where(spelling.offsets)
        fields.trim = 0 if columns.trim is None else address_of(columns.trim)

    def release(self) -> None:
        """Lets others use a maker that was claimed."""
        self.fields.busy = 0


_ALLOCATE = 47  # Py_tp_alloc of typeslots.h
_CLASS = object.__basicsize__ - ctypes.sizeof(ctypes.c_void_p)  # where an object has the address of its class
_GATHERED = 1 << 16


def new_texts(n: int) -> list[str | None]:
    """A list of n times None, at which Python's garbage collector need not look: it will have texts only."""
    texts: list[str | None] = [None] * n
    untrack = ctypes.pythonapi.PyObject_GC_UnTrack
    untrack.argtypes, untrack.restype = [ctypes.py_object], None
    untrack(texts)
    return texts


def _where(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]
