"""Making the machine code of the kernels when a wheel is built: an object file for each module and level of the processor.

Numba compiles each kernel for the declared arguments as far as LLVM's intermediate code; LLVM optimizes that and makes machine
code for each level. The code does not depend on Python: the *entry* of a kernel is a C function

    int32 entry(int64 *slots)

that reads its arguments from slots of eight bytes (an array by the address of its object, with the fields of
`PyArrayObject_fields` of NumPy's C interface), overwrites the slots with its result, and returns 0 or an error code. The
module calls.py, with the Python functions that fill the slots, is written as well: see `call`.

This module uses internal names of the release of Numba that backend.py requires.
"""

from __future__ import annotations

import functools
import gc
import inspect
import platform
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import llvmlite.binding as llvm
import numpy as np
from gputok.kernels.native import entry_name
from gputok.kernels.native.all import kernels_of
from gputok.kernels.native.call import WRONG_ARGUMENT
from gputok.kernels.native.objects import EXPORTED, IR
from gputok.kernels.native.preparation import preparation
from gputok.kernels.signatures import Elements, Group, Number, Type, numba_type, versions
from llvmlite import ir
from numba import _dynfunc
from numba.core import cgutils, codegen, types
from numba.core.caching import FunctionCache
from numba.core.compiler import CompileResult
from numba.core.compiler_lock import global_compiler_lock
from numba.core.cpu import CPUContext
from numba.np import arrayobj
from numba.np.numpy_support import as_dtype

ALLOWED = {
    *("malloc", "free", "memcpy", "memmove", "memset", "memcmp", "bcmp"),
    *("sqrt", "exp", "log", "pow", "ceil", "floor", "exp2", "log2", "ldexp"),
    *("NRT_MemInfo_alloc_aligned", "NRT_MemInfo_call_dtor"),
}
"""The functions that the machine code may call: those of C, and those of RUNTIME."""

CPUS = {
    "v2": "x86-64-v2",
    "v3": "x86-64-v3",
    "baseline": {"x86_64": "x86-64", "AMD64": "x86-64"}.get(
        platform.machine(), "apple-m1" if sys.platform == "darwin" else "generic"
    ),
}
LEVELS = {"x86_64": ("v2", "v3"), "AMD64": ("v2", "v3")}.get(platform.machine(), ("baseline",))

I8, I32, I64 = (ir.IntType(bits) for bits in (8, 32, 64))

# A block of memory is a header (`NRT_MemInfo` of Numba, with a reference count) and the elements.
RUNTIME = """
declare ptr @malloc(i64)
declare void @free(ptr)
@gputok_head = global i64 16
@gputok_array = global i64 0

define noalias ptr @NRT_MemInfo_alloc_aligned(i64 %size, i32 %align) {
  %a = zext i32 %align to i64
  %more = add i64 %a, 47
  %all = add i64 %size, %more
  %fits = icmp uge i64 %all, %size
  br i1 %fits, label %ask, label %none
ask:
  %block = call ptr @malloc(i64 %all)
  %got = icmp ne ptr %block, null
  br i1 %got, label %fill, label %none
none:
  ret ptr null
fill:
  %start = ptrtoint ptr %block to i64
  %after = add i64 %start, %more
  %rest = urem i64 %after, %a
  %first = sub i64 %after, %rest
  %data = inttoptr i64 %first to ptr
  store i64 1, ptr %block
  %dtor = getelementptr i64, ptr %block, i64 1
  store i64 0, ptr %dtor
  %info = getelementptr i64, ptr %block, i64 2
  store i64 0, ptr %info
  %where = getelementptr i64, ptr %block, i64 3
  store ptr %data, ptr %where
  %bytes = getelementptr i64, ptr %block, i64 4
  store i64 %size, ptr %bytes
  %allocator = getelementptr i64, ptr %block, i64 5
  store i64 0, ptr %allocator
  ret ptr %block
}

define void @NRT_MemInfo_call_dtor(ptr %block) {
  call void @free(ptr %block)
  ret void
}

define void @gputok_take(i64 %object, ptr %block, ptr %elements, i64 %size) {
  %head = load i64, ptr @gputok_head
  %field = add i64 %object, %head
  %where = inttoptr i64 %field to ptr
  %data = load ptr, ptr %where
  call void @llvm.memcpy.p0.p0.i64(ptr %data, ptr %elements, i64 %size, i1 false)
  call void @gputok_release(ptr %block)
  ret void
}

declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)

define void @gputok_release(ptr %block) {
  %before = atomicrmw sub ptr %block, i64 1 acq_rel
  %last = icmp eq i64 %before, 1
  br i1 %last, label %done, label %used
done:
  call void @free(ptr %block)
  ret void
used:
  ret void
}
"""

LEVEL_OF_X86 = """
define internal { i32, i32, i32, i32 } @cpuid(i32 %leaf) {
  %r = call { i32, i32, i32, i32 } asm sideeffect "cpuid", "={ax},={bx},={cx},={dx},0,2,~{dirflag},~{fpsr},~{flags}"(i32 %leaf, i32 0)
  ret { i32, i32, i32, i32 } %r
}
define i32 @gputok_level() {
  %one = call { i32, i32, i32, i32 } @cpuid(i32 1)
  %one_c = extractvalue { i32, i32, i32, i32 } %one, 2
  %high = call { i32, i32, i32, i32 } @cpuid(i32 -2147483648)
  %high_a = extractvalue { i32, i32, i32, i32 } %high, 0
  %far = icmp ugt i32 %high_a, -2147483648
  br i1 %far, label %first, label %none
first:
  %more = call { i32, i32, i32, i32 } @cpuid(i32 -2147483647)
  %more_c = extractvalue { i32, i32, i32, i32 } %more, 2
  %two = and i32 %one_c, V2_ONE_C
  %two_ok = icmp eq i32 %two, V2_ONE_C
  %lahf = and i32 %more_c, 1
  %lahf_ok = icmp eq i32 %lahf, 1
  %is_two = and i1 %two_ok, %lahf_ok
  br i1 %is_two, label %second, label %none
second:
  %three = and i32 %one_c, V3_ONE_C
  %three_ok = icmp eq i32 %three, V3_ONE_C
  %lzcnt = and i32 %more_c, 32
  %lzcnt_ok = icmp eq i32 %lzcnt, 32
  %zero = call { i32, i32, i32, i32 } @cpuid(i32 0)
  %zero_a = extractvalue { i32, i32, i32, i32 } %zero, 0
  %has_seven = icmp uge i32 %zero_a, 7
  %a = and i1 %three_ok, %lzcnt_ok
  %b = and i1 %a, %has_seven
  br i1 %b, label %third, label %v2
third:
  %seven = call { i32, i32, i32, i32 } @cpuid(i32 7)
  %seven_b = extractvalue { i32, i32, i32, i32 } %seven, 1
  %wide = and i32 %seven_b, V3_SEVEN_B
  %wide_ok = icmp eq i32 %wide, V3_SEVEN_B
  br i1 %wide_ok, label %system, label %v2
system:
  %kept = call { i32, i32 } asm sideeffect "xgetbv", "={ax},={dx},{cx},~{dirflag},~{fpsr},~{flags}"(i32 0)
  %kept_a = extractvalue { i32, i32 } %kept, 0
  %both = and i32 %kept_a, 6
  %both_ok = icmp eq i32 %both, 6
  br i1 %both_ok, label %v3, label %v2
v3:
  ret i32 3
v2:
  ret i32 2
none:
  ret i32 1
}
"""


def _bits(*positions: int) -> int:
    number = sum(1 << position for position in positions)
    return number - (1 << 32) if number >> 31 else number


X86_FEATURES = {
    # SSE3, SSSE3, CMPXCHG16B, SSE4.1, SSE4.2, POPCNT; then FMA, MOVBE, OSXSAVE, AVX, F16C; then BMI1, AVX2, BMI2
    "V2_ONE_C": _bits(0, 9, 13, 19, 20, 23),
    "V3_ONE_C": _bits(12, 22, 27, 28, 29),
    "V3_SEVEN_B": _bits(3, 5, 8),
}


class Kernel(NamedTuple):
    """A kernel for certain types of arguments."""

    name: str  # see entry_name; in the library `{level}_{name}_{version}`
    version: int
    parameters: tuple[str, ...]
    arguments: tuple[Type, ...]
    result: Any  # Numba's type


# -------------------------------------------------------------------------------------------------- from Numba to LLVM


def bitcode(modules: Sequence[str]) -> list[tuple[str, bytes, list[Kernel]]]:
    """Compiles the kernels of each module as far as LLVM's bitcode, which is for any level; also returns these kernels."""
    _prepare_numba()
    gc.disable()  # the collector would walk again and again through all that the compiler makes and keeps
    return [(module, *_bitcode(module)) for module in modules]


@functools.cache
def _prepare_numba() -> None:
    """Makes Numba stop at LLVM's intermediate code, without its wrappers for Python and C."""
    preparation.announced = True
    FunctionCache.load_overload = FunctionCache.save_overload = lambda *_: None  # no machine code to keep
    CPUContext.create_cpython_wrapper = lambda *_, **__: None
    CPUContext.get_executable = _nothing_to_call
    # Code is optimized later, for each level; a little now makes it short.
    simplifier = codegen.JITCPUCodegen._function_pass_manager
    codegen.JITCPUCodegen._function_pass_manager = functools.partialmethod(simplifier, opt=1)
    codegen.JITCodeLibrary._optimize_final_module = lambda _: None
    codegen.JITCodeLibrary._finalize_specific = lambda _: None
    codegen.JITCPUCodegen._add_module = lambda *_: None


@global_compiler_lock
def _bitcode(module: str) -> tuple[bytes, list[Kernel]]:
    merged: Any = llvm.parse_assembly("")
    kernels: list[Kernel] = []
    for compiled in kernels_of(module).values():
        parameters = tuple(inspect.signature(compiled.py_func).parameters)
        for version, arguments in enumerate(versions(compiled.declared)):
            signature = tuple(map(numba_type, arguments))
            compiled.compile(signature)
            result = compiled.overloads[signature]
            kernel = Kernel(
                entry_name(compiled.py_func), version, parameters, arguments, result.signature.return_type
            )
            kernels.append(kernel)
            merged.link_in(_entry(kernel, result))
            merged.link_in(result.library._get_module_for_linking(), preserve=True)
    entries = set(map(_entry_name, kernels))
    for function in merged.functions:
        if not function.is_declaration:
            function.linkage = "external" if function.name in entries else "internal"
    for variable in merged.global_variables:
        if not variable.is_declaration:
            variable.linkage = "internal"
    return merged.as_bitcode(), kernels


def _entry_name(kernel: Kernel) -> str:
    return f"{kernel.name.replace('.', '_')}_{kernel.version}"


def _entry(kernel: Kernel, compiled: CompileResult) -> Any:
    """The entry of a kernel in LLVM's intermediate code."""
    context, about = compiled.target_context, compiled.fndesc
    module = context.create_module("entry")
    kind = context.call_conv.get_function_type(about.restype, about.argtypes)
    called = ir.Function(module, kind, about.llvm_func_name)
    entry = ir.Function(module, ir.FunctionType(I32, [I64.as_pointer()]), _entry_name(kernel))
    builder = ir.IRBuilder(entry.append_basic_block("entry"))
    slots = _Slots(context, builder, entry.args[0])
    arguments = [slots.read(kind) for kind in kernel.arguments]
    status, result = context.call_conv.call_function(
        builder, called, about.restype, about.argtypes, arguments
    )
    with builder.if_then(status.is_error, likely=False):
        builder.store(builder.ptrtoint(status.excinfoptr, I64), builder.gep(entry.args[0], [I64(0)]))
        builder.ret(status.code)
    slots.at = 0
    slots.write(about.restype, result)
    builder.ret(I32(0))
    return llvm.parse_assembly(str(module))


def _nothing_to_call(context: Any, library: Any, fndesc: Any, env: Any) -> Any:
    """A C function that is never called: Numba wants one for each compiled function, to tell them apart."""
    return _dynfunc.make_function(fndesc.lookup_module(), "nothing", "", 1, env, (library,))


class _Slots:
    """Reads or writes slots of eight bytes, from the first to the last."""

    def __init__(self, context: Any, builder: ir.IRBuilder, slots: ir.Value) -> None:
        self._context, self._builder, self._slots = context, builder, slots
        self.at = self._leaf = 0
        module = builder.module
        self._head, self._array = (
            ir.GlobalVariable(module, I64, name) for name in ("gputok_head", "gputok_array")
        )

    def read(self, kind: Type) -> ir.Value:
        """Reads an argument of this type."""
        if isinstance(kind, Group):
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
        if kind.code == "f4":
            return builder.fptrunc(builder.bitcast(slot, ir.DoubleType()), wanted)
        if wanted == I64:
            return slot
        # A truth value is 0 or 1, and a number fits its type: Python and machine code must not see different values.
        value = builder.trunc(slot, wanted)
        widened = builder.sext(value, I64) if kind.code[0] == "i" else builder.zext(value, I64)
        self._must(builder.icmp_unsigned("==", widened, slot))
        return value

    def _elements(self, kind: Elements, slot: ir.Value) -> ir.Value:
        """Reads the fields of an array object (PyArrayObject_fields of NumPy's C interface), after checking its type."""
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
            for item, part in zip(
                kind.types, cgutils.unpack_tuple(builder, value, len(kind.types)), strict=True
            ):
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
            wide = (
                value if kind.bitwidth == 64 else (builder.sext if kind.signed else builder.zext)(value, I64)
            )
            builder.store(wide, self._next())
        elif kind == types.float64:
            builder.store(builder.bitcast(value, I64), self._next())
        elif kind != types.none:
            raise TypeError(f"expected a kernel that returns arrays and numbers, got {kind}")


def _type_numbers(code: str) -> list[int]:
    """NumPy's numbers of a type: for some integers, C has two names."""
    return sorted(
        {
            np.dtype(name).num
            for name in np.typecodes["AllInteger"] + "?fd"
            if np.dtype(name) == np.dtype(code)
        }
    )


# ------------------------------------------------------------------------------------------------ from LLVM to the object


def machine_code(of: str, bitcode: bytes, level: str) -> bytes:
    """The object file for a level of the processor, which is part of the names of the entries."""
    module = llvm.parse_bitcode(bitcode)
    for function in module.functions:
        if not function.is_declaration and function.linkage == llvm.Linkage.external:
            function.name = f"{level}_{function.name}"
            _export(function)
    return _object(of, module, CPUS[level])


def runtime() -> bytes:
    """The object file of the code that all kernels share, and of the test for the level; for any processor."""
    module: Any = llvm.parse_assembly(RUNTIME)
    if platform.machine() in ("x86_64", "AMD64"):
        llvm.initialize_native_asmparser()
        text = functools.reduce(
            lambda text, bits: text.replace(bits[0], str(bits[1])), X86_FEATURES.items(), LEVEL_OF_X86
        )
        module.link_in(llvm.parse_assembly(text))
    else:
        module.link_in(llvm.parse_assembly("define i32 @gputok_level() {\n  ret i32 1\n}"))
    module.link_in(llvm.parse_assembly(IR))
    for name in ("gputok_level", "gputok_release", "gputok_take", *EXPORTED):
        _export(module.get_function(name))
    for name in ("gputok_head", "gputok_array", "gputok_python"):
        _export(module.get_global_variable(name))
    for name in ("NRT_MemInfo_alloc_aligned", "NRT_MemInfo_call_dtor"):
        module.get_function(name).visibility = "hidden"
    return _object("the runtime", module, CPUS["baseline"])


def _export(value: Any) -> None:
    if sys.platform == "win32":
        value.storage_class = "dllexport"


@global_compiler_lock
def _object(of: str, module: Any, cpu: str) -> bytes:
    made = codegen.AOTCPUCodegen("gputok", cpu).create_library("kernels")
    made._final_module.link_in(module)  # without Numba's passes over each function: they ran before
    made.finalize()
    asked = {
        f.name for f in made._final_module.functions if f.is_declaration and not f.name.startswith("llvm.")
    }
    if asked - ALLOWED:
        raise SystemError(f"{of} asks for {', '.join(sorted(asked - ALLOWED))}, which the C library lacks")
    return made.emit_native_object()


# --------------------------------------------------------------------------------------------------- the calls in Python

CALLS = '''"""Calls of the kernels' machine code; written by kernels/wheel/emit.py."""

from ctypes import c_int64
from struct import Struct, unpack_from
from struct import error as struct_error

from numpy import dtype

from gputok.kernels.native.call import WRONG_ARGUMENT, arrays, fail, refused

LEVELS = {levels}
SOURCES = {sources!r}


def calls(entry, library):
    """The call of each kernel, by its name; entry: returns the C function of a name."""
    found, array = {{}}, arrays(library)
{kernels}
    for name, call in found.items():
        call.__name__ = call.__qualname__ = name.rpartition(".")[2]
    return found
'''


def call(versions: list[Kernel]) -> str:
    """The source of the Python function that calls a kernel."""
    kernel = versions[0]
    tag = _entry_name(kernel).removesuffix("_0")
    leaves, unpacking = _leaves(kernel)
    if any(version.result != kernel.result for version in versions):
        raise SystemExit(f"{kernel.name} returns different types for different arguments")
    results, n_slots, names = _results(kernel.result)
    n_slots = max(n_slots, len(leaves), 1)
    form = "=" + "".join(letter for _, letter in leaves)
    values = "".join(f", {value}" for value, _ in leaves)
    given = ", ".join(kernel.parameters)
    numbers = range(len(versions))
    # Defaults of parameters are found faster than names of the outer function.
    own = ["_new=_new", "_pack=_pack", *(f"_entry_{k}=_entry_{k}" for k in numbers), *names]
    lines = [f"_new, _pack = c_int64 * {n_slots}, Struct({form!r}).pack_into"]
    lines += [f"_entry_{k} = entry({_entry_name(version)!r})" for k, version in enumerate(versions)]
    lines += [f"def {tag}({', '.join([*kernel.parameters, '*', *own])}):"]
    body = [*unpacking, "_slots = _new()", "try:", f"    _pack(_slots, 0{values})"]  # a `try` costs nothing
    body += ["except struct_error as _why:", f"    raise refused({tag}, _why, ({given},)) from None"]
    body += ["_code = _entry_0(_slots)"]
    for k in numbers[1:]:
        again = f"_pack(_slots, 0{values})", f"_code = _entry_{k}(_slots)"
        body += ["if _code == WRONG_ARGUMENT:", *(f"    {line}" for line in again)]
    body += ["if _code:", f"    return fail({tag}, _code, _slots, ({given},))", *results]
    lines += [f"    {line}" for line in body]
    lines += [f"{tag}.entry = _entry_0", f"found[{kernel.name!r}] = {tag}"]
    return "\n".join(f"    {line}" for line in lines)


def _leaves(kernel: Kernel) -> tuple[list[tuple[str, str]], list[str]]:
    """The expressions that fill the slots, each with its letter for `struct`; and the lines that unpack tuples."""
    leaves: list[tuple[str, str]] = []
    lines: list[str] = []

    def walk(name: str, kind: Type) -> None:
        if isinstance(kind, Group):
            parts = [f"{name}_{k}" for k in range(len(kind.items))]
            lines.append(f"{''.join(f'{part}, ' for part in parts).rstrip()} = {name}")
            for part, item in zip(parts, kind.items, strict=True):
                walk(part, item)
        elif isinstance(kind, Number):
            leaves.append((name, "d" if kind.code[0] == "f" else "Q" if kind.code[0] == "u" else "q"))
        else:
            leaves.append((f"id({name})", "Q"))

    for name, kind in zip(kernel.parameters, kernel.arguments, strict=True):
        walk(name, kind)
    return leaves, lines


def _results(result: Any) -> tuple[list[str], int, list[str]]:
    """The lines that make the result from the slots, the number of slots, and the names that the lines need."""
    at, lines, own = 0, [], ["_array=array"]

    def made(kind: Any) -> str:
        nonlocal at
        first = at
        if isinstance(kind, types.BaseTuple):
            items = "".join(f"{made(item)}, " for item in kind.types)
            if not isinstance(kind, types.BaseNamedTuple):
                return f"({items.rstrip()})"
            by = kind.instance_class
            lines.append(f"from {by.__module__} import {by.__qualname__}")
            return f"{by.__qualname__}({items})"
        if isinstance(kind, types.Array):
            at += 3 + kind.ndim
            name = f"_{as_dtype(kind.dtype).name}"
            own.append(f"{name}=dtype({name[1:]!r})")
            return f"_array(_slots, {first}, {kind.ndim}, {name})"
        at += 1
        if isinstance(kind, types.Boolean):
            return f"_slots[{first}] != 0"
        if kind == types.float64:
            return f"unpack_from('d', _slots, {8 * first})[0]"
        return f"_slots[{first}] & 0xFFFF_FFFF_FFFF_FFFF" if kind == types.uint64 else f"_slots[{first}]"

    if result != types.none:
        value = made(result)
        lines.append(f"return {value}")
    return lines, at, list(dict.fromkeys(own))


def calls(kernels: list[Kernel], levels: Sequence[str], sources: str = "") -> str:
    """The source of calls.py; sources: the hash of the sources that the machine code was made of."""
    of_each: dict[str, list[Kernel]] = {}
    for kernel in kernels:
        of_each.setdefault(kernel.name, []).append(kernel)
    return CALLS.format(levels=tuple(levels), sources=sources, kernels="\n".join(map(call, of_each.values())))
