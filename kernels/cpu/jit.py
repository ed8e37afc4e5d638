"""Kernels that Numba compiles at their first call, and keeps on disk."""

from __future__ import annotations

import contextlib
import functools
import gc
import pathlib
import warnings
from collections.abc import Callable
from typing import Any

from gputok.kernels.cpu.primitives.memory import CHECKED, lend_views
from gputok.kernels.native import sources
from gputok.kernels.native.preparation import preparation
from gputok.kernels.signatures import numba_type, versions

with preparation.going_on():
    from numba import njit
    from numba.core import config, types
    from numba.core.caching import FunctionCache, NullCache
    from numba.misc.appdirs import AppDirs

_FLAGS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "boundscheck": CHECKED,
    "no_cfunc_wrapper": True,
}


@functools.cache
def _sources_digest() -> str:
    """A hash of all files in this folder, of the types that they share, and of the setting GPUTOK_CHECK.

    Numba's own cache looks only at the file of the cached function.
    """
    return sources.digest(sources.KERNELS, b"checked" if CHECKED else b"")


def not_kept(folders: str = "") -> str:
    """The warning if compiled code can't be written to `folders`; by default, to none of the folders that Numba tries."""
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
    """Numba's cache on disk. If reading or writing fails, the code is compiled and used all the same."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        found = None
        with contextlib.suppress(OSError):
            found = super().load_overload(sig, target_context)
        if found is None:
            preparation.compiles()
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError:  # a full disk, or a folder that could be written a moment ago
            _warn_once(not_kept(self.cache_path))


class _NotKept(NullCache):
    """No cache: every kernel is compiled."""

    def load_overload(self, sig: Any, target_context: Any) -> None:
        preparation.compiles()


def _kept(function: Callable) -> FunctionCache | NullCache:
    """The cache on disk of one function, or no cache if no folder can be written."""
    try:
        cache = _Kept(function)
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
        _warn_once(not_kept())
        return _NotKept()
    # Numba doesn't read the index of another version. It does read the index of another stamp, which may name types that
    # no longer exist.
    file, digest = cache._cache_file, _sources_digest()
    file._version = file._source_stamp = digest + file._version
    # Numba writes the index before the code: without the stamp in the name of the code, another process that reads the index
    # in between would run code of another build, or of the release before.
    file._data_name_pattern = file._data_name_pattern.replace(".{number", f".{digest[:16]}.{{number")
    return cache


def cache_folder() -> str | None:
    """The folder of compiled code, by Numba's rules: NUMBA_CACHE_DIR, or `__pycache__` of the kernels, or the user's cache folder.

    None if no folder can be written.
    """
    return _kept(_kept).cache_path


def _prepared(compile: Callable) -> Callable:
    """Measures the time of compiling, and turns Python's garbage collector off meanwhile.

    The collector would walk again and again through all that the compiler makes and keeps (measured: a seventh of the time).
    """

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


def inlined(function: Callable) -> Any:
    """A function that LLVM inlines in the kernels that call it. Python can't call it, and nothing is kept on disk."""
    made = njit(**_FLAGS, forceinline=True, no_cpython_wrapper=True)(function)
    lend_views(made)
    return made


def compiled(function: Callable, arguments: tuple[Any, ...]) -> Any:
    """A kernel, compiled at its first call; only for the declared types of arguments, if types are declared."""
    made = njit(**_FLAGS)(function)
    made._cache = _kept(function)
    made.compile = _prepared(made.compile)
    if arguments:
        made.declared = arguments
        if not CHECKED:  # the checked build passes memory with its length
            made.compile = _as_declared(made)
    lend_views(made)
    return made


def _as_declared(made: Any) -> Callable:
    """Compiles only the declared types; a read-only array counts as a writable array."""
    compile = made.compile

    @functools.cache
    def declared() -> list[tuple]:
        return [tuple(map(numba_type, types)) for types in versions(made.declared)]

    def compiling(signature: Any) -> Any:
        given = tuple(map(_writable, signature))
        if given not in declared():
            raise TypeError(
                f"{made.py_func.__name__}: expected {' or '.join(map(str, declared()))}, got {signature}"
            )
        entry = compile(given)
        if given != tuple(signature):
            made._insert([kind._code for kind in signature], entry, False)
        return entry

    return compiling


def _writable(kind: Any) -> Any:
    """The type of the same array, or tuple with arrays, but writable."""
    if isinstance(kind, types.Array):
        return kind if kind.mutable else kind.copy(readonly=False)
    if isinstance(kind, types.BaseTuple):
        return types.BaseTuple.from_types(tuple(map(_writable, kind)), getattr(kind, "instance_class", None))
    return kind
