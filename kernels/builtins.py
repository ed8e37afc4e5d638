"""Builtin functions of machine code, which take and make Python's objects: no Python code runs from a text to its ids.

    encode_ids(call, text, flags)                    the ids of a text, by a kernel
    encode_one(maker, text, special)                 the `Encoding` of a text
    encode_each(maker, texts, n, special, least)     the encodings of a list of n texts
    claim(maker)                                     takes a maker (see `Maker`) that no other thread uses
    measure(texts)                                   the number of characters of a list of texts
    take(iterator, list, n)                          appends texts of an iterator to a list
    list_ids(ids)                                    the list of the ids in a bytes object
    Tokenizer.encode                                 replaces the method of the class, see `Builtins.take_over`
    Encoding.ids, Encoding.tokens, Encoding.offsets  replace the properties of the class, likewise

Ids are uint32 in a bytes object, which is made by one copy, and at which Python's garbage collector does not look. Only
a list that a user asks for has an object for each id.

Their code is in kernels/cpu/objects.py. It calls functions of Python's stable C interface, whose addresses
`builtin_functions` writes to the library, so that one library serves every version of Python. There are builtin
functions in wheels and in the checked build (GPUTOK_CHECK=1), but not if Numba compiles the kernels otherwise.
"""

from __future__ import annotations

import ctypes
import functools
import inspect
import sys
from _thread import allocate_lock
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
from gputok.kernels.cpu import objects as code
from gputok.kernels.cpu.objects import CallRecord, Known
from gputok.kernels.cpu.primitives.handle import WORDS, Handle
from gputok.kernels.native import choose
from gputok.kernels.signatures import NamedTuple

_Object = TypeVar("_Object")
_PROPERTIES = "ids", "tokens", "offsets"

_FASTCALL = 0x80  # METH_FASTCALL: f(self, arguments, their number)
_KEYWORDS = 0x02  # METH_KEYWORDS: and the names of the last arguments
_ONE = 0x08  # METH_O: f(self, argument)


def _for_ever(one: _Object) -> _Object:
    """Returns the same object with a reference that nobody gives back, so that it is never freed.

    Builtin functions refer to their definitions, and machine code to objects, by addresses, which keep nothing alive. A
    list of them in this module would not do: Python empties modules when it ends, and what lives longer still encodes,
    in `__del__` or in another thread. They are few: made at import, and when a vocabulary has twice the size.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(one))
    return one


_CALL, _MAKER = _for_ever(b"gputok call"), _for_ever(b"gputok maker")


def _capsule(handle: Handle, name: bytes) -> Any:
    """A capsule with the address of a handle that the caller keeps alive; machine code refuses any other object."""
    new = ctypes.pythonapi.PyCapsule_New
    new.argtypes, new.restype = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p], ctypes.py_object
    return new(handle.address, name, None)


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
    """The builtin functions. The caller keeps the memory of `new_call`, and each `Maker`, alive while it uses them."""

    encode_ids: Callable[[Any, str, int], bytes | int]
    """(call of `new_call`, text, flags) -> the ids; or the negative result of the kernel, -1 for too long a text."""
    encode_one: Callable[[Any, str, int], Any]
    """(address of a `Maker`, text, 1: with special tokens) -> an encoding: an object of the class of the maker; or the
    ids, if they are too many for the maker; or a negative number: -3 if another thread uses the maker."""
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
    take: Callable[[Iterator[Any], list[Any], int], int]
    """(iterator, list, n) -> what is left of n. Appends items to the list; a str takes its number of characters + 1
    from n. Stops when n is used up, no item is left, or after an item of another class, also a subclass of str."""
    variable: ctypes.c_int64
    """The address of what machine code knows, a `Known`."""

    def share_integers(self, n: int) -> None:
        """From now on, lists of ids share the objects of the numbers below n, each made when it is first needed."""
        with _SHARING:  # else of two threads, the one with the smaller table might write last
            address = _of_known(self.variable, "numbers").value
            if (known := ctypes.c_int64.from_address(address).value) >= n:
                return
            numbers = np.frombuffer((ctypes.c_int64 * (1 + known)).from_address(address), np.int64)
            n = 1 << (n - 1).bit_length()  # a power of two: older tables are never freed, so only few must be made
            larger = _for_ever(np.zeros(1 + n, np.int64))
            larger[0], larger[1 : 1 + known] = n, numbers[1:]
            # The table before is not freed: another thread may still use it
            _of_known(self.variable, "numbers").value = _where(larger)

    def take_over(self, tokenizer: type, encoding: type, versions: list[object]) -> None:
        """Replaces Tokenizer.encode and three properties of Encoding by machine code.

        Where that can't go on, it calls what it replaced. `_texts` of a tokenizer is (version, any object, address of a
        `Maker` or 0, finish): machine code encodes if the version is the object `versions[0]`, and calls finish(result,
        text, special) if the result is no encoding. `_later` of an encoding is None, or a tuple: if its item 5 is 0,
        item 0 is an object that keeps a `Maker` alive and has its address, or 0, as attribute `address`; item 1 has the
        ids (bytes), item 2 is the text, and item 3 is 1 with special tokens, else 0.
        """
        encode, properties = vars(tokenizer)["encode"], [vars(encoding)[name] for name in _PROPERTIES]
        if not inspect.isfunction(encode) or not all(isinstance(found, property) for found in properties):
            return  # they are replaced already, and a module was imported again
        objects: dict[str, Any] = {"texts": sys.intern("_texts"), "address": sys.intern("address")}
        objects |= {"add_special_tokens": sys.intern("add_special_tokens"), "versions": versions, "encode": encode}
        objects |= {name: found.fget for name, found in zip(_PROPERTIES, properties, strict=True)}
        _for_ever(objects)
        _know(self.variable, later=offset_of(encoding, "_later"), **{name: id(one) for name, one in objects.items()})
        about = f"encode{_signature(encode)}\n--\n\n{inspect.getdoc(encode)}"
        definition = _for_ever(_Definition(b"encode", _address(code.encode), _FASTCALL | _KEYWORDS, about.encode()))
        new = ctypes.pythonapi.PyDescr_NewMethod
        new.argtypes, new.restype = [ctypes.py_object, ctypes.POINTER(_Definition)], ctypes.py_object
        setattr(tokenizer, encode.__name__, new(tokenizer, ctypes.byref(definition)))
        if not getattr(sys, "_is_gil_enabled", lambda: True)():
            return  # another thread may change `_later` while it is read
        new = ctypes.pythonapi.PyDescr_NewGetSet
        new.argtypes, new.restype = [ctypes.py_object, ctypes.POINTER(_Attribute)], ctypes.py_object
        for name, found in zip(_PROPERTIES, properties, strict=True):
            get = _address(getattr(code, name))
            about = inspect.getdoc(found) or ""
            attribute = _for_ever(_Attribute(name.encode(), get, None, about.encode(), None))
            setattr(encoding, name, new(encoding, ctypes.byref(attribute)))


def _of_known(variable: ctypes.c_int64, name: str) -> ctypes.c_int64:
    """A field of the `Known` of this process, as a number; other threads never see it half written."""
    return ctypes.c_int64.from_address(variable.value + 8 * WORDS * Known._fields.index(name))


def _know(variable: ctypes.c_int64, **values: int) -> None:
    for name, value in values.items():
        _of_known(variable, name).value = value


def _finds_items() -> bool:
    """Whether lists, tuples and objects have their items and classes at the same offsets as in all Pythons so far."""
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


def _builtin(function: Any, flags: int) -> Any:
    new = ctypes.pythonapi.PyCFunction_NewEx
    new.argtypes = [ctypes.POINTER(_Definition), ctypes.c_void_p, ctypes.c_void_p]
    new.restype = ctypes.py_object
    definition = _for_ever(_Definition(function.__name__.encode(), _address(function), flags, None))
    return new(ctypes.byref(definition), None, None)


@functools.cache
def builtin_functions() -> Builtins | None:
    """The builtin functions; None: there are none (see the top of this file), or `_finds_items` is False."""
    if not choose().has_builtins or not _finds_items():
        return None
    if (library := choose().library) is None:
        from gputok.kernels.cpu.primitives.calls import VARIABLE as variable
    else:
        variable = ctypes.c_int64.in_dll(library, "gputok_known")
    if not variable.value:
        variable.value = _where(_for_ever(np.zeros((len(Known._fields), WORDS), np.int64)))
        _know(variable, numbers=_where(_for_ever(np.zeros(1, np.int64))))
    functions = {name: getattr(ctypes.pythonapi, name) for name in Known._fields if name.startswith("Py")}
    _know(variable, **{name: address_of(function) for name, function in functions.items()})
    constants = {"true": True, "false": False, "none": None, "zero": 0, "string": str}
    _know(variable, **{name: id(one) for name, one in constants.items()})
    _know(variable, call_name=address_of(ctypes.c_char_p(_CALL)), maker_name=address_of(ctypes.c_char_p(_MAKER)))
    items_of_list = object.__basicsize__ + ctypes.sizeof(ctypes.c_ssize_t)
    _know(variable, items_of_list=items_of_list, items_of_tuple=tuple.__basicsize__, kind=_CLASS)
    several, with_one = (code.encode_ids, code.encode_one, code.encode_each, code.claim), (code.list_ids, code.measure)
    made = [*(_builtin(one, _FASTCALL) for one in several), *(_builtin(one, _ONE) for one in with_one)]
    made.append(_builtin(code.take, _FASTCALL))
    return Builtins(*made, variable)


def _address(function: Any) -> int:
    """The address of a kernel that is a C function."""
    if choose().library is not None:
        return address_of(function)
    from gputok.kernels.cpu.jit import c_function

    return _for_ever(c_function(function)).address


@functools.cache
def _entry(kernel: Any) -> int:
    """The address of the entry (see kernels/wheel/entries.py) of a kernel whose arguments are numbers."""
    if choose().library is not None:
        return address_of(kernel.entry)

    n = len(kernel.declared)

    @ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.POINTER(ctypes.c_int64))
    def entry(slots: Any) -> int:  # uses no name of this module: they are gone when Python ends (see `_for_ever`)
        given = slots[:n]
        slots[0] = -1  # if the kernel raises an error
        slots[0] = kernel(*given)
        return 0

    return address_of(_for_ever(entry))


_SHARING = allocate_lock()


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


def new_call(kernel: Any, handle: int, longest: tuple[int, int], ids: np.ndarray) -> tuple[Handle, Any]:
    """Returns memory, which the caller keeps as long as the call, and the call: what `encode_ids` and `Maker` take.

    kernel: encodes short texts; handle: the address of its handle, which the caller keeps alive; longest: the most
    bytes of a text, without and with special tokens; ids: the array to which the kernel writes ids.
    """
    memory = Handle(CallRecord, entry=_entry(kernel), handle=handle, longest=longest, ids=ids)
    return memory, _capsule(memory, _CALL)


class TokenTexts(NamedTuple):
    """The texts of tokens, by their ids, for `Encoding.tokens`."""

    texts: list[str | None]
    """Made by `new_texts`. A text is None until it is asked for; then machine code makes it, if the id has a row."""
    rows: Any  # int32[the same number]: the row of each id, or -1
    data: Any  # uint8[], in UTF-8; row i is data[offsets[i]:offsets[i + 1]]
    offsets: Any  # int64[]


class ColumnCalls(NamedTuple):
    """What makes `Encoding.tokens` and `Encoding.offsets`; the caller keeps alive what `call` has the addresses of."""

    call: Any
    """A call that writes positions; it may share memory with the maker's own call."""
    begins: Any  # int64[], where that call writes them
    ends: Any
    before: tuple[int, int]  # the numbers of special tokens before a text, without and with special tokens
    after: tuple[int, int]
    spelling: TokenTexts
    trim: Any
    """The kernel that trims the positions of tokens first to last - 1, as a C function; None: Python does."""


class Maker:
    """What machine code needs to make encodings: objects of a class, of which it sets one attribute, a tuple.

    The tuple is (owner, ids, text, special, None, flags): the ids as bytes, special 1 with special tokens, else 0.

    Args:
        call: of `new_call`, which no other maker uses.
        kind: the class.
        attribute: the name of the attribute, a slot of the class.
        owner: the first item.
        flags: the last item, a small number.
        most: the largest number of ids, without and with special tokens.
        columns: what makes `tokens` and `offsets`; None: Python makes them.

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
        columns: ColumnCalls | None = None,
    ) -> None:
        slot = ctypes.pythonapi.PyType_GetSlot
        slot.argtypes, slot.restype = [ctypes.py_object, ctypes.c_int], ctypes.c_void_p
        # The owner refers to this maker: a reference back would keep both alive for ever. The others are kept here
        self._kept = kind, flags, columns
        self.fields = Handle(
            code.MakerRecord,
            call=_inside(call, _CALL),
            kind=id(kind),
            allocate=slot(kind, _ALLOCATE),
            offset=offset_of(kind, attribute),
            owner=id(owner),
            flag=(id(0), id(1)),
            none=id(None),
            flags=id(flags),
            most=most,
            gathered=np.empty(_GATHERED, np.uint32),  # of several texts, for `encode_each`
            starts=np.empty(code.GROUP, np.int64),
            sizes=np.empty(code.GROUP, np.int64),
        )
        if columns is not None:
            spelling = columns.spelling
            self.fields.put(
                positions=_inside(columns.call, _CALL),
                begins=columns.begins,
                ends=columns.ends,
                n_before=columns.before,
                n_after=columns.after,
                texts=id(spelling.texts),
                rows=spelling.rows,
                data=spelling.data,
                offsets=spelling.offsets,
                trim=0 if columns.trim is None else _entry(columns.trim),
            )
        self.address: Any = _capsule(self.fields, _MAKER)

    def release(self) -> None:
        """Lets others use a maker that was claimed."""
        self.fields.slots[0, 0] = 0


_ALLOCATE = 47  # Py_tp_alloc of typeslots.h
_CLASS = object.__basicsize__ - ctypes.sizeof(ctypes.c_void_p)  # where an object has the address of its class
_GATHERED = 1 << 16


def new_texts(n: int) -> list[str | None]:
    """A list of n times None, hidden from Python's garbage collector, as it will have nothing but None and texts."""
    texts: list[str | None] = [None] * n
    untrack = ctypes.pythonapi.PyObject_GC_UnTrack
    untrack.argtypes, untrack.restype = [ctypes.py_object], None
    untrack(texts)
    return texts


def _where(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]
