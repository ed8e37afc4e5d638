"""Facades: modules that show names of other modules, and import each of them at the first use of the name.

A process needs few of the classes that such a module shows, and to import the others takes longer than little work.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def lazy(module: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Returns the `__getattr__` of a facade.

    Args:
        module: the facade's `__name__`.
        homes: name -> the module within `gputok` that defines it, or that it names.

    Example:
        >>> find = lazy("gputok", {"Tokenizer": "tokenizer", "models": "models"})
        >>> find("Tokenizer").__name__, find("models").__name__
        ('Tokenizer', 'gputok.models')
    """

    def __getattr__(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        home = importlib.import_module(f"gputok.{homes[name]}")
        value = home if homes[name] == name else getattr(home, name)
        setattr(sys.modules[module], name, value)
        return value

    return __getattr__
