"""Memory that several threads change: each function is one indivisible access to an element of a view.

All but `atomic_release` are sequentially consistent: a thread that reads what such an access stored also sees all that
the storing thread wrote before. The views must be aligned to their elements, as arrays of NumPy are.
"""

from __future__ import annotations

import platform

from gputok.kernels.cpu.primitives.views import View, call_llvm, place
from llvmlite import ir
from numba.core import types
from numba.core.errors import TypingError
from numba.extending import intrinsic

_ORDER = "seq_cst"
# An instruction that tells the processor that a loop waits
_PAUSE = {
    "x86_64": ("llvm.x86.sse2.pause", ()),
    "AMD64": ("llvm.x86.sse2.pause", ()),
    "aarch64": ("llvm.aarch64.hint", (1,)),
    "arm64": ("llvm.aarch64.hint", (1,)),
}.get(platform.machine())


def _pointer(context, builder, view, args):
    """The address of element args[1] of the view args[0]."""
    if not isinstance(view, View):
        raise TypingError(f"expected a view, got {view}")
    return place(context, builder, view, *args[:2])


def _change(operation: str):
    @intrinsic
    def change(typingctx, view, index, value):
        """Changes an element, and returns what it was before."""

        def codegen(context, builder, signature, args):
            where = _pointer(context, builder, signature.args[0], args)
            return builder.atomic_rmw(operation, where, args[2], _ORDER)

        return view.dtype(view, types.uint64, view.dtype), codegen

    return change


atomic_add, atomic_store = _change("add"), _change("xchg")


@intrinsic
def atomic_load(typingctx, view, index):
    """The element."""

    def codegen(context, builder, signature, args):
        where = _pointer(context, builder, signature.args[0], args)
        return builder.load_atomic(where, _ORDER, signature.args[0].size)

    return view.dtype(view, types.uint64), codegen


@intrinsic
def atomic_release(typingctx, view, index, value):
    """Stores an element, cheaper than `atomic_store`: a thread that reads it sees all that this thread wrote before."""

    def codegen(context, builder, signature, args):
        where = _pointer(context, builder, signature.args[0], args)
        builder.store_atomic(args[2], where, "release", signature.args[0].size)
        return context.get_dummy_value()

    return types.void(view, types.uint64, view.dtype), codegen


@intrinsic
def atomic_claim(typingctx, view, index, expected, value):
    """Sets the element to `value` if it is `expected`; returns whether it was."""

    def codegen(context, builder, signature, args):
        where = _pointer(context, builder, signature.args[0], args)
        result = builder.cmpxchg(where, args[2], args[3], _ORDER, _ORDER)
        return builder.extract_value(result, 1)

    return types.boolean(view, types.uint64, view.dtype, view.dtype), codegen


@intrinsic
def pause(typingctx):
    """Tells the processor that this thread waits for another one."""

    def codegen(context, builder, signature, args):
        if _PAUSE is not None:
            name, hints = _PAUSE
            call_llvm(builder, name, ir.VoidType(), *map(ir.IntType(32), hints))
        return context.get_dummy_value()

    return types.void(), codegen
