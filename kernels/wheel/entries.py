"""From the kernels to LLVM's bitcode, and an entry for each kernel: the first step of making a wheel's machine code.

Numba compiles each kernel for the declared arguments as far as LLVM's intermediate code. The code does not depend on
Python: the *entry* of a kernel is a C function

    int32 entry(int64 *slots)

that reads its arguments from slots of eight bytes (an array by the address of its object, with the fields of
`PyArrayObject_fields` of NumPy's C interface), overwrites the slots with its result, and returns 0 or an error code.
The entry of a kernel that is a C function has the same arguments. `object_files` makes machine code of entries,
`write_calls` the Python functions that fill the slots.

This module uses internal names of the release of Numba that backend.py requires.
"""

from __future__ import annotations

import functools
import gc
import inspect
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import llvmlite.binding as llvm
import numpy as np
from gputok.kernels.cpu import jit
from gputok.kernels.native import entry_name
from gputok.kernels.native.all import kernels_of
from gputok.kernels.native.call import WRONG_ARGUMENT
from gputok.kernels.native.preparation import preparation
from gputok.kernels.signatures import Elements, Number, TupleType, Type, numba_type, versions
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.caching import FunctionCache
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompileResult
from numba.core.compiler_lock import global_compiler_lock
from numba.core.cpu import CPUContext
from numba.np import arrayobj

I8, I32, I64 = (ir.IntType(bits) for bits in (8, 32, 64))


class Kernel(NamedTuple):
    """A kernel for certain types of arguments."""

    name: str  # see entry_name
    version: int
    parameters: tuple[str, ...]
    arguments: tuple[Type, ...]
    result: Any  # Numba's type
    is_c: bool = False  # a C function of int64: so is the entry; it returns 0 if the kernel raises an error

    @property
    def symbol(self) -> str:
        """The name of its entry; in the library, after the level of the processor."""
        return f"{self.name.replace('.', '_')}_{self.version}"


@functools.cache
def _prepare_numba() -> None:
    """Makes Numba stop at LLVM's intermediate code, without its wrappers for Python and C."""
    gc.disable()  # the collector would walk again and again through all that the compiler makes and keeps
    preparation.announced = True
    FunctionCache.load_overload = FunctionCache.save_overload = lambda *_: None  # no machine code to keep
    CPUContext.create_cpython_wrapper = CPUContext.create_cfunc_wrapper = lambda *_, **__: None
    jit.stop_before_machine_code()  # code is optimized later, for each level
    JITCodeLibrary.finalize = lambda library: setattr(library, "_finalized", True)  # linked once, in `_link`


@global_compiler_lock
def bitcode(modules: Sequence[str]) -> tuple[bytes, list[Kernel]]:
    """Compiles the kernels of some modules to LLVM's bitcode, which is for any level; also returns these kernels."""
    _prepare_numba()
    merged: Any = llvm.parse_assembly("")
    kernels, linked = list[Kernel](), set[Any]()
    for compiled in itertools.chain.from_iterable(kernels_of(module).values() for module in modules):
        parameters = tuple(inspect.signature(compiled.py_func).parameters)
        for version, arguments in enumerate(versions(compiled.declared)):
            signature = tuple(map(numba_type, arguments))
            compiled.within.compile(signature)  # the code that other kernels call
            result = compiled.within.overloads[signature]
            about = entry_name(compiled.py_func), version, parameters, arguments
            kernel = Kernel(*about, result.signature.return_type, compiled.is_c)
            kernels.append(kernel)
            merged.link_in(_entry(kernel, result))
            _link(merged, result.library, linked)
    entries = {kernel.symbol for kernel in kernels}
    for function in merged.functions:
        if not function.is_declaration:
            function.linkage = "external" if function.name in entries else "internal"
    for variable in merged.global_variables:
        if not variable.is_declaration:
            variable.linkage = "internal"
    return merged.as_bitcode(), kernels


def _link(merged: Any, library: Any, linked: set[Any]) -> None:
    """Links a library of Numba, and those that it calls, unless `linked`: Numba would link a copy to each caller."""
    if library not in linked:
        linked.add(library)
        merged.link_in(library._final_module, preserve=True)
        for called in library._linking_libraries:
            _link(merged, called, linked)


def _entry(kernel: Kernel, compiled: CompileResult) -> Any:
    """The entry of a kernel in LLVM's intermediate code."""
    context, about = compiled.target_context, compiled.fndesc
    module = context.create_module("entry")
    kind = context.call_conv.get_function_type(about.restype, about.argtypes)
    called = ir.Function(module, kind, about.llvm_func_name)
    if kernel.is_c:
        return _c_entry(kernel, context, called, about)
    entry = ir.Function(module, ir.FunctionType(I32, [I64.as_pointer()]), kernel.symbol)
    builder = ir.IRBuilder(entry.append_basic_block("entry"))
    slots = _Slots(context, builder, entry.args[0])
    arguments = [slots.read(kind) for kind in kernel.arguments]
    status, result = context.call_conv.call_function(builder, called, about.restype, about.argtypes, arguments)
    with builder.if_then(status.is_error, likely=False):
        builder.store(builder.ptrtoint(status.excinfoptr, I64), builder.gep(entry.args[0], [I64(0)]))
        builder.ret(status.code)
    slots.at = 0
    slots.write(about.restype, result)
    builder.ret(I32(0))
    return llvm.parse_assembly(str(module))


def _c_entry(kernel: Kernel, context: Any, called: ir.Function, about: Any) -> Any:
    """The entry of a kernel that is a C function."""
    if about.restype != types.int64:
        raise TypeError(f"{kernel.name}: a C function returns int64, not {about.restype}")
    kind = ir.FunctionType(I64, [I64] * len(kernel.arguments))
    entry = ir.Function(called.module, kind, kernel.symbol)
    builder = ir.IRBuilder(entry.append_basic_block("entry"))
    call = context.call_conv.call_function
    status, result = call(builder, called, about.restype, about.argtypes, entry.args)
    builder.ret(builder.select(status.is_error, I64(0), result))
    return llvm.parse_assembly(str(called.module))


class _Slots:
    """Reads or writes slots of eight bytes, from the first to the last."""

    def __init__(self, context: Any, builder: ir.IRBuilder, slots: ir.Value) -> None:
        self._context, self._builder, self._slots = context, builder, slots
        self.at = 0
        module = builder.module
        self._head, self._array = (ir.GlobalVariable(module, I64, name) for name in ("gputok_head", "gputok_array"))

    def read(self, kind: Type) -> ir.Value:
        """Reads an argument of this type."""
        if isinstance(kind, TupleType):
            items = [self.read(item) for item in kind.items]
            return self._context.make_tuple(self._builder, numba_type(kind), items)
        slot = self._builder.load(self._next())
        if isinstance(kind, Number):
            return self._number(kind, slot)
        assert isinstance(kind, Elements)
        return self._elements(kind, slot)

    def _next(self) -> ir.Value:
        self.at += 1
        return self._builder.gep(self._slots, [I64(self.at - 1)])

    def _number(self, kind: Number, slot: ir.Value) -> ir.Value:
        builder, wanted = self._builder, self._context.get_value_type(numba_type(kind))
        if kind.code == "f8":
            return builder.bitcast(slot, wanted)
        if wanted == I64:
            return slot
        # A truth value is 0 or 1, and a number fits its type: Python and machine code must not see different values.
        value = builder.trunc(slot, wanted)
        widened = builder.sext(value, I64) if kind.code[0] == "i" else builder.zext(value, I64)
        self._must(builder.icmp_unsigned("==", widened, slot))
        return value

    def _elements(self, kind: Elements, slot: ir.Value) -> ir.Value:
        """Reads the fields of an array object (`PyArrayObject_fields`), after checking its type."""
        builder = self._builder
        head = builder.load(self._head)
        fields = builder.add(slot, head)

        def field(base: ir.Value, offset: int, of: ir.Type) -> ir.Value:
            where = builder.inttoptr(builder.add(base, I64(offset)), of.as_pointer())
            return builder.load(where)

        self._must(builder.icmp_unsigned("==", field(fields, -8, I64), builder.load(self._array)))
        contiguous_and_aligned = builder.and_(field(fields, 48, I32), I32(0x101))
        right = builder.icmp_unsigned("==", contiguous_and_aligned, I32(0x101))
        right = builder.and_(right, builder.icmp_unsigned("==", field(fields, 8, I32), I32(kind.ndim)))
        about = builder.add(field(fields, 40, I64), head)
        number = field(about, 12, I32)
        any_of = [builder.icmp_unsigned("==", number, I32(same)) for same in _type_numbers(kind.code)]
        right = builder.and_(right, any_of[0] if len(any_of) == 1 else builder.or_(*any_of))
        order = field(about, 10, I8)
        native = [builder.icmp_unsigned("==", order, I8(ord(mark))) for mark in "=|"]
        self._must(builder.and_(right, builder.or_(*native)))

        array_type = numba_type(kind)
        shape = [field(field(fields, 16, I64), 8 * axis, I64) for axis in range(kind.ndim)]
        size = np.dtype(kind.code).itemsize
        strides: list[ir.Value] = [I64(size)]
        for length in reversed(shape[1:]):
            strides.insert(0, builder.mul(strides[0], length))
        array = arrayobj.make_array(array_type)(self._context, builder)
        arrayobj.populate_array(
            array,
            data=builder.inttoptr(field(fields, 0, I64), array.data.type),
            shape=shape,
            strides=strides,
            itemsize=I64(size),
            meminfo=None,
            parent=builder.inttoptr(slot, array.parent.type),  # lets a kernel return the array
        )
        return array._getvalue()

    def _must(self, condition: ir.Value) -> None:
        builder = self._builder
        with builder.if_then(builder.not_(condition), likely=False):
            builder.store(I64(self.at - 1), builder.gep(self._slots, [I64(0)]))
            builder.ret(I32(WRONG_ARGUMENT))

    def write(self, kind: Any, value: ir.Value) -> None:
        """Writes a result of this type."""
        context, builder = self._context, self._builder
        if isinstance(kind, types.BaseTuple):
            for item, part in zip(kind.types, cgutils.unpack_tuple(builder, value, len(kind.types)), strict=True):
                self.write(item, part)
        elif isinstance(kind, types.Array):
            if kind.layout != "C":
                raise TypeError(f"expected a kernel that returns contiguous arrays, got {kind}")
            array = arrayobj.make_array(kind)(context, builder, value)
            builder.store(builder.ptrtoint(array.meminfo, I64), self._next())
            builder.store(builder.ptrtoint(array.parent, I64), self._next())
            builder.store(builder.ptrtoint(array.data, I64), self._next())
            for length in cgutils.unpack_tuple(builder, array.shape, kind.ndim):
                builder.store(length, self._next())
        elif isinstance(kind, types.Boolean):
            builder.store(builder.zext(value, I64), self._next())
        elif isinstance(kind, types.Integer):
            wide = value if kind.bitwidth == 64 else (builder.sext if kind.signed else builder.zext)(value, I64)
            builder.store(wide, self._next())
        elif kind == types.float64:
            builder.store(builder.bitcast(value, I64), self._next())
        elif kind != types.none:
            raise TypeError(f"expected a kernel that returns arrays and numbers, got {kind}")


def _type_numbers(code: str) -> list[int]:
    """NumPy's numbers of a type: for some integers, C has two names."""
    return sorted(
        {np.dtype(name).num for name in np.typecodes["AllInteger"] + "?fd" if np.dtype(name) == np.dtype(code)}
    )
