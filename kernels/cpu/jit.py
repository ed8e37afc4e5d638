"""Kernels that Numba compiles at their first call, and keeps on disk."""

from __future__ import annotations

import contextlib
import functools
import gc
import pathlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from gputok.kernels.cpu.primitives.memory import lend_views
from gputok.kernels.native import CHECKED, sources
from gputok.kernels.native.preparation import preparation
from gputok.kernels.signatures import numba_type, versions

with preparation.going_on():
    from numba import _dynfunc, njit
    from numba.core import codegen, config, targetconfig, types
    from numba.core.caching import FunctionCache, NullCache
    from numba.core.ccallback import CFunc
    from numba.core.compiler_lock import global_compiler_lock
    from numba.core.cpu import CPUContext
    from numba.core.types.functions import BaseFunction
    from numba.misc.appdirs import AppDirs

_FLAGS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "boundscheck": CHECKED, "no_cfunc_wrapper": True}


@functools.cache
def _sources_digest() -> str:
    """A hash of the sources of all kernels: Numba's own cache looks only at the file of the cached function."""
    return sources.digest(sources.KERNELS, b"checked" if CHECKED else b"")


def not_kept(folders: str = "") -> str:
    """The warning if compiled code can't be written to `folders`; by default, to none of those that Numba tries."""
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
    # Numba doesn't read an index of cached code with another version. It does read an index with another stamp, which
    # may name types that no longer exist: so the version has the digest, too.
    file, digest = cache._cache_file, _sources_digest()
    file._version = file._source_stamp = digest + file._version
    # Numba writes the index before the code: without the stamp in the name of the code, another process that reads the
    # index in between would run code of another build, or of the release before.
    file._data_name_pattern = file._data_name_pattern.replace(".{number", f".{digest[:16]}.{{number")
    return cache


def cache_folder() -> str | None:
    """The folder of compiled code: NUMBA_CACHE_DIR, `__pycache__` here, or the user's cache; None: there is none."""
    return _kept(_kept).cache_path


def _prepared(compile: Callable) -> Callable:
    """Measures the time of compiling; the garbage collector, which would take a seventh of it, is off meanwhile."""

    @functools.wraps(compile)
    def compiling(signature: Any) -> Any:
        was_on = gc.isenabled()
        gc.disable()
        try:
            with preparation.going_on(), _noted(_no_machine_code[0]):
                return compile(signature)
        finally:
            if was_on:
                gc.enable()

    return compiling


# A stack of bool, True: no machine code is made. First the default, then one for each function that is being compiled
_no_machine_code = [False]


def stop_before_machine_code() -> None:
    """Makes Numba stop at LLVM's language for each function that is compiled from now on."""
    _no_machine_code[0] = True


@contextlib.contextmanager
def _noted(stops: bool) -> Iterator[None]:
    """Notes, while a function is compiled, whether Numba is to make no machine code of it; for `_except_inner`."""
    with global_compiler_lock:  # so that no other thread compiles meanwhile
        _no_machine_code.append(stops)
        try:
            yield
        finally:
            _no_machine_code.pop()


def _except_inner(method: Callable, instead: Callable) -> Callable:
    """Makes a method that does `instead` while a function is compiled of which no machine code is made."""

    @functools.wraps(method)
    def chosen(*args: Any, **kwargs: Any) -> Any:
        return (instead if _no_machine_code[-1] else method)(*args, **kwargs)

    return chosen


def nothing_to_call(context: Any, library: Any, fndesc: Any, env: Any) -> Any:
    """A C function that is never called: Numba wants one for each compiled function, to tell them apart."""
    return _dynfunc.make_function(fndesc.lookup_module(), "nothing", "", 1, env, (library,))


# A function that only kernels call is code in LLVM's language, which becomes part of each kernel. Optimizing it, and
# making machine code of it and of all that it calls, would be for nothing: `encode_units` calls functions that call
# functions, eight deep, and with this at each depth it took four times as long to compile.
codegen.JITCodeLibrary._optimize_final_module = _except_inner(
    codegen.JITCodeLibrary._optimize_final_module, lambda _: None
)
codegen.JITCodeLibrary._finalize_specific = _except_inner(codegen.JITCodeLibrary._finalize_specific, lambda _: None)
codegen.JITCPUCodegen._add_module = _except_inner(codegen.JITCPUCodegen._add_module, lambda *_: None)
_simplifier = codegen.JITCPUCodegen._function_pass_manager
codegen.JITCPUCodegen._function_pass_manager = _except_inner(_simplifier, functools.partial(_simplifier, opt=1))
CPUContext.get_executable = _except_inner(CPUContext.get_executable, nothing_to_call)

# Two shortcuts save an eighth of the time of compiling: which type an operator makes of types of numbers is looked up
# once; and flags are equal to themselves without a look at each flag
_resolve, _are_same = BaseFunction.get_call_type, targetconfig.TargetConfig.__eq__


def _resolved(self: Any, context: Any, args: Any, kws: Any) -> Any:
    if kws or not all(isinstance(kind, types.Number | types.Boolean) for kind in args):
        return _resolve(self, context, args, kws)
    known, given = vars(self).setdefault("known", {}), tuple(args)
    if given not in known:
        known[given] = _resolve(self, context, args, kws)
    return known[given]


BaseFunction.get_call_type = _resolved
targetconfig.TargetConfig.__eq__ = lambda self, other: self is other or _are_same(self, other)
targetconfig.TargetConfig.__hash__ = lambda self: hash(type(self))


def inner(function: Callable, inline: bool = True) -> Any:
    """A function that only kernels call; nothing is kept on disk. inline: LLVM inlines it; else LLVM decides."""
    # `forceinline` is always given: without it, a function that an inline function calls would be inlined, too
    made = njit(**_FLAGS, forceinline=inline, no_cpython_wrapper=True)(function)
    made.compile = _as_inner(made.compile)
    made._insert = lambda *_: None  # so that each call from Python ends in `refused`

    def refused(*_: Any) -> None:
        raise TypeError(f"{function.__name__} is called by kernels only")

    made._compile_for_args = refused
    lend_views(made)
    return made


def _as_inner(compile: Callable) -> Callable:
    @functools.wraps(compile)
    def compiling(signature: Any) -> Any:
        with _noted(True):
            return compile(signature)

    return compiling


def compiled(function: Callable, arguments: tuple[Any, ...], c: bool = False) -> Any:
    """A kernel, compiled at its first call, for the declared types only if there are any; c: see `c_function`."""
    made, within = njit(**_FLAGS)(function), inner(function, inline=False)
    made._cache = _kept(function)
    made.compile = _prepared(made.compile)
    made.get_call_template, made.get_overload, made.within = within.get_call_template, within.get_overload, within
    if arguments:
        made.declared, made.is_c = arguments, c
        if not CHECKED:  # the checked build passes memory with its length
            made.compile = _as_declared(made)
    return made


def c_function(made: Any) -> Any:
    """A kernel that is a C function, compiled, with its `address`; the caller keeps it alive."""
    kinds = [numba_type(kind) for kind in made.declared]
    function = CFunc(made.py_func, (kinds, types.int64), {}, {k: _FLAGS[k] for k in ("error_model", "boundscheck")})
    function._cache = _kept(made.py_func)
    with preparation.going_on():
        function.compile()
    return function


def _as_declared(made: Any) -> Callable:
    """Compiles only the declared types; a read-only array counts as a writable array."""
    compile = made.compile

    @functools.cache
    def declared() -> list[tuple]:
        return [tuple(map(numba_type, types)) for types in versions(made.declared)]

    def compiling(signature: Any) -> Any:
        given = tuple(map(_writable, signature))
        if given not in declared():
            raise TypeError(f"{made.py_func.__name__}: expected {' or '.join(map(str, declared()))}, got {signature}")
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
