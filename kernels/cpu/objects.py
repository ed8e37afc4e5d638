"""The machine code of builtin functions: kernels that take and make Python's objects, each given by its address.

A kernel with `c=True` is a C function. kernels/builtins.py makes Python functions and properties of these kernels, and
says what they are for. The kernels call functions of Python's stable C interface by their addresses. As those do, a
kernel returns a new reference, or 0 when an error is set. A *borrowed* object is returned without a new reference.
`ELSE` as a result means that the kernel can't do the work, and the version in Python must.

The kernels write the items of a new list or tuple straight into its memory. If they meanwhile make objects that the
garbage collector counts, it may run, and Python code with it, which could get the unfinished list: `gc.get_objects()`.
So `_hidden` makes a list that the garbage collector does not know, and `_shown` makes the full list known to it.
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
TAKEN = -3  # a result in place of an encoding: another thread uses the `MakerRecord`
GROUP = 256  # the most texts that `encode_each` encodes before it makes objects of their ids
_GROUP_BYTES = 1 << 16
_LOCKED_BYTES = 1024  # for a longer text, `_run_freely` releases Python's lock
_AHEAD = 16  # `_list_of` prefetches the number object that it needs this many items later
_WITH_POSITIONS = 2  # the flag POSITIONS of encode_one/encode.py
# The items of the tuple `_later` of an encoding, and of the tuple `_texts` of a tokenizer; `Builtins.take_over` of
# kernels/builtins.py explains them
OWNER, IDS, TEXT, SPECIAL, MORE, FLAGS = range(6)
VERSION, _, ADDRESS, FINISH = range(4)


_KNOWN = (
    # First what each text needs, in few cache lines. kind: the offset of the class in an object; string: the class str
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
"""The one record of the process: addresses of C functions (by their names) and of objects, and offsets in objects."""


class Two(NamedTuple):
    """Two numbers: one for texts that are encoded without special tokens, one for texts with them."""

    plain: int
    special: int


class CallRecord(NamedTuple):
    """A kernel that encodes short texts, and its memory."""

    entry: int  # the C function of the kernel, which takes an array of slots: see kernels/wheel/entries.py
    handle: int  # the address of the kernel's handle, its first argument
    longest: Two  # the most bytes of a text
    ids: U32s  # where the kernel writes the ids


class MakerRecord(NamedTuple):
    """What machine code needs to make objects of the class `Encoding`: a `builtins.Maker` writes it."""

    busy: int  # 1: a thread uses this record; must be the first field, for `_is_taken`
    call: int  # the address of a `CallRecord`
    kind: int  # the class of encodings
    allocate: int  # the C function that allocates an encoding
    offset: int  # where an encoding has its attribute `_later`, a tuple
    owner: int  # objects that become items of the tuple, as are flag, none and flags; see `_wrapped`
    flag: Two
    none: int
    flags: int
    most: Two  # the most ids of an encoding
    gathered: U32s  # the ids of a group of texts, one text after the other
    starts: I64s  # for each text of a group, the address of its UTF-8
    sizes: I64s  # for each text of a group, its bytes; after it is encoded, its number of ids, or below 0
    # The fields from here on make the attributes `tokens` and `offsets` of an encoding
    positions: int  # the address of the `CallRecord` that writes positions, ...
    begins: I64s  # ... here
    ends: I64s
    n_before: Two  # special tokens before a text
    n_after: Two  # special tokens after a text
    texts: int  # a list that has for each id the text of its token, or None; 0: Python makes the attributes
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
    """The number of a `Two` for texts without special tokens (special: 0) or with them (1)."""
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
    """Whether the class of an object is str itself, not a subclass."""
    return _words(some + known.kind, 1)[0] == known.string


@kernel(inline=True)
def _shared(known, some):
    """The same object, with one reference more."""
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
    """A list of `_hidden` that has all its items: from now on, the garbage collector knows it."""
    call(known.PyObject_GC_Track, some)
    return some


@kernel
def _first_number(known, slots, value):
    """A new object of a number, which goes into the table of shared numbers, unless another thread was faster."""
    fresh = call(known.PyLong_FromLongLong, value)
    if fresh != 0:
        call(known.Py_IncRef, fresh)
        if not atomic_claim(slots, 1 + value, 0, fresh):
            call(known.Py_DecRef, fresh)
    return fresh


@kernel(inline=True)
def _slots(known):
    """A view of the table of shared numbers (see `Known`); another thread may replace the table by a larger one."""
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
    """A view of the ids (uint32) in a bytes object, and their number; -1 as number: an error is set."""
    found = places()
    failed = np.int32(call(known.PyBytes_AsStringAndSize, raw, address_of(found), address_of(found) + 8)) != 0
    return view((found[0], found[1]), np.uint32), -1 if failed else found[1] >> 2


@kernel
def _list_of(known, raw):
    """The list of the ids in a bytes object that the caller keeps; not hidden, as the collector counts no ints."""
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
    """(bytes object of ids) -> the list of these ids."""
    return _list_of(_known(), raw)


@kernel(i64, i64, c=True)
def measure(_self, texts):
    """(list of texts) -> the number of their characters together; -1: not all are str."""
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
    """(iterator, list, n) -> what is left of n. Appends items to the list until n is used up; see `Builtins.take`."""
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
    """The int64 of an int object; of another object, -1 and an error. No address: users may pass any number."""
    return call(known.PyLong_AsLongLong, some)


@kernel(inline=True)
def _maker_at(known, some):
    """The address of the `MakerRecord` in a capsule, as `Maker.address` is; 0 for the int 0 and any other object."""
    found = 0
    if some != known.zero:
        found = call(known.PyCapsule_GetPointer, some, known.maker_name)
        if found == 0:
            call(known.PyErr_Clear)
    return found


# ---- encoding


@kernel(inline=True)
def _run(work, begin, size, flags):
    """Encodes size bytes at `begin`; needs no lock of Python. -> the number of ids; below 0: it can't encode them."""
    if size > _of_two(work.longest, flags & 1):
        return -1
    slots = places()
    slots[0], slots[1], slots[2], slots[3] = work.handle, begin, size, flags
    code = np.int32(call(work.entry, address_of(slots)))
    return slots[0] if code == 0 else -1


@kernel(inline=True)
def _run_freely(known, work, begin, size, flags):
    """Does what `_run` does, and lets other threads run while a text of more than _LOCKED_BYTES is encoded."""
    if size <= _LOCKED_BYTES:
        return _run(work, begin, size, flags)
    state = call(known.PyEval_SaveThread)
    n = _run(work, begin, size, flags)
    call(known.PyEval_RestoreThread, state)
    return n


@kernel(inline=True)
def _copied(known, ids, n):
    """A bytes object with a copy of the n ids (uint32) at an address; if n is negative, an int object of n."""
    if n >= 0:
        return call(known.PyBytes_FromStringAndSize, ids, n << 2)
    return call(known.PyLong_FromLongLong, n)


@kernel(inline=True)
def _ids_of(known, work, text, flags):
    """The ids of a text as an object of `_copied` (or 0: an error), and their number, or below 0."""
    size = places()
    begin = call(known.PyUnicode_AsUTF8AndSize, text, address_of(size))
    if begin == 0:
        return 0, -1
    n = _run_freely(known, work, begin, size[0], flags)
    return _copied(known, address_of(work.ids), n), n


@kernel(i64, i64, i64, c=True)
def encode_ids(_self, arguments, _count):
    """(call, text, flags) -> the ids of the text, or a negative number, as objects of `_copied`."""
    known, given = _known(), _words(arguments, 3)
    work = call(known.PyCapsule_GetPointer, given[0], known.call_name)
    if work == 0:
        return 0
    return _ids_of(known, record_at(work, CallRecord), given[1], _number_of(known, given[2]))[0]


@kernel(inline=True)
def _is_taken(maker):
    """Whether another thread uses the maker; if not, the maker is this thread's now, until `_release`."""
    return atomic_store(_words(address_of(maker), 1), 0, 1) != 0


@kernel(inline=True)
def _release(maker):
    atomic_release(_words(address_of(maker), 1), 0, 0)


@kernel(inline=True)
def _wrapped(known, maker, text, special, ids, n):
    """Makes an encoding of ids and n, the two results of `_ids_of`. -> (object, whether it is an encoding).

    If n is below 0 or too large for the maker, the object is `ids` itself; 0: an error. The tuple that the encoding
    gets is hidden from the garbage collector: it is in no reference cycle, as nothing in it refers to the encoding.
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
    """The encoding of a text, or TAKEN or another object in its place, with True or False as in `_wrapped`."""
    if _is_taken(maker):
        return call(known.PyLong_FromLongLong, TAKEN), False
    ids, n = _ids_of(known, record_at(maker.call, CallRecord), text, special)
    _release(maker)
    return _wrapped(known, maker, text, special, ids, n)


@kernel(i64, i64, i64, c=True)
def encode_one(_self, arguments, _count):
    """(maker, text, special) -> the encoding of the text, or an object in its place; see `_encoding_of`."""
    known, given = _known(), _words(arguments, 3)
    maker = call(known.PyCapsule_GetPointer, given[0], known.maker_name)
    if maker == 0:
        return 0
    special = _number_of(known, given[2]) & 1
    return _encoding_of(known, record_at(maker, MakerRecord), given[1], special)[0]


@kernel(i64, i64, i64, c=True)
def claim(_self, arguments, _count):
    """(maker) -> 1 if another thread uses the maker; else 0, and from now on the caller has it."""
    known = _known()
    maker = call(known.PyCapsule_GetPointer, _words(arguments, 1)[0], known.maker_name)
    if maker == 0:
        return 0
    return call(known.PyLong_FromLongLong, np.int64(_is_taken(record_at(maker, MakerRecord))))


@kernel(inline=True)
def _collect(known, maker, texts, first, n):
    """Writes the addresses and sizes of texts[first:] to `starts` and `sizes`, until they are GROUP texts or 64 KB.

    Returns how many texts these are, and their bytes; 0, 0 with an error set: one is no text.
    """
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
    """Encodes the first n texts of `starts` and `sizes`, and copies their ids to `gathered`. -> how many are encoded.

    In `sizes`, the number of ids of each text replaces its bytes. If the ids of a text don't fit into `gathered`, it is
    the last one that is encoded, and its ids stay in `work.ids`.
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
    """Puts the encoding of each text, or what is in its place, into a list. -> 2: all encodings, 1: not, 0: error."""
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
    """(maker, texts, n, special, least) -> a list of encodings; if not all are encodings, a tuple with that list.

    While a group of more than `least` bytes is encoded, other threads can run. Its addresses stay valid: no other
    thread changes the list `texts`, and a str keeps its UTF-8 as long as it lives.
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
    """Calls the method `encode` of the class in Python with the same arguments, and returns its result."""
    n = count + _n_names(known, names)
    given, all_given = _words(arguments, n), scratch(n + 1, np.int64)
    all_given[0] = tokenizer
    copy(all_given, 1, given, 0, n)
    found = call(known.PyObject_Vectorcall, known.encode, address_of(all_given), count + 1, names)
    all_given[0] = 0  # a use of the view, without which it would be freed before the call: an address keeps nothing
    return found


@kernel(inline=True)
def _special_of(known, arguments, count, names):
    """The option add_special_tokens, 0 or 1, if a call has a str and at most this option; else ELSE."""
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
    """The encoding of a text by the maker in `state`, the attribute `_texts` of a tokenizer; or ELSE."""
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
    """The method Tokenizer.encode: encodes a str, given alone or with add_special_tokens=; else calls Python's."""
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
    """The tuple `_later` of an encoding, borrowed, if its item FLAGS is 0; else 0: Python must make the attributes."""
    later = _words(encoding + known.later, 1)[0]
    if later == 0 or later == known.none:
        return 0
    flags = call(known.PyTuple_GetItem, later, FLAGS)
    if flags == 0:
        call(known.PyErr_Clear)
    return later if flags == known.zero else 0


@kernel(inline=True)
def _maker_of(known, later):
    """The address of the `MakerRecord` of the owner in a tuple `_later`, which keeps the record alive; 0: none."""
    some, found = call(known.PyObject_GetAttr, _item_of(known, later, OWNER), known.address), 0
    if some == 0:
        call(known.PyErr_Clear)
    else:
        found = _maker_at(known, some)
        call(known.Py_DecRef, some)
    return found


@kernel(inline=True)
def _attribute(known, encoding, of, in_python):
    """What of(known, later) returns; if that is ELSE, or `_later_of` finds no tuple, what the getter in Python does."""
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
    """The str of a token, borrowed: item `id` of the list `maker.texts`, which gets it if it has None; 0: an error.

    ELSE: the id has no row in the vocabulary. `slots` are the n items of the list, whose length never changes; no other
    thread can run meanwhile.
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
    """The list of the tokens of a tuple `_later`; ELSE: it has no maker with the text or the row of each id."""
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
    """Writes the trimmed positions of a text's tokens to `begins` and `ends` of a taken maker. -> how many; or < 0."""
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
    """A tuple of two numbers, hidden from the garbage collector, which need not look at it; 0: an error."""
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
    """The list of the offsets of a tuple `_later`; ELSE: it has no maker that can make them and is not in use."""
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
