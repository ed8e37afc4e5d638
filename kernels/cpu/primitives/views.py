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

A *sized* view, as tables.py makes it, knows its number of elements, `len(view)`, and with two dimensions the length of
a row, `view.columns`. Where they are not used, they cost nothing.

An owning view that one kernel passes to another is only borrowed (`lend_views`): references are counted in the kernel
that makes memory, not in those that use it in loops.

With `GPUTOK_CHECK=1` in the environment, kernels are compiled anew, views know their length, and each access out of
bounds raises IndexError. Else nothing is checked: the author of a kernel must show why each index is in bounds.
"""

from __future__ import annotations

import operator
import re

import numpy as np
from gputok.kernels.native import CHECKED
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.errors import TypingError
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import (
    intrinsic,
    lower_builtin,
    lower_cast,
    make_attribute_wrapper,
    models,
    overload,
    register_jitable,
    register_model,
)
from numba.np.arrayobj import make_array, populate_array
from numba.np.numpy_support import as_dtype

I32, I64 = ir.IntType(32), ir.IntType(64)
_BYTES = ir.IntType(8).as_pointer()


class View(types.Type):
    """Numba's type of views. owning: the view has a reference to its memory; dimensions: 1 or 2; 0: it is not sized."""

    def __init__(self, dtype: types.Type, owning: bool = False, dimensions: int = 0) -> None:
        self.dtype, self.owning, self.dimensions = dtype, owning, dimensions
        self.size = dtype.bitwidth // 8
        super().__init__(f"{'Owning' if owning else ''}View({dtype}){f'[{dimensions}]' if dimensions else ''}")


@register_model(View)
class _ViewModel(models.StructModel):
    def __init__(self, dmm, fe_type):
        members = [("base", types.uint64)]
        if fe_type.owning:
            members.append(("meminfo", types.MemInfoPointer(fe_type.dtype)))
        if CHECKED or fe_type.dimensions:
            members.append(("length", types.uint64))
        if fe_type.dimensions > 1:
            members.append(("columns", types.uint64))
        super().__init__(dmm, fe_type, members)


make_attribute_wrapper(View, "columns", "columns")


def make_view(context, builder, view_type, base, length, meminfo=None, columns=None):
    """The LLVM value of a view; length: in elements, an LLVM value, needed for sized views and in the checked build."""
    made = cgutils.create_struct_proxy(view_type)(context, builder)
    made.base = base
    if view_type.owning:
        made.meminfo = meminfo
    if CHECKED or view_type.dimensions:
        made.length = length
    if view_type.dimensions > 1:
        made.columns = columns
    return made._getvalue()


def struct_of(context, builder, view_type, value):
    """The members of the value of a view."""
    return cgutils.create_struct_proxy(view_type)(context, builder, value)


def _readable(symbol):
    """gputok.kernels.cpu.walk.fill_block of _ZN6gputok7kernels3cpu4walk10fill_block..."""
    names, rest = [], symbol.removeprefix("_ZN")
    while length := re.match(r"\d+", rest):
        end = length.end() + int(length[0])
        names.append(rest[length.end() : end])
        rest = rest[end:]
    return ".".join(names) or symbol


def check_bounds(context, builder, view, first, count):
    """In the checked build: raises IndexError if the elements first:first + count are outside of a view."""
    if not CHECKED:
        return
    outside = builder.icmp_unsigned(">", count, view.length)
    outside = builder.or_(outside, builder.icmp_unsigned(">", first, builder.sub(view.length, count)))
    with builder.if_then(outside, likely=False):
        message = f"an access outside of its memory, in {_readable(builder.function.name)}"
        context.call_conv.return_user_exc(builder, IndexError, (message,))


def pointer_to(builder, view, index, llvm_type):
    """A pointer to the element with this index, in elements of `llvm_type`."""
    return builder.gep(builder.inttoptr(view.base, llvm_type.as_pointer()), [index])


def llvm_element(view_type):
    """LLVM's type of the elements of a view."""
    return ir.DoubleType() if view_type.dtype is types.float64 else ir.IntType(8 * view_type.size)


def place(context, builder, view_type, view, index, kind=None, count=1):
    """A pointer to a value of an LLVM type, by default an element, where a view has `count` elements or more."""
    of, element = struct_of(context, builder, view_type, view), llvm_element(view_type)
    check_bounds(context, builder, of, index, I64(count))
    return builder.bitcast(pointer_to(builder, of, index, element), (kind or element).as_pointer())


def load(builder, pointer):
    """What is at a pointer, which need not be aligned."""
    loaded = builder.load(pointer)
    loaded.align = 1
    return loaded


# ---- indexing


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
    return load(builder, place(context, builder, sig.args[0], *args))


@lower_builtin(operator.setitem, View, types.uint64, types.Any)
def _store_element(context, builder, sig, args):
    builder.store(args[2], place(context, builder, sig.args[0], *args[:2])).align = 1
    return context.get_dummy_value()


def must_be(view, element=types.uint8):
    """Raises TypingError, while a kernel is compiled, unless `view` is the type of a view of such elements."""
    if not isinstance(view, View) or view.dtype != element:
        raise TypingError(f"expected a View({element}), got {view}")


def _wide_load(bits: int, result: types.Integer):
    @intrinsic
    def wide_load(typingctx, view, index):
        """Loads a number of several bytes, the lowest first, that begins at byte `index` of a view of bytes."""
        must_be(view)

        def codegen(context, builder, signature, args):
            return load(builder, place(context, builder, view, *args, ir.IntType(bits), bits // 8))

        return result(view, types.uint64), codegen

    return wide_load


def _wide_store(bits: int, element: types.Integer):
    @intrinsic
    def store(typingctx, view, index, value):
        """Stores a number of several bytes, the lowest first, from byte `index` of a view of bytes on."""
        must_be(view)

        def codegen(context, builder, signature, args):
            builder.store(args[2], place(context, builder, view, *args[:2], ir.IntType(bits), bits // 8)).align = 1
            return context.get_dummy_value()

        return types.void(view, types.uint64, element), codegen

    return store


load_u16, load_u32, load_u64 = (_wide_load(n, getattr(types, f"uint{n}")) for n in (16, 32, 64))
store_u32, store_u64 = _wide_store(32, types.uint32), _wide_store(64, types.uint64)


@infer_global(len)
class _Len(AbstractTemplate):
    def generic(self, args, kws):
        if isinstance(args[0], View) and args[0].dimensions:
            return signature(types.intp, args[0])
        return None


@lower_builtin(len, View)
def _length(context, builder, sig, args):
    return struct_of(context, builder, sig.args[0], args[0]).length


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
        length = builder.udiv(n_bytes, ir.Constant(I64, made.size)) if CHECKED else None
        if owning:
            context.nrt.incref(builder, array, args[0])
        meminfo = of.meminfo if owning else None
        return make_view(context, builder, made, builder.ptrtoint(of.data, I64), length, meminfo)

    return made, codegen


@intrinsic
def view(typingctx, memory, dtype=None):
    """A view of an array, of another view, or of the result of `arrays.pointer`; see the top of this file."""
    if isinstance(memory, types.Array):
        made, codegen = _array_view(memory, dtype, owning=False)
    elif isinstance(memory, View):
        made = View(_dtype_of(dtype), memory.owning)

        def codegen(context, builder, signature, args):
            of, length = struct_of(context, builder, memory, args[0]), None
            if CHECKED:
                n_bytes = builder.mul(of.length, ir.Constant(I64, memory.size))
                length = builder.udiv(n_bytes, ir.Constant(I64, made.size))
            if memory.owning:
                context.nrt.incref(builder, memory, args[0])
            return make_view(context, builder, made, of.base, length, of.meminfo if memory.owning else None)
    elif (is_pair := isinstance(memory, types.BaseTuple) and len(memory) == 2) or (
        isinstance(memory, types.Integer) and not CHECKED
    ):
        made = View(_dtype_of(dtype))

        def codegen(context, builder, signature, args):
            base, n_bytes = cgutils.unpack_tuple(builder, args[0], 2) if is_pair else (args[0], None)
            length = builder.udiv(n_bytes, ir.Constant(I64, made.size)) if CHECKED else None
            return make_view(context, builder, made, base, length)

        return made(types.UniTuple(types.uint64, 2) if is_pair else types.uint64, dtype), codegen
    else:
        raise TypingError(f"expected an array or the result of `pointer`, got {memory}")
    return made(memory, types.none if dtype is None else dtype), codegen


@intrinsic
def owned(typingctx, array):
    """An owning view of an array that a kernel has made; see the top of this file."""
    made, codegen = _array_view(array, None, owning=True)
    return made(array), codegen


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
        of = struct_of(context, builder, view, args[0])
        check_bounds(context, builder, of, ir.Constant(I64, 0), args[1])
        made = make_array(array)(context, builder)
        data = builder.inttoptr(of.base, context.get_data_type(view.dtype).as_pointer())
        size = ir.Constant(I64, view.size)
        populate_array(made, data, [args[1]], [size], size, of.meminfo)
        context.nrt.incref(builder, view, args[0])
        return made._getvalue()

    return array(view, types.intp), codegen


@intrinsic
def tail(typingctx, view, index):
    """The view of the elements from `index` on."""
    made = View(view.dtype, view.owning)

    def codegen(context, builder, signature, args):
        of = struct_of(context, builder, view, args[0])
        check_bounds(context, builder, of, args[1], ir.Constant(I64, 0))
        length = builder.sub(of.length, args[1]) if CHECKED else None
        base = builder.add(of.base, builder.mul(args[1], ir.Constant(I64, view.size)))
        if view.owning:
            context.nrt.incref(builder, view, args[0])
        return make_view(context, builder, made, base, length, of.meminfo if view.owning else None)

    return made(view, types.uint64), codegen


@intrinsic
def is_given(typingctx, view):
    """Returns True if a view has memory; False for `pointer(None)`."""

    def codegen(context, builder, signature, args):
        base = struct_of(context, builder, view, args[0]).base
        return builder.icmp_unsigned("!=", base, ir.Constant(I64, 0))

    return types.boolean(view), codegen


# ---- lending to other kernels


@lower_cast(View, View)
def _borrow(context, builder, from_type, to_type, value):
    of = struct_of(context, builder, from_type, value)
    length = of.length if CHECKED or to_type.dimensions else None
    columns = of.columns if to_type.dimensions > 1 else None
    return make_view(context, builder, to_type, of.base, length, columns=columns)


def _borrowed(argument: types.Type, sized: bool) -> types.Type:
    if isinstance(argument, View):
        return View(argument.dtype, dimensions=argument.dimensions if sized else 0)
    if isinstance(argument, types.Tuple | types.UniTuple):
        return types.BaseTuple.from_types([_borrowed(element, sized) for element in argument])
    return argument


def _has_view(of: types.Type, owning: bool = False) -> bool:
    if isinstance(of, types.BaseTuple):
        return any(_has_view(item, owning) for item in of)
    return isinstance(of, View) and of.owning >= owning


def lend_views(kernel) -> None:
    """Lets a compiled function borrow the owning views, alone or in tuples, that another kernel passes to it.

    The caller keeps its views until the call returns. A view that the function returned could outlive them, and is a
    typing error. If the function never asks for lengths, views have none, so that it is compiled only once.
    """
    template_for, sized = kernel.get_call_template, False

    def borrowing(args, kws):
        nonlocal sized
        borrowed = tuple(_borrowed(argument, sized) for argument in args)
        try:
            found = template_for(borrowed, kws)
        except (TypingError, KeyError):  # the function uses `len` or `columns`: try again with sized views
            if sized:
                raise
            sized = True
            return borrowing(args, kws)
        owns = any(_has_view(argument, owning=True) for argument in args)
        if owns and _has_view(kernel.overloads[borrowed].signature.return_type):
            raise TypingError(f"{kernel.__name__} may return a view of memory that the function has only borrowed")
        return found

    kernel.get_call_template = borrowing


# ---- memory


def call_llvm(builder, name, result, *arguments):
    """Calls a function of LLVM."""
    kind = ir.FunctionType(result, [one.type for one in arguments])
    return builder.call(builder.module.declare_intrinsic(name, (), kind), arguments)


@intrinsic
def prefetch(typingctx, view, index):
    """Loads the cache line of an element into all cache levels, for reading. The element need not exist."""

    def codegen(context, builder, signature, args):
        function = builder.module.declare_intrinsic(
            "llvm.prefetch", [_BYTES], ir.FunctionType(ir.VoidType(), [_BYTES, I32, I32, I32])
        )
        where = pointer_to(builder, struct_of(context, builder, view, args[0]), args[1], llvm_element(view))
        flags = (ir.Constant(I32, flag) for flag in (0, 3, 1))
        builder.call(function, [builder.bitcast(where, _BYTES), *flags])
        return context.get_dummy_value()

    return types.void(view, types.uint64), codegen


@intrinsic
def copy(typingctx, target, to, source, first, count):
    """Copies elements source[first:first + count] to target[to:], which don't overlap."""
    if target.dtype != source.dtype:
        raise TypingError(f"can't copy {source} to {target}")

    def codegen(context, builder, signature, args):
        views = [struct_of(context, builder, signature.args[i], args[i]) for i in (0, 2)]
        pointers = []
        for view, index in zip(views, (args[1], args[3]), strict=True):
            check_bounds(context, builder, view, index, args[4])
            pointers.append(builder.bitcast(pointer_to(builder, view, index, llvm_element(target)), _BYTES))
        cgutils.raw_memcpy(builder, *pointers, args[4], target.size, align=1)
        return context.get_dummy_value()

    u64 = types.uint64
    return types.void(target, u64, source, u64, u64), codegen
