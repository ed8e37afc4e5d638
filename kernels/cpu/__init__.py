"""The stages in Numba, and the one decorator that makes kernels of their functions."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

from gputok.kernels.native import choose, entry_name


def kernel(*arguments: Any, inline: bool = False) -> Any:
    """Makes a kernel of a function: machine code from the library of this package, or compiled at the first call.

    The types of its arguments are declared, `@kernel(u8[:], i64[:], Walk)`, by names of `gputok.kernels.signatures`. A bare
    `@kernel` is a function that only other kernels call, and `inline=True` has LLVM inline it there.

    Compiled code runs without the GIL, and is kept on disk until any file of this folder changes.
    `error_model="numpy"` drops a check at each division. There is no fast-math and no fused multiply-add: results are
    the same bits everywhere.
    """
    if len(arguments) == 1 and isinstance(arguments[0], FunctionType):
        return _kernel(arguments[0], (), inline)
    return lambda function: _kernel(function, arguments, inline)


def _kernel(function: Callable, arguments: tuple[Any, ...], inline: bool) -> Any:
    calls = choose().calls
    if calls is not None:
        return calls[entry_name(function)] if arguments else function
    from gputok.kernels.cpu import jit

    return jit.inlined(function) if inline else jit.compiled(function, arguments)
