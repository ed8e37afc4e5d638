"""Facades: modules that show names of other modules, and import each of them at the first use of the name.

A process needs few of the classes that such a module shows; to import all of them would take longer than a small task.
This file also has `public`, which sets the module that users see, and makers of methods: `same_method`, `in_thread`.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import inspect
import sys
from collections.abc import Callable, Coroutine, Generator, Mapping
from typing import Any, Concatenate, ParamSpec, TypeVar


@contextlib.contextmanager
def without_collection() -> Generator[None, None, None]:
    """Switches the garbage collector off: while modules are imported, or many objects are made, it finds no garbage."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def attach(module: str, names: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Returns the `__getattr__` and the `__dir__` of a facade; module: its `__name__`.

    names: a module within `gputok` -> the names that it defines, with spaces between them. A name that is in `__all__`
    of the facade, but not here, is itself a module within `gputok`.

    >>> find, names = attach("gputok", {"tokenizer": "Tokenizer"})
    >>> find("Tokenizer").__name__, find("models").__name__, "Tokenizer" in names()
    ('Tokenizer', 'gputok.models', True)
    """
    homes = {name: home for home, defined in names.items() for name in defined.split()}

    def __getattr__(name: str) -> Any:
        if name not in homes and name not in __dir__():
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        with without_collection():
            home = importlib.import_module(f"gputok.{homes.get(name, name)}")
            # To the oldest generation: the collector would look at all new objects once for each generation before it
            if not gc.get_freeze_count():  # else `unfreeze` would release what the user has frozen
                gc.freeze()
                gc.unfreeze()
        value = home if homes.get(name, name) == name else getattr(home, name)
        setattr(sys.modules[module], name, value)
        return value

    def __dir__() -> list[str]:  # what completes names in an editor or a notebook
        return list(sys.modules[module].__all__)

    return __getattr__, __dir__


Public = TypeVar("Public")


def public(module: str) -> Callable[[Public], Public]:
    """Sets `__module__` of a class to the module that users import the class from, for its `repr` and its pickles.

    >>> from gputok import AddedToken
    >>> AddedToken.__module__
    'gputok'
    """

    def name(value: Public) -> Public:
        value.__module__ = module
        return value

    return name


_Given = ParamSpec("_Given")
_Found = TypeVar("_Found")


def same_method(
    method: Callable[Concatenate[Any, _Given], _Found], first: str = "", none: str = ""
) -> Callable[Concatenate[Any, _Given], _Found]:
    """Makes a method of a class that wraps a tokenizer: it calls the method of this name of `self._tokenizer`.

    first: another name for its first argument; none: the message of the ValueError that is raised if this one is None.
    """
    name = method.__name__

    @functools.wraps(method)
    def call(self: Any, *args: Any, **options: Any) -> Any:
        if first in options:
            args = (options.pop(first), *args)
        if none and args and args[0] is None:
            raise ValueError(none)
        return getattr(self._tokenizer, name)(*args, **options)

    if first:
        signature = inspect.signature(method)
        own, renamed, *others = signature.parameters.values()
        parameters = [own, renamed.replace(name=first), *others]
        made: Any = call
        made.__signature__ = signature.replace(parameters=parameters)  # `inspect.signature` and `help` show this
    return call


def in_thread(
    method: Callable[Concatenate[Any, _Given], _Found], also: str = ""
) -> Callable[Concatenate[Any, _Given], Coroutine[Any, Any, _Found]]:
    """Makes the method `async_NAME`, which runs the method NAME on another thread; also: ends its docstring."""
    name = method.__name__

    @functools.wraps(method)
    async def call(self: Any, *args: Any, **options: Any) -> Any:
        import asyncio

        return await asyncio.to_thread(getattr(self, name), *args, **options)

    call.__name__, call.__qualname__ = f"async_{name}", method.__qualname__.replace(name, f"async_{name}")
    call.__doc__ = f"Runs `{name}` on another thread, with the same arguments. {also}".strip()
    return call
