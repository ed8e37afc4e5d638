"""Views of memory: kernels index views instead of arrays in loops in which array objects cost too much.

Indexing an array with a signed integer costs a test for negative indices, and arrays as arguments of helpers are
reference-counted (measured: 203 instead of 950 MB/s for the walk of an automaton). `View(dtype)` is a Numba type:
`view[i]` is one unaligned load, and `view[i] = x` one store; the index is treated as unsigned.

    view(array)             borrows the memory of an array that was an argument: one word, the address
    view(array, np.uint64)  the same memory as elements of another type
    view(other, np.uint32)  the memory of another view, likewise
    view(memory, np.uint8)  likewise, for memory that Python passes by `arrays.pointer`
    owned(array)            a view of an array that the kernel made: keeps the array alive
    scratch(n, dtype)       an owning view of new memory, not initialised
    grown(view, used, n)    an owning view of n elements, the first `used` of them copied
    as_array(view, n)       the first n elements of an owning view as an array, to be returned
    tail(view, i)           the elements from i on; owning if `view` is owning
    view_like(view, (a, n)) n bytes at address a as elements of the same type

A kernel that is called with an owning view borrows the view for the call: references are counted by the code that makes
memory, not in the loops that use it.

With `GPUTOK_CHECK=1` in the environment, kernels are compiled anew, views know their length, and each access out of bounds
raises IndexError. Without that, nothing is checked: the author of a kernel shows what bounds each index.
"""

from __future__ import annotations

import operator
import os
import re

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.errors import TypingError
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import (
    intrinsic,
    lower_builtin,
    lower_cast,
    models,
    overload,
    register_jitable,
    register_model,
)
from numba.np.arrayobj import make_array, populate_array
from numba.np.numpy_support import as_dtype

CHECKED = os.environ.get("GPUTOK_CHECK", "0") not in ("", "0")

_I32, _I64 = ir.IntType(32), ir.IntType(64)
_BYTES = ir.IntType(8).as_pointer()


class View(types.Type):
    """The type of views: the address of elements of one type and, if `owning`, a reference to their memory."""

    def __init__(self, dtype: types.Type, owning: bool = False) -> None:
        self.dtype, self.owning = dtype, owning
        self.size = dtype.bitwidth // 8
        super().__init__(f"{'Owning' if owning else ''}View({dtype})")


@register_model(View)
class _ViewModel(models.StructModel):
    def __init__(self, dmm, fe_type):
        members = [("base", types.uint64)]
        if fe_type.owning:
            members.append(("meminfo", types.MemInfoPointer(fe_type.dtype)))
        if CHECKED:
            members.append(("length", types.uint64))
        super().__init__(dmm, fe_type, members)


def _make(context, builder, view_type, base, length, meminfo=None):
    """The value of a view; length: in elements (an LLVM value), used in the checked build."""
    made = cgutils.create_struct_proxy(view_type)(context, builder)
    made.base = base
    if view_type.owning:
        made.meminfo = meminfo
    if CHECKED:
        made.length = length
    return made._getvalue()


def _of(context, builder, view_type, value):
    return cgutils.create_struct_proxy(view_type)(context, builder, value)


def _readable(symbol):
    """gputok.kernels.cpu.walk.fill_block of _ZN6gputok7kernels3cpu4walk10fill_block..."""
    names, rest = [], symbol.removeprefix("_ZN")
    while length := re.match(r"\d+", rest):
        end = length.end() + int(length[0])
        names.append(rest[length.end() : end])
        rest = rest[end:]
    return ".".join(names) or symbol


def _check(context, builder, view, first, count, size=1):
    """In the checked build: raises IndexError if first:first + count, in units of 1/`size` element, is outside of a view."""
    if not CHECKED:
        return
    length = builder.mul(view.length, ir.Constant(_I64, size))
    outside = builder.or_(
        builder.icmp_unsigned(">", count, length),
        builder.icmp_unsigned(">", first, builder.sub(length, count)),
    )
    with builder.if_then(outside, likely=False):
        message = f"an access outside of its memory, in {_readable(builder.function.name)}"
        context.call_conv.return_user_exc(builder, IndexError, (message,))


def _at(builder, view, index, llvm_type):
    """A pointer to the element with this index, in elements of `llvm_type`."""
    return builder.gep(builder.inttoptr(view.base, llvm_type.as_pointer()), [index])


# ---- indexing


def _element(view_type):
    return ir.DoubleType() if view_type.dtype is types.float64 else ir.IntType(8 * view_type.size)


@infer_global(operator.getitem)
class _GetItem(AbstractTemplate):
    def generic(self, args, kws):
        if isinstance(args[0], View) and isinstance(args[1], types.Integer):
            return signature(args[0].dtype, args[0], types.uint64)
        return None


@infer_global(operator.setitem)
class _SetItem(AbstractTemplate):
    def generic(self, args, kws):
        if isinstance(args[0], View) and isinstance(args[1], types.Integer):
            return signature(types.none, args[0], types.uint64, args[0].dtype)
        return None


@lower_builtin(operator.getitem, View, types.uint64)
def _load_element(context, builder, sig, args):
    view = _of(context, builder, sig.args[0], args[0])
    _check(context, builder, view, args[1], ir.Constant(_I64, 1))
    value = builder.load(_at(builder, view, args[1], _element(sig.args[0])))
    value.align = 1
    return value


@lower_builtin(operator.setitem, View, types.uint64, types.Any)
def _store_element(context, builder, sig, args):
    view = _of(context, builder, sig.args[0], args[0])
    _check(context, builder, view, args[1], ir.Constant(_I64, 1))
    builder.store(args[2], _at(builder, view, args[1], _element(sig.args[0]))).align = 1
    return context.get_dummy_value()


def _is_bytes(view):
    if not isinstance(view, View) or view.dtype != types.uint8:
        raise TypingError(f"expected a View(uint8), got {view}")


def _wide_load(bits: int, result: types.Integer):
    @intrinsic
    def load(typingctx, view, index):
        """Loads a number of several bytes, the lowest first, that begins at byte `index` of a view of bytes."""
        _is_bytes(view)

        def codegen(context, builder, signature, args):
            view = _of(context, builder, signature.args[0], args[0])
            _check(context, builder, view, args[1], ir.Constant(_I64, bits // 8))
            where = _at(builder, view, args[1], ir.IntType(8))
            value = builder.load(builder.bitcast(where, ir.IntType(bits).as_pointer()))
            value.align = 1
            return value

        return result(view, types.uint64), codegen

    return load


def _wide_store(bits: int, element: types.Integer):
    @intrinsic
    def store(typingctx, view, index, value):
        """Stores a number of several bytes, the lowest first, from byte `index` of a view of bytes on."""
        _is_bytes(view)

        def codegen(context, builder, signature, args):
            view = _of(context, builder, signature.args[0], args[0])
            _check(context, builder, view, args[1], ir.Constant(_I64, bits // 8))
            where = _at(builder, view, args[1], ir.IntType(8))
            builder.store(args[2], builder.bitcast(where, ir.IntType(bits).as_pointer())).align = 1
            return context.get_dummy_value()

        return types.void(view, types.uint64, element), codegen

    return store


load_u16, load_u32, load_u64 = (
    _wide_load(16, types.uint16),
    _wide_load(32, types.uint32),
    _wide_load(64, types.uint64),
)
store_u32, store_u64 = _wide_store(32, types.uint32), _wide_store(64, types.uint64)


# ---- making views


def _dtype_of(dtype, default=None):
    if dtype is None:
        return default
    return dtype.instance_type if isinstance(dtype, types.NumberClass) else dtype.dtype


def _array_view(array, dtype, owning):
    if array.layout not in "CF":
        raise TypingError(f"only a contiguous array has a view, not {array}")
    element = types.uint8 if array.dtype == types.boolean else array.dtype
    made = View(_dtype_of(dtype, element), owning)

    def codegen(context, builder, signature, args):
        of = make_array(signature.args[0])(context, builder, args[0])
        n_bytes = builder.mul(of.nitems, of.itemsize)
        length = builder.udiv(n_bytes, ir.Constant(_I64, made.size)) if CHECKED else None
        if owning:
            context.nrt.incref(builder, array, args[0])
        meminfo = of.meminfo if owning else None
        return _make(context, builder, made, builder.ptrtoint(of.data, _I64), length, meminfo)

    return made, codegen


@intrinsic
def view(typingctx, memory, dtype=None):
    """A borrowing view of an array, or of the result of `arrays.pointer`, which needs a dtype; see the top of this file."""
    if isinstance(memory, types.Array):
        made, codegen = _array_view(memory, dtype, owning=False)
    elif isinstance(memory, View):
        made = View(_dtype_of(dtype), memory.owning)

        def codegen(context, builder, signature, args):
            of, length = _of(context, builder, memory, args[0]), None
            if CHECKED:
                n_bytes = builder.mul(of.length, ir.Constant(_I64, memory.size))
                length = builder.udiv(n_bytes, ir.Constant(_I64, made.size))
            if memory.owning:
                context.nrt.incref(builder, memory, args[0])
            return _make(context, builder, made, of.base, length, of.meminfo if memory.owning else None)
    elif isinstance(memory, types.Integer) and not CHECKED:
        made = View(_dtype_of(dtype))

        def codegen(context, builder, signature, args):
            return _make(context, builder, made, args[0], None)

        return made(types.uint64, dtype), codegen
    elif isinstance(memory, types.BaseTuple) and len(memory) == 2:
        made = View(_dtype_of(dtype))

        def codegen(context, builder, signature, args):
            base, n_bytes = cgutils.unpack_tuple(builder, args[0], 2)
            length = builder.udiv(n_bytes, ir.Constant(_I64, made.size)) if CHECKED else None
            return _make(context, builder, made, base, length)

        return made(types.UniTuple(types.uint64, 2), dtype), codegen
    else:
        raise TypingError(f"expected an array or the result of `pointer`, got {memory}")
    return made(memory, types.none if dtype is None else dtype), codegen


@intrinsic
def view_like(typingctx, view, memory):
    """A borrowing view of other memory, given by (address, bytes), with elements of the same type as those of `view`."""
    made = View(view.dtype)

    def codegen(context, builder, signature, args):
        base, n_bytes = cgutils.unpack_tuple(builder, args[1], 2)
        length = builder.udiv(n_bytes, ir.Constant(_I64, made.size)) if CHECKED else None
        return _make(context, builder, made, base, length)

    return made(view, types.UniTuple(types.uint64, 2)), codegen


@intrinsic
def owned(typingctx, array, dtype=None):
    """An owning view of an array that a kernel has made; see the top of this file."""
    made, codegen = _array_view(array, dtype, owning=True)
    return made(array, types.none if dtype is None else dtype), codegen


@register_jitable
def scratch(n, dtype):
    """An owning view of n new elements, not initialised."""
    return owned(np.empty(n, dtype))


def grown(view, used, n):
    """An owning view of n elements, of which the first `used` are those of another view."""
    raise NotImplementedError("for kernels only")


@overload(grown)
def _grown(view, used, n):
    if not isinstance(view, View):
        return None
    dtype = as_dtype(view.dtype)

    def impl(view, used, n):
        larger = scratch(n, dtype)
        copy(larger, 0, view, 0, used)
        return larger

    return impl


@intrinsic
def as_array(typingctx, view, n):
    """The first n elements of an owning view as an array, which shares its memory."""
    if not isinstance(view, View) or not view.owning:
        raise TypingError(f"expected an owning view, got {view}")
    array = types.Array(view.dtype, 1, "C")

    def codegen(context, builder, signature, args):
        of = _of(context, builder, view, args[0])
        _check(context, builder, of, ir.Constant(_I64, 0), args[1])
        made = make_array(array)(context, builder)
        data = builder.inttoptr(of.base, context.get_data_type(view.dtype).as_pointer())
        size = ir.Constant(_I64, view.size)
        populate_array(made, data, [args[1]], [size], size, of.meminfo)
        context.nrt.incref(builder, view, args[0])
        return made._getvalue()

    return array(view, types.intp), codegen


@intrinsic
def tail(typingctx, view, index):
    """The view of the elements from `index` on."""

    def codegen(context, builder, signature, args):
        of = _of(context, builder, view, args[0])
        _check(context, builder, of, args[1], ir.Constant(_I64, 0))
        length = builder.sub(of.length, args[1]) if CHECKED else None
        base = builder.add(of.base, builder.mul(args[1], ir.Constant(_I64, view.size)))
        if view.owning:
            context.nrt.incref(builder, view, args[0])
        return _make(context, builder, view, base, length, of.meminfo if view.owning else None)

    return view(view, types.uint64), codegen


@intrinsic
def is_given(typingctx, view):
    """Returns True if a view has memory; False for `pointer(None)`."""

    def codegen(context, builder, signature, args):
        base = _of(context, builder, view, args[0]).base
        return builder.icmp_unsigned("!=", base, ir.Constant(_I64, 0))

    return types.boolean(view), codegen


# ---- lending to other kernels


@lower_cast(View, View)
def _borrow(context, builder, from_type, to_type, value):
    of = _of(context, builder, from_type, value)
    return _make(context, builder, to_type, of.base, of.length if CHECKED else None)


def _borrowed(argument: types.Type) -> types.Type:
    if isinstance(argument, View):
        return View(argument.dtype)
    if isinstance(argument, types.Tuple | types.UniTuple):
        return types.BaseTuple.from_types([_borrowed(element) for element in argument])
    return argument


def _has_view(of: types.Type) -> bool:
    return isinstance(of, View) or (isinstance(of, types.BaseTuple) and any(map(_has_view, of)))


def lend_views(kernel) -> None:
    """Lets a compiled function borrow the owning views, alone or in tuples, that another kernel passes to it.

    The caller keeps its views until the call returns. A view that the function returned could outlive them, so returning
    a view is a typing error.
    """
    template_for = kernel.get_call_template

    def borrowing(args, kws):
        borrowed = tuple(map(_borrowed, args))
        found = template_for(borrowed, kws)
        if borrowed != tuple(args) and _has_view(kernel.overloads[borrowed].signature.return_type):
            raise TypingError(
                f"{kernel.__name__} may return a view of memory that the function has only borrowed"
            )
        return found

    kernel.get_call_template = borrowing


# ---- many elements at once


@intrinsic
def prefetch(typingctx, view, index):
    """Loads the cache line of an element into all cache levels, for reading. The element need not exist."""

    def codegen(context, builder, signature, args):
        function = builder.module.declare_intrinsic(
            "llvm.prefetch", [_BYTES], ir.FunctionType(ir.VoidType(), [_BYTES, _I32, _I32, _I32])
        )
        where = _at(builder, _of(context, builder, view, args[0]), args[1], _element(view))
        flags = (ir.Constant(_I32, flag) for flag in (0, 3, 1))
        builder.call(function, [builder.bitcast(where, _BYTES), *flags])
        return context.get_dummy_value()

    return types.void(view, types.uint64), codegen


@intrinsic
def copy(typingctx, target, to, source, first, count):
    """Copies elements source[first:first + count] to target[to:], which don't overlap."""
    if target.dtype != source.dtype:
        raise TypingError(f"can't copy {source} to {target}")

    def codegen(context, builder, signature, args):
        views = [_of(context, builder, signature.args[i], args[i]) for i in (0, 2)]
        pointers = []
        for view, index in zip(views, (args[1], args[3]), strict=True):
            _check(context, builder, view, index, args[4])
            pointers.append(builder.bitcast(_at(builder, view, index, _element(target)), _BYTES))
        cgutils.raw_memcpy(builder, *pointers, args[4], target.size, align=1)
        return context.get_dummy_value()

    u64 = types.uint64
    return types.void(target, u64, source, u64, u64), codegen


@intrinsic
def copy_64(typingctx, target, to, source, first):
    """Copies 64 bytes from source[first] on to target[to:]; both are views of bytes."""
    _is_bytes(target)
    _is_bytes(source)

    def codegen(context, builder, signature, args):
        vector, pointers = ir.VectorType(ir.IntType(8), 64), []
        for i in (0, 2):
            view = _of(context, builder, signature.args[i], args[i])
            _check(context, builder, view, args[i + 1], ir.Constant(_I64, 64))
            where = _at(builder, view, args[i + 1], ir.IntType(8))
            pointers.append(builder.bitcast(where, vector.as_pointer()))
        loaded = builder.load(pointers[1])
        loaded.align = 1
        builder.store(loaded, pointers[0]).align = 1
        return context.get_dummy_value()

    u64 = types.uint64
    return types.void(target, u64, source, u64), codegen


_TWO = ir.VectorType(_I64, 2)


def _two(builder, view, index):
    """A pointer to two elements of 64 bits."""
    return builder.bitcast(_at(builder, view, index, _I64), _TWO.as_pointer())


def _load_two(builder, pointer):
    loaded = builder.load(pointer)
    loaded.align = 1
    return loaded


@intrinsic
def put_key(typingctx, keys, i, text, begin, masks, row):
    """keys[i:i + 2] = the 16 bytes from text[begin] on & masks[row:row + 2] | masks[row + 2:row + 4]; text is of bytes."""
    _is_bytes(text)

    def codegen(context, builder, signature, args):
        keys, text, masks = (_of(context, builder, signature.args[k], args[k]) for k in (0, 2, 4))
        for view, first, count in ((keys, args[1], 2), (text, args[3], 16), (masks, args[5], 4)):
            _check(context, builder, view, first, _I64(count))
        where = builder.bitcast(_at(builder, text, args[3], ir.IntType(8)), _TWO.as_pointer())
        of_word = builder.and_(_load_two(builder, where), _load_two(builder, _two(builder, masks, args[5])))
        top = _load_two(builder, _two(builder, masks, builder.add(args[5], _I64(2))))
        builder.store(builder.or_(of_word, top), _two(builder, keys, args[1])).align = 1
        return context.get_dummy_value()

    u64 = types.uint64
    return types.void(keys, u64, text, u64, masks, u64), codegen


@intrinsic
def four_differ(typingctx, keys, i, slots, at, k):
    """0 if keys[i:i + 8] are the first two elements of the slots at[k], ..., at[k + 3]; else another number."""

    def codegen(context, builder, signature, args):
        keys, slots, at = (_of(context, builder, signature.args[n], args[n]) for n in (0, 2, 3))
        _check(context, builder, keys, args[1], _I64(8))
        _check(context, builder, at, args[4], _I64(4))
        differs = ir.Constant(_TWO, [0, 0])
        for n in range(4):
            slot = builder.load(_at(builder, at, builder.add(args[4], _I64(n)), _I64))
            _check(context, builder, slots, slot, _I64(2))
            key = _load_two(builder, _two(builder, keys, builder.add(args[1], _I64(2 * n))))
            other = builder.xor(key, _load_two(builder, _two(builder, slots, slot)))
            differs = builder.or_(differs, other)
        halves = (builder.extract_element(differs, ir.Constant(_I32, n)) for n in range(2))
        return builder.or_(*halves)

    u64 = types.uint64
    return u64(keys, u64, slots, at, u64), codegen


@intrinsic
def folded_product(typingctx, a, b):
    """The product of two numbers of 64 bits: its lower 64 bits xor its upper 64 bits."""

    def codegen(context, builder, signature, args):
        wide = ir.IntType(128)
        product = builder.mul(*(builder.zext(each, wide) for each in args))
        upper = builder.lshr(product, ir.Constant(wide, 64))
        return builder.trunc(builder.xor(product, upper), _I64)

    u64 = types.uint64
    return u64(u64, u64), codegen


def _spread(builder, value, n):
    """A vector of n times the same number."""
    lane = ir.Constant(ir.VectorType(value.type, n), ir.Undefined)
    lane = builder.insert_element(lane, value, ir.Constant(_I32, 0))
    return builder.shuffle_vector(lane, lane, ir.Constant(ir.VectorType(_I32, n), [0] * n))


def _compare_bytes(predicate: str):
    @intrinsic
    def compare(typingctx, view, index, byte):
        """Compares the 64 bytes from `index` on with `byte`: bit i is the result for byte i (one or two instructions)."""
        _is_bytes(view)

        def codegen(context, builder, signature, args):
            vector = ir.VectorType(ir.IntType(8), 64)
            of = _of(context, builder, signature.args[0], args[0])
            _check(context, builder, of, args[1], ir.Constant(_I64, 64))
            where = _at(builder, of, args[1], ir.IntType(8))
            loaded = builder.load(builder.bitcast(where, vector.as_pointer()))
            loaded.align = 1
            same = builder.icmp_unsigned(predicate, loaded, _spread(builder, args[2], 64))
            return builder.bitcast(same, _I64)

        return types.uint64(view, types.uint64, types.uint8), codegen

    return compare


equal_bytes, bytes_at_least = _compare_bytes("=="), _compare_bytes(">=")


@intrinsic
def likely(typingctx, condition):
    """A condition that is mostly true: LLVM then keeps what only the other branch needs out of the registers."""

    def codegen(context, builder, signature, args):
        boolean = ir.IntType(1)
        kind = ir.FunctionType(boolean, [boolean, boolean])
        expect = builder.module.declare_intrinsic("llvm.expect", [boolean], kind)
        return builder.call(expect, [args[0], boolean(1)])

    return types.boolean(types.boolean), codegen


@intrinsic
def least_of(typingctx, view, index):
    """The least of the 16 elements from `index` on of a view of uint32: a few instructions, and no branch."""
    if not isinstance(view, View) or view.dtype != types.uint32:
        raise TypingError(f"expected a View(uint32), got {view}")

    def codegen(context, builder, signature, args):
        vector = ir.VectorType(_I32, 16)
        of = _of(context, builder, signature.args[0], args[0])
        _check(context, builder, of, args[1], ir.Constant(_I64, 16))
        where = _at(builder, of, args[1], _I32)
        loaded = builder.load(builder.bitcast(where, vector.as_pointer()))
        loaded.align = 1
        least = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(_I32, [vector]), "llvm.vector.reduce.umin.v16i32"
        )
        return builder.call(least, [loaded])

    return types.uint32(view, types.uint64), codegen


_FOUR = ir.VectorType(_I64, 4)
_ALL_ONES = ir.Constant(_FOUR, [(1 << 64) - 1] * 4)


def _is_words(view) -> None:
    if not isinstance(view, View) or view.dtype != types.uint64:
        raise TypingError(f"expected a View(uint64), got {view}")


def _load_four(context, builder, signature, args):
    """The 4 elements from args[1] on of the view args[0], in one register."""
    of = _of(context, builder, signature.args[0], args[0])
    _check(context, builder, of, args[1], ir.Constant(_I64, 4))
    loaded = builder.load(builder.bitcast(_at(builder, of, args[1], _I64), _FOUR.as_pointer()))
    loaded.align = 8
    return loaded


@intrinsic
def of_four(typingctx, view, index, shift, key):
    """Of the 4 elements from `index` on of a view of uint64, the one that is `key` without its lower `shift` bits.

    All bits are set if there is none. Of equal ones, the result has the bits that they share.
    """
    _is_words(view)

    def codegen(context, builder, signature, args):
        loaded = _load_four(context, builder, signature, args)
        upper = builder.lshr(loaded, _spread(builder, args[2], 4))
        same = builder.icmp_unsigned("==", upper, _spread(builder, args[3], 4))
        chosen = builder.select(same, loaded, _ALL_ONES)
        function = ir.FunctionType(_I64, [_FOUR])
        name = "llvm.vector.reduce.and.v4i64"
        return builder.call(cgutils.get_or_insert_function(builder.module, function, name), [chosen])

    return types.uint64(view, types.uint64, types.uint64, types.uint64), codegen


@intrinsic
def has_ones(typingctx, view, index):
    """Whether one of the 4 elements from `index` on of a view of uint64 has all bits set."""
    _is_words(view)

    def codegen(context, builder, signature, args):
        loaded = _load_four(context, builder, signature, args)
        full = builder.icmp_unsigned("==", loaded, _ALL_ONES)
        return builder.icmp_unsigned("!=", builder.bitcast(full, ir.IntType(4)), ir.IntType(4)(0))

    return types.boolean(view, types.uint64), codegen


# ---- bits


def _count_bits(name: str, *more: ir.Constant):
    @intrinsic
    def count(typingctx, value):
        def codegen(context, builder, signature, args):
            function_type = ir.FunctionType(_I64, [_I64, *(argument.type for argument in more)])
            function = builder.module.declare_intrinsic(name, [_I64], function_type)
            return builder.call(function, [args[0], *more])

        return types.uint64(types.uint64), codegen

    return count


_OF_ZERO_TOO = ir.Constant(ir.IntType(1), 0)
leading_zeros = _count_bits("llvm.ctlz", _OF_ZERO_TOO)  # of a uint64; 64 for 0
trailing_zeros = _count_bits("llvm.cttz", _OF_ZERO_TOO)
count_ones = _count_bits("llvm.ctpop")
