"""Runs programs that import `tokenizers` with gputok instead; the programs need not be changed.

In a program, before any module imports `tokenizers` (so before `transformers`, `sentence_transformers`, `trl`, ...):

    import gputok
    gputok.install_as_tokenizers()

On the command line, for a script or a module: `python -m gputok.tokenizers script.py arguments`,
`python -m gputok.tokenizers -m package.module arguments`. In a notebook: `%load_ext gputok.tokenizers`.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.metadata
import runpy
import sys
import types
from pathlib import Path
from typing import Any

NAME = "tokenizers"
VERSION = "0.23.3"
"""The version of `tokenizers` that gputok is tested against; also `tokenizers.__version__` if none is installed."""

SUBMODULES = "decoders implementations models normalizers pre_tokenizers processors tools trainers".split()

_USAGE = (
    "usage: python -m gputok.tokenizers script.py [arguments]\n"
    "       python -m gputok.tokenizers -m module [arguments]\n"
    "runs a script or a module in which `import tokenizers` gives gputok"
)


def install_as_tokenizers() -> None:
    """Makes `import tokenizers` import gputok, in this process and in the processes that it forks.

    A second call has no effect. A process that is spawned, not forked, must call this function itself.

    Raises:
        RuntimeError: if `tokenizers` was imported before, since objects of both packages would then meet.
    """
    imported = sys.modules.get(NAME)
    if isinstance(imported, _Tokenizers):
        return
    if imported is not None:
        users = {name.partition(".")[0] for name, module in [*sys.modules.items()] if _uses(module, imported)}
        users -= {NAME, "gputok", "__main__", "__mp_main__"}
        by = f" (it is in use by {', '.join(sorted(users))})" if users else ""
        raise RuntimeError(
            f"tokenizers was imported before{by}: call gputok.install_as_tokenizers() at the start of the program, "
            "before transformers and everything else that imports tokenizers; in a notebook, restart the kernel and "
            "run %load_ext gputok.tokenizers first"
        )
    top = _Tokenizers(NAME, importlib.import_module("gputok").__doc__)
    top.__path__ = []  # a package without files
    top.__spec__ = importlib.machinery.ModuleSpec(NAME, loader=None, is_package=True)
    top.__version__ = _version()
    top.__file__ = importlib.import_module("gputok").__file__  # as each package has one; programs print it
    # tokenizers.tokenizers is the compiled module of tokenizers
    modules: dict[str, types.ModuleType] = {NAME: top, f"{NAME}.{NAME}": top}
    for name in SUBMODULES:
        module = importlib.import_module(f"gputok.{name}")
        modules[f"{NAME}.{name}"] = module
        setattr(top, name, module)
    top.tokenizers = top
    sys.modules.update(modules)
    # Programs look for "tokenizers" in the text of type(tokenizer): it has the name of this module now
    for name in dir(importlib.import_module(NAME)):
        kind = getattr(top, name)
        if isinstance(kind, type) and kind.__module__.partition(".")[0] == "gputok":
            kind.__module__ = __name__


def __getattr__(name: str) -> Any:
    """Returns the classes of gputok: after `install_as_tokenizers`, their pickles name this module."""
    if name.startswith("_") or name not in (found := importlib.import_module("gputok")).__all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(found, name)


class _Tokenizers(types.ModuleType):
    """The module `tokenizers`, with the names of gputok."""

    __version__: str
    tokenizers: types.ModuleType

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module {NAME!r} has no attribute {name!r}")
        try:
            return getattr(importlib.import_module("gputok"), name)
        except AttributeError:
            raise AttributeError(
                f"module {NAME!r} has no attribute {name!r} (it is gputok, by gputok.install_as_tokenizers)"
            ) from None

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *dir(importlib.import_module("gputok"))})


def _version() -> str:
    try:
        return importlib.metadata.version(NAME)
    except importlib.metadata.PackageNotFoundError:
        return VERSION


def _uses(module: Any, package: types.ModuleType) -> bool:
    """Returns True if a module contains a name that comes from a package."""
    values = [*vars(module).values()] if isinstance(module, types.ModuleType) else []
    prefix = f"{package.__name__}."
    kinds = (value.__module__ for value in values if isinstance(value, type))
    modules = (value.__name__ for value in values if type(value) is types.ModuleType)
    return any(f"{name}.".startswith(prefix) for name in (*kinds, *modules))


def load_ipython_extension(ipython: Any) -> None:
    """Runs on `%load_ext gputok.tokenizers`."""
    install_as_tokenizers()


def main(arguments: list[str]) -> None:
    """Runs `python -m gputok.tokenizers` with these arguments."""
    if arguments[:1] in (["-h"], ["--help"]):
        print(_USAGE)
        return
    is_module = arguments[:1] == ["-m"]
    target = arguments[is_module:][:1]
    if not target or target[0].startswith("-"):
        sys.exit(_USAGE)
    if not is_module and not Path(target[0]).exists():
        sys.exit(f"{target[0]}: no such file\n{_USAGE}")
    sys.argv = arguments[is_module:]
    install_as_tokenizers()
    if not sys.flags.safe_path:  # as Python itself does for a script or a module
        sys.path[0] = str(Path.cwd() if is_module else Path(target[0]).resolve().parent)
    if is_module:
        runpy.run_module(target[0], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(target[0], run_name="__main__")


if __name__ == "__main__":
    # Python runs a copy of this module, named __main__. Classes must be those of the module that others import
    importlib.import_module("gputok.tokenizers").main(sys.argv[1:])
