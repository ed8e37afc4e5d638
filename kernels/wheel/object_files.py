"""From LLVM's bitcode to object files: one for each part of the kernels and level of the processor, and one runtime.

The runtime, which all kernels share, is LLVM's intermediate code in the files `*.ll` beside this module: `runtime.ll`
(memory of arrays) and `level_x86.ll` (what the processor can do).

This module uses internal names of the release of Numba that backend.py requires.
"""

from __future__ import annotations

import os
import pathlib
import platform
import re
import sys
from typing import Any

import llvmlite.binding as llvm
from numba.core import codegen
from numba.core.compiler_lock import global_compiler_lock

ALLOWED = {
    *("malloc", "free", "memcpy", "memmove", "memset", "memcmp", "bcmp"),
    *("sqrt", "exp", "log", "pow", "ceil", "floor", "exp2", "log2", "ldexp"),
    *("NRT_MemInfo_alloc_aligned", "NRT_MemInfo_call_dtor"),
}
"""The functions that the machine code may call: those of C, and those of runtime.ll."""

CPUS = {
    "v2": "x86-64-v2",
    "v3": "x86-64-v3",
    "baseline": {"x86_64": "x86-64", "AMD64": "x86-64"}.get(
        platform.machine(), "apple-m1" if sys.platform == "darwin" else "generic"
    ),
}

V3_FEATURES = "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe"
"""What level v3 has above v2, by LLVM's names."""


def levels() -> tuple[str, ...]:
    """The levels of processors that a wheel is built for: that of this machine; all with `GPUTOK_LEVELS=all`.

    A second level makes the build a quarter longer.
    """
    every = ("v2", "v3") if platform.machine() in ("x86_64", "AMD64") else ("baseline",)
    wanted = os.environ.get("GPUTOK_LEVELS", "native")
    if wanted not in ("native", "all"):
        raise SystemExit(f"GPUTOK_LEVELS={wanted}: expected native or all")
    if wanted == "all":
        return every
    has = llvm.get_host_cpu_features()
    return every[-1:] if all(has.get(feature) for feature in V3_FEATURES) else every[:1]


def _bits(*positions: int) -> int:
    number = sum(1 << position for position in positions)
    return number - (1 << 32) if number >> 31 else number


X86_FEATURES = {
    # SSE3, SSSE3, CMPXCHG16B, SSE4.1, SSE4.2, POPCNT; then FMA, MOVBE, OSXSAVE, AVX, F16C; then BMI1, AVX2, BMI2
    "V2_ONE_C": _bits(0, 9, 13, 19, 20, 23),
    "V3_ONE_C": _bits(12, 22, 27, 28, 29),
    "V3_SEVEN_B": _bits(3, 5, 8),
}


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
    module = _parsed("runtime")
    if platform.machine() in ("x86_64", "AMD64"):
        llvm.initialize_native_asmparser()
        module.link_in(_parsed("level_x86", X86_FEATURES))
    else:
        module.link_in(llvm.parse_assembly("define i32 @gputok_level() {\n  ret i32 1\n}"))
    for name in ("gputok_level", "gputok_release", "gputok_take"):
        _export(module.get_function(name))
    for name in ("gputok_head", "gputok_array", "gputok_known"):
        _export(module.get_global_variable(name))
    for name in ("NRT_MemInfo_alloc_aligned", "NRT_MemInfo_call_dtor"):
        module.get_function(name).visibility = "hidden"
    return _object("the runtime", module, CPUS["baseline"])


def _parsed(name: str, known: dict[str, int] | None = None) -> Any:
    """The module of a file `*.ll`; known: the numbers that names in the file stand for."""
    code = pathlib.Path(__file__).with_name(f"{name}.ll").read_text()
    if known:
        code = re.sub(rf"\b({'|'.join(map(re.escape, known))})\b", lambda found: str(known[found[0]]), code)
    return llvm.parse_assembly(code)


def _export(value: Any) -> None:
    if sys.platform == "win32":
        value.storage_class = "dllexport"


@global_compiler_lock
def _object(of: str, module: Any, cpu: str) -> bytes:
    made = codegen.AOTCPUCodegen("gputok", cpu).create_library("kernels")
    made._final_module.link_in(module)  # without Numba's passes over each function: they ran before
    made.finalize()
    asked = {f.name for f in made._final_module.functions if f.is_declaration and not f.name.startswith("llvm.")}
    if asked - ALLOWED:
        raise SystemError(f"{of} asks for {', '.join(sorted(asked - ALLOWED))}, which the C library lacks")
    return made.emit_native_object()
