"""The stages in Numba, and the one decorator that holds their flags."""

from __future__ import annotations

import contextlib
import functools
import gc
import hashlib
import pathlib
import warnings
from collections.abc import Callable
from typing import Any

from numba import njit
from numba.core import config
from numba.core.caching import FunctionCache, NullCache
from numba.misc.appdirs import AppDirs

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


def not_kept(folders: str = "") -> str:
    """What to say where compiled code can't be written to disk; by default, to none of the folders that Numba looks at."""
    if not folders:
        user = AppDirs(appname="numba", appauthor=False).user_cache_dir
        folders = " or ".join([*filter(None, [config.CACHE_DIR]), str(pathlib.Path(__file__).parent), user])
    return (
        f"compiled code can't be written to {folders}, so every process compiles anew, for some seconds; set the "
        "variable NUMBA_CACHE_DIR to a folder that can be written"
    )


@functools.cache
def _warn_once(message: str) -> None:
    warnings.warn(message, stacklevel=2)


class _Kept(FunctionCache):
    """Numba's cache on disk; code that can't be read from it or written to it is compiled and used all the same."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        with contextlib.suppress(OSError):
            return super().load_overload(sig, target_context)

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError:  # a full disk, or a folder that could be written a moment ago
            _warn_once(not_kept(self.cache_path))


def _kept(function: Callable) -> FunctionCache | NullCache:
    """The cache on disk of one function, or none where no folder can be written."""
    try:
        cache = _Kept(function)
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
        _warn_once(not_kept())
        return NullCache()
    # As the version, not as the stamp: the index of another version isn't read, and may name types that are gone.
    cache._cache_file._version = cache._cache_file._source_stamp = (
        _sources_digest() + cache._cache_file._version
    )
    return cache


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

    The cached code is thrown away when any file of this folder changes; where no folder can be written, a warning says so
    once, and nothing is kept. `error_model="numpy"` drops a check at
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
    compiled._cache = _kept(function)
    compiled.compile = _without_collecting(compiled.compile)
    lend_views(compiled)
    return compiled
