"""The stages in Numba, and the one decorator that holds their flags."""

from __future__ import annotations

import functools
import gc
import hashlib
import pathlib
from collections.abc import Callable
from typing import Any

from numba import njit
from numba.core.caching import FunctionCache

from .memory import CHECKED, lend_views


@functools.cache
def _sources_digest() -> str:
    """One hash of every file in this folder, of the types that they share, and of whether accesses are checked: Numba's
    cache looks only at the file of the cached function itself."""
    folder = pathlib.Path(__file__).parent
    digest = hashlib.sha256(b"checked" if CHECKED else b"")
    for path in [folder.parent / "__init__.py", *sorted(folder.glob("*.py"))]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _without_collecting(compile: Callable) -> Callable:
    """Python's garbage collector rests meanwhile: it would look again and again through what the compiler makes and
    keeps (measured: a seventh of the time)."""

    @functools.wraps(compile)
    def compiling(signature: Any) -> Any:
        was_on = gc.isenabled()
        gc.disable()
        try:
            return compile(signature)
        finally:
            if was_on:
                gc.enable()

    return compiling


def kernel(function: Callable | None = None, *, inline: bool = False) -> Any:
    """Compiles a function at its first call, without the GIL, and keeps the machine code on disk.

    The cached code is thrown away when any file of this folder changes. `error_model="numpy"` drops a check at
    each division. There is no fast-math and no fused multiply-add: results are the same bits everywhere.
    `inline=True` is for the small helpers of other kernels: LLVM inlines them, and they have no cache entry.
    """
    if function is None:
        return functools.partial(kernel, inline=inline)
    if inline:
        compiled = njit(nogil=True, error_model="numpy", boundscheck=CHECKED, forceinline=True)(function)
        lend_views(compiled)
        return compiled
    compiled = njit(nogil=True, error_model="numpy", boundscheck=CHECKED)(function)
    cache = FunctionCache(function)
    # As the version, not as the stamp: the index of another version isn't read, and may name types that are gone.
    cache._cache_file._version = cache._cache_file._source_stamp = (
        _sources_digest() + cache._cache_file._version
    )
    compiled._cache = cache
    compiled.compile = _without_collecting(compiled.compile)
    lend_views(compiled)
    return compiled
