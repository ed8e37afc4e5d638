"""The stages in Numba, and the one decorator that holds their flags."""

from __future__ import annotations

import functools
import gc
import pathlib
from collections.abc import Callable
from types import FunctionType
from typing import Any

from gputok.kernels.native import choose, entry_name
from gputok.kernels.native.preparation import preparation
from gputok.kernels.signatures import numba_type, versions


@functools.cache
def _sources_digest() -> str:
    """One hash of every file in this folder, and of the types that they share: Numba's cache looks only at the file of the
    cached function itself."""
    import hashlib

    folder = pathlib.Path(__file__).parent
    digest = hashlib.sha256()
    for path in [folder.parent / "__init__.py", *sorted(folder.glob("*.py"))]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _announced(load: Callable) -> Callable:
    """Looking for code on disk: what is not found is compiled next."""

    @functools.wraps(load)
    def loading(*about: Any) -> Any:
        found = load(*about)
        if found is None:
            preparation.compiles()
        return found

    return loading


def _without_collecting(compile: Callable) -> Callable:
    """Python's garbage collector rests meanwhile: it would look again and again through what the compiler makes and
    keeps (measured: a seventh of the time)."""

    @functools.wraps(compile)
    def compiling(signature: Any) -> Any:
        was_on = gc.isenabled()
        gc.disable()
        try:
            with preparation.going_on():
                return compile(signature)
        finally:
            if was_on:
                gc.enable()

    return compiling


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
    if calls is None:
        return _compiled(function, arguments, inline)
    return calls[entry_name(function)] if arguments else function


def _compiled(function: Callable, arguments: tuple[Any, ...], inline: bool) -> Any:
    with preparation.going_on():
        from numba import njit
        from numba.core.caching import FunctionCache

    if inline:  # without what Python would call, and a cache entry
        return njit(
            nogil=True, error_model="numpy", forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True
        )(function)
    compiled = njit(nogil=True, error_model="numpy", no_cfunc_wrapper=True)(function)
    cache = FunctionCache(function)
    # As the version, not as the stamp: the index of another version isn't read, and may name types that are gone.
    cache._cache_file._version = cache._cache_file._source_stamp = (
        _sources_digest() + cache._cache_file._version
    )
    cache.load_overload = _announced(cache.load_overload)
    compiled._cache = cache
    compiled.compile = _without_collecting(compiled.compile)
    if arguments:
        compiled.declared = arguments
        compiled.compile = _as_declared(compiled)
    return compiled


def _as_declared(compiled: Any) -> Callable:
    """Compiles what is declared, and nothing else; an array that may not be written to is taken for any other."""
    compile = compiled.compile

    @functools.cache
    def declared() -> list[tuple]:
        return [tuple(map(numba_type, types)) for types in versions(compiled.declared)]

    def compiling(signature: Any) -> Any:
        given = tuple(map(_writable, signature))
        if given not in declared():
            raise TypeError(
                f"{compiled.py_func.__name__} takes {' or '.join(map(str, declared()))}, and was given {signature}"
            )
        entry = compile(given)
        if given != tuple(signature):
            compiled._insert([kind._code for kind in signature], entry, False)
        return entry

    return compiling


def _writable(kind: Any) -> Any:
    """The type of the same array, or tuple with arrays, that may be written to."""
    from numba.core import types

    if isinstance(kind, types.Array):
        return kind if kind.mutable else kind.copy(readonly=False)
    if isinstance(kind, types.BaseTuple):
        return types.BaseTuple.from_types(tuple(map(_writable, kind)), getattr(kind, "instance_class", None))
    return kind
