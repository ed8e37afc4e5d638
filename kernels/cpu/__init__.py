"""The stages in Numba, and the decorator that makes a kernel of a function."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

from gputok.kernels import native

CALLS = native.choose().calls
if CALLS is not None:  # a wheel has the modules without what only Numba reads, see kernels/wheel/write_faces.py
    __path__.insert(0, f"{native.__path__[0]}/faces/cpu")


def kernel(*arguments: Any, inline: bool = False, c: bool = False) -> Any:
    """Makes a kernel of a function: takes machine code from the library of this package, or compiles at the first call.

    `@kernel(u8[:], i64[:], Walk)` declares the types of the arguments, by names of `gputok.kernels.signatures`. Only
    other kernels call a function under a bare `@kernel`; with `inline=True`, LLVM inlines it there. With `c=True`, the
    kernel is a C function, of int64 with a result of int64, which only `gputok.kernels.builtins` gives to Python.

    Compiled code runs without the GIL, and is kept until a file of this folder changes. `error_model="numpy"` drops
    a check at each division. Fast-math and fused multiply-add are off: results have the same bits everywhere.
    """
    if len(arguments) == 1 and isinstance(arguments[0], FunctionType):
        return _kernel(arguments[0], (), inline, c)
    return lambda function: _kernel(function, arguments, inline, c)


def _kernel(function: Callable, arguments: tuple[Any, ...], inline: bool, c: bool) -> Any:
    if CALLS is not None:
        return CALLS[native.entry_name(function)]() if arguments else function
    from gputok.kernels.cpu import jit

    return jit.inner(function) if inline else jit.compiled(function, arguments, c)
