"""Builtin functions, which take and make Python's objects: an object is its address in Python's C interface.

Each is a C function; kernels/builtins.py makes functions and properties of Python of them, and says what they are for.
They call functions of Python's stable interface by their addresses. As those do, a function returns a new reference, or
0 when an error is set. Below, a *borrowed* object is one without a reference of its own. `ELSE`: Python must do it.

A new list or tuple is filled in its memory. The garbage collector, which any Python code can ask for all objects, must
not know a list while it has empty items and other objects are made that the collector counts: `_hidden`, then `_shown`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.handle import WORDS
from gputok.kernels.cpu.primitives.memory import (
    address_of,
    atomic_claim,
    atomic_load,
    atomic_release,
    atomic_store,
    call,
    copy,
    known_address,
    likely,
    places,
    prefetch,
    record_at,
    scratch,
    view,
)
from gputok.kernels.signatures import I32s, I64s, NamedTuple, U8s, U32s, i64

ELSE = -1
TAKEN = -3  # another thread uses the maker
GROUP = 256  # texts that `encode_each` encodes together
_GROUP_BYTES = 1 << 16
_LOCKED_BYTES = 1024  # other threads can run while a longer text is encoded
_AHEAD = 16  # items of a list
_WITH_POSITIONS = 2  # the flag of `encode_one.encode`
# The items of two tuples; see `Builtins.take_over` of kernels/builtins.py
OWNER, IDS, TEXT, SPECIAL, MORE, FLAGS = range(6)
VERSION, _, ADDRESS, FINISH = range(4)


_KNOWN = (
    # First what each text needs, in few cache lines. kind: where an object has its class; string: the class str
    *("kind", "string", "texts", "PyObject_GetAttr", "PyTuple_GetItem", "items_of_tuple", "items_of_list"),
    *("versions", "zero", "PyCapsule_GetPointer", "maker_name", "PyUnicode_AsUTF8AndSize", "PyBytes_FromStringAndSize"),
    *("PyTuple_New", "Py_IncRef", "PyObject_GC_UnTrack", "Py_DecRef"),
    # numbers: the address of int64[1 + n]: n, and the objects of the numbers below n, or 0: not made yet
    *("later", "none", "PyBytes_AsStringAndSize", "PyList_New", "numbers", "PyLong_FromLongLong", "address"),
    *("PyErr_Clear", "PyEval_RestoreThread", "PyEval_SaveThread", "PyList_GetItem", "PyList_Size", "PyLong_AsLongLong"),
    *("PyObject_GC_Track", "PyObject_Vectorcall", "PyTuple_SetItem", "PyTuple_Size", "PyUnicode_FromStringAndSize"),
    *("PyUnicode_GetLength", "add_special_tokens", "true", "false", "call_name"),
    *("PyErr_Occurred", "PyIter_Next", "PyList_Append"),
    *("encode", "ids", "tokens", "offsets"),  # what Python has in place of functions below
)
_FIELDS = {"__annotations__": dict.fromkeys(_KNOWN, int), "__module__": __name__}
Known: Any = type(NamedTuple)("Known", (NamedTuple,), _FIELDS)
"""What a process knows: addresses of functions by their names, and of objects; and where in an object is what."""


class Two(NamedTuple):
    """A number for texts without special tokens, and for texts with them."""

    plain: int
    special: int


class CallRecord(NamedTuple):
    """A kernel that encodes short texts, and its memory."""

    entry: int  # the C function, of slots: see kernels/wheel/entries.py
    handle: int
    longest: Two  # bytes of a text
    ids: U32s  # which the kernel writes


class MakerRecord(NamedTuple):
    """What makes encodings."""

    busy: int  # 1: a thread uses what is here; the first field
    call: int  # the address of a `CallRecord`
    kind: int  # the class of encodings, the function that allocates one, and the offset of its attribute
    allocate: int
    offset: int
    owner: int  # the items of the attribute
    flag: Two
    none: int
    flags: int
    most: Two  # ids of an encoding
    gathered: U32s  # the ids of a group of texts
    starts: I64s  # of each text of a group, the address of its UTF-8, and its bytes
    sizes: I64s
    # For `tokens` and `offsets`
    positions: int  # the address of the `CallRecord` that writes positions, ...
    begins: I64s  # ... here
    ends: I64s
    n_before: Two  # special tokens before a text, and after it
    n_after: Two
    texts: int  # a list of the texts of tokens, or None; 0: Python makes attributes
    rows: I32s  # the row of each id in the vocabulary, or -1
    data: U8s
    offsets: I64s
    trim: int  # the entry of the kernel that trims positions; 0: Python makes them


# ---- memory of objects


@kernel(inline=True)
def _known():
    return record_at(known_address(), Known)


@kernel(inline=True)
def _words(address, n):
    """A view of the n words at an address."""
    return view((address, 8 * n), np.int64)


@kernel(inline=True)
def _of_two(two, special):
    """A number of a `Two`."""
    return _words(address_of(two), 2 * WORDS)[WORDS * special]


@kernel(inline=True)
def _items_of_list(known, some, n):
    return _words(_words(some + known.items_of_list, 1)[0], n)


@kernel(inline=True)
def _items_of_tuple(known, some, n):
    return _words(some + known.items_of_tuple, n)


@kernel(inline=True)
def _item_of(known, some, i):
    """Item i of a tuple that has more than i items, borrowed."""
    return _items_of_tuple(known, some, i + 1)[i]


@kernel(inline=True)
def _is_str(known, some):
    """Whether an object is a str, and of no other class."""
    return _words(some + known.kind, 1)[0] == known.string


@kernel(inline=True)
def _shared(known, some):
    """An object with one reference more."""
    call(known.Py_IncRef, some)
    return some


@kernel(inline=True)
def _hidden(known, n):
    """A new list of n empty items that the garbage collector does not know; or 0."""
    made = call(known.PyList_New, n)
    if made != 0:
        call(known.PyObject_GC_UnTrack, made)
    return made


@kernel(inline=True)
def _shown(known, some):
    """That list, when it has all items."""
    call(known.PyObject_GC_Track, some)
    return some


@kernel
def _first_number(known, slots, value):
    """The object of a number that the table of shared objects has not yet: it goes there, too."""
    fresh = call(known.PyLong_FromLongLong, value)
    if fresh != 0:
        call(known.Py_IncRef, fresh)
        if not atomic_claim(slots, 1 + value, 0, fresh):
            call(known.Py_DecRef, fresh)
    return fresh


@kernel(inline=True)
def _slots(known):
    """The table of shared numbers: how many, and the object of each, or 0. Another thread may replace it."""
    table = known.numbers
    return _words(table, 1 + _words(table, 1)[0])


@kernel(inline=True)
def _number(known, slots, value):
    """The object of a number, shared if the table has room for it."""
    if likely(0 <= value < slots[0]):
        found = atomic_load(slots, 1 + value)
        return _shared(known, found) if likely(found != 0) else _first_number(known, slots, value)
    return call(known.PyLong_FromLongLong, value)


@kernel(inline=True)
def _ids_in(known, raw):
    """A view of the ids in a bytes object, and their number; -1: an error."""
    found = places()
    failed = np.int32(call(known.PyBytes_AsStringAndSize, raw, address_of(found), address_of(found) + 8)) != 0
    return view((found[0], found[1]), np.uint32), -1 if failed else found[1] >> 2


@kernel
def _list_of(known, raw):
    """The list of the ids in a bytes object that the caller keeps; nothing else that the collector counts is made."""
    ids, n = _ids_in(known, raw)
    if n < 0:
        return 0
    slots = _slots(known)
    n_shared = slots[0]
    share, number = known.Py_IncRef, known.PyLong_FromLongLong
    made = call(known.PyList_New, n)
    if made == 0:
        return 0
    items, i = _items_of_list(known, made, n), 0
    while i < n:  # `range` would keep a second number in a register
        soon = np.int64(ids[i + _AHEAD if i + _AHEAD < n else i])
        if soon < n_shared:
            prefetch(_words(slots[1 + soon], 1), 0)
        value = np.int64(ids[i])
        one = atomic_load(slots, 1 + value) if likely(value < n_shared) else 0
        if likely(one != 0):
            call(share, one)
        else:
            one = _first_number(known, slots, value) if value < n_shared else call(number, value)
            if one == 0:
                call(known.Py_DecRef, made)
                return 0
        items[i] = one
        i += 1
    return made


@kernel(i64, i64, c=True)
def list_ids(_self, raw):
    """A list of ids."""
    return _list_of(_known(), raw)


@kernel(i64, i64, c=True)
def measure(_self, texts):
    """The number of characters of a list of texts; -1: not all are str."""
    known, sum = _known(), 0
    for i in range(call(known.PyList_Size, texts)):
        text = call(known.PyList_GetItem, texts, i)
        if text == 0:
            return 0
        if not _is_str(known, text):
            sum = -1
            break
        sum += call(known.PyUnicode_GetLength, text)
    return call(known.PyLong_FromLongLong, sum)


@kernel(i64, i64, i64, c=True)
def take(_self, arguments, _count):
    """(iterator, list, n) -> what is left of n. Appends items to the list, until they fill n or one is no str."""
    known, given = _known(), _words(arguments, 3)
    items, taken, left = given[0], given[1], _number_of(known, given[2])
    is_str = True
    while is_str and left > 0:
        item = call(known.PyIter_Next, items)
        if item == 0:
            if call(known.PyErr_Occurred) != 0:
                return 0
            break
        is_str = _is_str(known, item)
        if is_str:
            left -= 1 + call(known.PyUnicode_GetLength, item)
        failed = np.int32(call(known.PyList_Append, taken, item)) != 0
        call(known.Py_DecRef, item)
        if failed:
            return 0
    return call(known.PyLong_FromLongLong, left)


# ---- arguments


@kernel(inline=True)
def _number_of(known, some):
    """A number, of which any value does no harm: it becomes no address. The error of another object stays set."""
    return call(known.PyLong_AsLongLong, some)


@kernel(inline=True)
def _maker_at(known, some):
    """The address of the `MakerRecord` that an object is for; 0 for the object 0, and for any other object."""
    found = 0
    if some != known.zero:
        found = call(known.PyCapsule_GetPointer, some, known.maker_name)
        if found == 0:
            call(known.PyErr_Clear)
    return found


# ---- encoding


@kernel(inline=True)
def _run(work, begin, size, flags):
    """Encodes the text at an address by a kernel, without Python's lock: the number of ids, or a negative number."""
    if size > _of_two(work.longest, flags & 1):
        return -1
    slots = places()
    slots[0], slots[1], slots[2], slots[3] = work.handle, begin, size, flags
    code = np.int32(call(work.entry, address_of(slots)))
    return slots[0] if code == 0 else -1


@kernel(inline=True)
def _run_freely(known, work, begin, size, flags):
    """The same; other threads can run while a long text is encoded."""
    if size <= _LOCKED_BYTES:
        return _run(work, begin, size, flags)
    state = call(known.PyEval_SaveThread)
    n = _run(work, begin, size, flags)
    call(known.PyEval_RestoreThread, state)
    return n


@kernel(inline=True)
def _copied(known, ids, n):
    """The n ids at an address, uint32 in a bytes object; if n is negative, n as an object."""
    if n >= 0:
        return call(known.PyBytes_FromStringAndSize, ids, n << 2)
    return call(known.PyLong_FromLongLong, n)


@kernel(inline=True)
def _ids_of(known, work, text, flags):
    """The ids of a text, as `_copied` gives them, and their number."""
    size = places()
    begin = call(known.PyUnicode_AsUTF8AndSize, text, address_of(size))
    if begin == 0:
        return 0, -1
    n = _run_freely(known, work, begin, size[0], flags)
    return _copied(known, address_of(work.ids), n), n


@kernel(i64, i64, i64, c=True)
def encode_ids(_self, arguments, _count):
    """The ids of a text: (call, text, flags)."""
    known, given = _known(), _words(arguments, 3)
    work = call(known.PyCapsule_GetPointer, given[0], known.call_name)
    if work == 0:
        return 0
    return _ids_of(known, record_at(work, CallRecord), given[1], _number_of(known, given[2]))[0]


@kernel(inline=True)
def _is_taken(maker):
    """Whether another thread uses the maker; if not, the caller may use it now, until it releases it."""
    return atomic_store(_words(address_of(maker), 1), 0, 1) != 0


@kernel(inline=True)
def _release(maker):
    atomic_release(_words(address_of(maker), 1), 0, 0)


@kernel(inline=True)
def _wrapped(known, maker, text, special, ids, n):
    """An encoding, and True; or, and False, an object that says why there is none, or 0. ids, n: of `_ids_of`.

    Python's garbage collector need not look at the tuple: only the encoding has it, to which it does not refer.
    """
    if n < 0 or n > _of_two(maker.most, special) or ids == 0:
        return ids, False
    made = call(known.PyTuple_New, FLAGS + 1)
    if made == 0:
        call(known.Py_DecRef, ids)
        return 0, False
    items = _items_of_tuple(known, made, FLAGS + 1)
    items[OWNER] = _shared(known, maker.owner)
    items[IDS] = ids
    items[TEXT] = _shared(known, text)
    items[SPECIAL] = _shared(known, _of_two(maker.flag, special))
    items[MORE] = _shared(known, maker.none)
    items[FLAGS] = _shared(known, maker.flags)
    encoding = call(maker.allocate, maker.kind, 0)
    if encoding == 0:
        call(known.Py_DecRef, made)
        return 0, False
    call(known.PyObject_GC_UnTrack, made)
    _words(encoding + maker.offset, 1)[0] = made
    return encoding, True


@kernel(inline=True)
def _encoding_of(known, maker, text, special):
    """The encoding of a text, as `_wrapped` gives it."""
    if _is_taken(maker):
        return call(known.PyLong_FromLongLong, TAKEN), False
    ids, n = _ids_of(known, record_at(maker.call, CallRecord), text, special)
    _release(maker)
    return _wrapped(known, maker, text, special, ids, n)


@kernel(i64, i64, i64, c=True)
def encode_one(_self, arguments, _count):
    """The encoding of a text: (maker, text, special)."""
    known, given = _known(), _words(arguments, 3)
    maker = call(known.PyCapsule_GetPointer, given[0], known.maker_name)
    if maker == 0:
        return 0
    special = _number_of(known, given[2]) & 1
    return _encoding_of(known, record_at(maker, MakerRecord), given[1], special)[0]


@kernel(i64, i64, i64, c=True)
def claim(_self, arguments, _count):
    """Whether the maker is in use: (maker). It is from now on."""
    known = _known()
    maker = call(known.PyCapsule_GetPointer, _words(arguments, 1)[0], known.maker_name)
    if maker == 0:
        return 0
    return call(known.PyLong_FromLongLong, np.int64(_is_taken(record_at(maker, MakerRecord))))


@kernel(inline=True)
def _collect(known, maker, texts, first, n):
    """Notes where texts are from `first` on: up to GROUP, or 64 KB. -> how many, their bytes; 0: one is no text."""
    size, k, sum = places(), 0, 0
    begins, sizes = maker.starts, maker.sizes
    while first + k < n and k < GROUP and sum < _GROUP_BYTES:
        text = call(known.PyList_GetItem, texts, first + k)
        begin = call(known.PyUnicode_AsUTF8AndSize, text, address_of(size)) if text != 0 else 0
        if begin == 0:
            return 0, 0
        begins[k], sizes[k] = begin, size[0]
        sum += size[0]
        k += 1
    return k, sum


@kernel(inline=True)
def _encode_group(maker, work, n, special):
    """Encodes the texts of a group, and gathers their ids, until there is no room for those of one. -> how many texts.

    The sizes of texts become their numbers of ids; the ids of the last text may stay where the kernel wrote them.
    """
    written, gathered, used, begins, sizes = work.ids, maker.gathered, 0, maker.starts, maker.sizes
    for i in range(n):
        sizes[i] = _run(work, begins[i], sizes[i], special)
        n_ids = max(sizes[i], 0)
        if used + n_ids > len(gathered):
            return i + 1
        copy(gathered, used, written, 0, n_ids)
        used += n_ids
    return n


@kernel(inline=True)
def _put_group(known, maker, work, texts, first, n, special, items):
    """Puts what is found for n texts of a group into a list. -> 2: encodings, 1: not encodings alone, 0: an error."""
    result, used, gathered, counts = 2, 0, maker.gathered, maker.sizes
    texts = _items_of_list(known, texts, first + n)
    for i in range(n):
        where = address_of(gathered) + 4 * used
        used += max(counts[i], 0)
        ids = _copied(known, where if used <= len(gathered) else address_of(work.ids), counts[i])
        one, is_encoding = _wrapped(known, maker, texts[first + i], special, ids, counts[i])
        if one == 0:
            return 0
        if not is_encoding:
            result = 1
        items[first + i] = one
    return result


@kernel(i64, i64, i64, c=True)
def encode_each(_self, arguments, _count):
    """A list of encodings; if not all are encodings, a tuple with the list: (maker, texts, n, special, least).

    Without Python's lock for groups of more than `least` bytes: no thread changes the list, and a str keeps its UTF-8.
    """
    known, given = _known(), _words(arguments, 5)
    address = call(known.PyCapsule_GetPointer, given[0], known.maker_name)
    if address == 0:
        return 0
    maker, texts = record_at(address, MakerRecord), given[1]
    n, special, least = _number_of(known, given[2]), _number_of(known, given[3]) & 1, _number_of(known, given[4])
    work, made = record_at(maker.call, CallRecord), _hidden(known, n)
    if made == 0:
        return 0
    items, first, least_result = _items_of_list(known, made, n), 0, 2
    while first < n and least_result != 0:
        k, result = 1, 1
        if _is_taken(maker):
            items[first] = call(known.PyLong_FromLongLong, TAKEN)
            if items[first] == 0:
                result = 0
        else:
            k, n_bytes = _collect(known, maker, texts, first, n)
            state = call(known.PyEval_SaveThread) if n_bytes > least else 0
            k = _encode_group(maker, work, k, special)
            if state != 0:
                call(known.PyEval_RestoreThread, state)
            result = _put_group(known, maker, work, texts, first, k, special, items) if k > 0 else 0
            _release(maker)
        least_result = min(least_result, result)
        first += k
    if least_result == 2:
        return _shown(known, made)
    enclosing = call(known.PyTuple_New, 1) if least_result != 0 else 0
    if enclosing == 0:
        call(known.Py_DecRef, made)
        return 0
    call(known.PyTuple_SetItem, enclosing, 0, _shown(known, made))
    return enclosing


# ---- the method Tokenizer.encode


@kernel(inline=True)
def _n_names(known, names):
    return call(known.PyTuple_Size, names) if names != 0 else 0


@kernel
def _encode_in_python(known, tokenizer, arguments, count, names):
    """What the method in Python returns."""
    n = count + _n_names(known, names)
    given, all_given = _words(arguments, n), scratch(n + 1, np.int64)
    all_given[0] = tokenizer
    copy(all_given, 1, given, 0, n)
    found = call(known.PyObject_Vectorcall, known.encode, address_of(all_given), count + 1, names)
    all_given[0] = 0  # memory is freed after its last use, and an address is none
    return found


@kernel(inline=True)
def _special_of(known, arguments, count, names):
    """The option add_special_tokens of a call with a str, and perhaps this option; ELSE: other arguments."""
    if count != 1 or not _is_str(known, _words(arguments, 1)[0]):
        return ELSE
    if names == 0:
        return 1
    if _n_names(known, names) != 1 or _item_of(known, names, 0) != known.add_special_tokens:
        return ELSE
    value = _words(arguments, 2)[1]
    if value == known.true:
        return 1
    return 0 if value == known.false else ELSE


@kernel(inline=True)
def _encode_by(known, state, text, special):
    """The encoding of a text by the maker in the attribute `_texts` of a tokenizer; or ELSE."""
    finisher = call(known.PyTuple_GetItem, state, FINISH)
    if finisher == 0:
        return 0
    if _item_of(known, state, VERSION) != _items_of_list(known, known.versions, 1)[0]:
        return ELSE
    address = _maker_at(known, _item_of(known, state, ADDRESS))
    if address == 0:
        return ELSE
    maker = record_at(address, MakerRecord)
    found, is_encoding = _encoding_of(known, maker, text, special)
    if is_encoding or found == 0:
        return found
    given = places()
    given[0], given[1], given[2] = found, text, _of_two(maker.flag, special)
    finished = call(known.PyObject_Vectorcall, finisher, address_of(given), 3, 0)
    call(known.Py_DecRef, found)
    if finished == known.none:
        call(known.Py_DecRef, finished)
        return ELSE
    return finished


@kernel(i64, i64, i64, i64, c=True)
def encode(tokenizer, arguments, count, names):
    """The method Tokenizer.encode: a str, perhaps with add_special_tokens=, is encoded here."""
    known = _known()
    special = _special_of(known, arguments, count, names)
    if special != ELSE:
        state = call(known.PyObject_GetAttr, tokenizer, known.texts)
        if state == 0:
            return 0
        found = _encode_by(known, state, _words(arguments, 1)[0], special)
        call(known.Py_DecRef, state)
        if found != ELSE:
            return found
    return _encode_in_python(known, tokenizer, arguments, count, names)


# ---- properties of Encoding


@kernel(inline=True)
def _later_of(known, encoding):
    """The tuple `_later` of an encoding, borrowed, with six items or more; 0: Python must make its attributes."""
    later = _words(encoding + known.later, 1)[0]
    if later == 0 or later == known.none:
        return 0
    flags = call(known.PyTuple_GetItem, later, FLAGS)
    if flags == 0:
        call(known.PyErr_Clear)
    return later if flags == known.zero else 0


@kernel(inline=True)
def _maker_of(known, later):
    """The address of the `MakerRecord` of the owner in a tuple `_later`; the owner keeps it alive. 0: there is none."""
    some, found = call(known.PyObject_GetAttr, _item_of(known, later, OWNER), known.address), 0
    if some == 0:
        call(known.PyErr_Clear)
    else:
        found = _maker_at(known, some)
        call(known.Py_DecRef, some)
    return found


@kernel(inline=True)
def _attribute(known, encoding, of, in_python):
    """What of(known, later) gives; for ELSE, and if there is no `_later`, what the property in Python returns."""
    later, found, given = _later_of(known, encoding), ELSE, places()
    if later != 0:
        call(known.Py_IncRef, later)
        found = of(known, later)
        call(known.Py_DecRef, later)
    if found != ELSE:
        return found
    given[0] = encoding
    return call(known.PyObject_Vectorcall, in_python, address_of(given), 1, 0)


@kernel(inline=True)
def _ids(known, later):
    return _list_of(known, _item_of(known, later, IDS))


@kernel(inline=True)
def _token(known, maker, slots, n, id):
    """The text of a token, borrowed from the list of texts, which keeps a new one; 0: an error; or ELSE.

    The list never changes its length, and no other thread can run meanwhile.
    """
    if id >= n:
        return ELSE
    found = slots[id]
    if found != known.none:
        return found
    row = np.int64(maker.rows[id])
    if row < 0:
        return ELSE
    begin = maker.offsets[row]
    where = address_of(maker.data) + begin
    fresh = call(known.PyUnicode_FromStringAndSize, where, maker.offsets[row + 1] - begin)
    if fresh != 0:
        slots[id] = fresh
        call(known.Py_DecRef, known.none)
    return fresh


@kernel(inline=True)
def _tokens(known, later):
    """The list of the tokens of a tuple `_later`, if a `MakerRecord` has the texts of all, or their rows; or ELSE."""
    address = _maker_of(known, later)
    if address == 0:
        return ELSE
    maker = record_at(address, MakerRecord)
    if maker.texts == 0:
        return ELSE
    ids, n = _ids_in(known, _item_of(known, later, IDS))
    if n < 0:
        return 0
    n_known = call(known.PyList_Size, maker.texts)
    slots = _items_of_list(known, maker.texts, n_known)
    made = call(known.PyList_New, n)
    if made == 0:
        return 0
    items = _items_of_list(known, made, n)
    for i in range(n):
        one = _token(known, maker, slots, n_known, np.int64(ids[i]))
        if one == 0 or one == ELSE:
            call(known.Py_DecRef, made)
            return one
        items[i] = _shared(known, one)
    return made


@kernel(inline=True)
def _put_positions(known, maker, begin, size, special):
    """Writes the positions of a text's tokens, trimmed, to a claimed `MakerRecord`. -> how many, or below 0."""
    work = record_at(maker.positions, CallRecord)
    n = _run_freely(known, work, begin, size, special | _WITH_POSITIONS)
    if n < 0:
        return n
    slots = places()
    slots[0], slots[1], slots[2] = work.handle, _of_two(maker.n_before, special), n - _of_two(maker.n_after, special)
    code = np.int32(call(maker.trim, address_of(slots)))
    return n if code == 0 and slots[0] >= 0 else -1


@kernel(inline=True)
def _pair(known, slots, first, second):
    """A tuple of two numbers, at which Python's garbage collector need not look; or 0."""
    made = call(known.PyTuple_New, 2)
    if made == 0:
        return 0
    items, a = _items_of_tuple(known, made, 2), _number(known, slots, first)
    b = _number(known, slots, second) if likely(a != 0) else 0
    items[0], items[1] = a, b
    if likely(b != 0):
        call(known.PyObject_GC_UnTrack, made)
        return made
    call(known.Py_DecRef, made)
    return 0


@kernel(inline=True)
def _offsets(known, later):
    """The list of the offsets of a tuple `_later`, if its `MakerRecord` trims positions and is not in use; or ELSE."""
    address = _maker_of(known, later)
    if address == 0:
        return ELSE
    maker, flag = record_at(address, MakerRecord), _item_of(known, later, SPECIAL)
    special = np.int64(flag == _of_two(maker.flag, 1))
    if maker.trim == 0 or flag != _of_two(maker.flag, special):
        return ELSE
    size = places()
    begin = call(known.PyUnicode_AsUTF8AndSize, _item_of(known, later, TEXT), address_of(size))
    if begin == 0:
        return 0
    if _is_taken(maker):
        return ELSE
    n = _put_positions(known, maker, begin, size[0], special)
    if n < 0:
        _release(maker)
        return ELSE
    made = _hidden(known, n)
    if made != 0:
        items, slots, begins, ends = _items_of_list(known, made, n), _slots(known), maker.begins, maker.ends
        for i in range(n):
            pair = _pair(known, slots, begins[i], ends[i])
            if pair == 0:
                call(known.Py_DecRef, made)
                made = 0
                break
            items[i] = pair
    _release(maker)
    return _shown(known, made) if made != 0 else 0


@kernel(i64, i64, c=True)
def ids(encoding, _closure):
    """The property Encoding.ids: a list of ids without padding is made here."""
    known = _known()
    return _attribute(known, encoding, _ids, known.ids)


@kernel(i64, i64, c=True)
def tokens(encoding, _closure):
    """The property Encoding.tokens."""
    known = _known()
    return _attribute(known, encoding, _tokens, known.tokens)


@kernel(i64, i64, c=True)
def offsets(encoding, _closure):
    """The property Encoding.offsets."""
    known = _known()
    return _attribute(known, encoding, _offsets, known.offsets)
