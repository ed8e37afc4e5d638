"""Facades: modules that show names of other modules, and import each of them at the first use of the name.

A process needs few of the classes that such a module shows, and to import the others takes longer than little work.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def attach(module: str, names: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Returns the `__getattr__` and the `__dir__` of a facade.

    Args:
        module: the facade's `__name__`.
        names: a module within `gputok` -> the names that it defines; its own name stands for itself.

    Example:
        >>> find, names = attach("gputok", {"tokenizer": "Tokenizer", "models": "models"})
        >>> find("Tokenizer").__name__, find("models").__name__, "Tokenizer" in names()
        ('Tokenizer', 'gputok.models', True)
    """
    homes = {name: home for home, defined in names.items() for name in defined.split()}

    def __getattr__(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        home = importlib.import_module(f"gputok.{homes[name]}")
        value = home if homes[name] == name else getattr(home, name)
        setattr(sys.modules[module], name, value)
        return value

    def __dir__() -> list[str]:  # what completes names in an editor or a notebook
        return list(sys.modules[module].__all__)

    return __getattr__, __dir__
