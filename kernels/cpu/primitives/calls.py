"""Calls of C functions by their addresses, memory on the stack, and the table of what a process knows."""

from __future__ import annotations

import ctypes

from gputok.kernels.cpu.primitives.views import I64, View, make_view
from llvmlite import binding, ir
from numba.core import cgutils, types
from numba.extending import intrinsic

KNOWN = "gputok_known"  # the variable of the library that has the address of the array of an `objects.Known`, or 0
VARIABLE = ctypes.c_int64(0)  # the same variable, if Numba compiles the kernels and there is no library
ctypes.pythonapi.Py_IncRef(ctypes.py_object(VARIABLE))  # it is never freed
binding.add_symbol(KNOWN, ctypes.addressof(VARIABLE))
_PLACES = 4


@intrinsic
def call(typingctx, function, *arguments):
    """Calls the C function at an address with int64 arguments. -> its result as int64: np.int32 of it for a C `int`."""
    given = types.StarArgTuple((types.int64,) * len(arguments))

    def codegen(context, builder, signature, args):
        values = cgutils.unpack_tuple(builder, args[1], len(arguments))
        kind = ir.FunctionType(I64, [I64] * len(values)).as_pointer()
        return builder.call(builder.inttoptr(args[0], kind), values)

    return types.int64(types.int64, given), codegen


@intrinsic
def places(typingctx):
    """A view of four int64 on the stack, to which a C function can write; they last until the kernel returns."""
    made = View(types.int64)

    def codegen(context, builder, signature, args):
        memory = cgutils.alloca_once(builder, I64, size=_PLACES)
        return make_view(context, builder, made, builder.ptrtoint(memory, I64), I64(_PLACES))

    return made(), codegen


@intrinsic
def known_address(typingctx):
    """The number in the variable `KNOWN`."""

    def codegen(context, builder, signature, args):
        module = builder.module
        return builder.load(module.globals.get(KNOWN) or ir.GlobalVariable(module, I64, KNOWN))

    return types.int64(), codegen
