"""Writing the faces of a wheel: the modules of `gputok.kernels.cpu` as Python needs them where machine code serves.

A face lacks what only Numba reads: kernels, and what only kernels name, which takes each process some milliseconds.
"""

from __future__ import annotations

import ast
import pathlib
import shutil
from typing import Any


def write(folder: pathlib.Path) -> None:
    """Writes the faces of all modules, in the same folders, and their other files."""
    source = pathlib.Path(__file__).parents[1] / "cpu"
    shutil.copytree(source, folder / "cpu", ignore=shutil.ignore_patterns("__pycache__", "jit.py"))
    trees = {path: ast.parse(path.read_bytes()) for path in folder.glob("cpu/**/*.py")}
    inner = {node.name for tree in trees.values() for node in tree.body if _kernel(node) == "inner"}
    for path, tree in trees.items():
        _make_face(tree, ".".join(path.relative_to(folder).with_suffix("").parts), inner)
        path.write_bytes(ast.unparse(tree).encode())


def _kernel(node: Any) -> str:
    """`called` for a kernel that Python calls, `inner` for one that other kernels call, else nothing."""
    marks = [mark for mark in getattr(node, "decorator_list", ()) if ast.unparse(mark).split("(")[0] == "kernel"]
    return "" if not marks else "called" if getattr(marks[0], "args", ()) else "inner"


def _make_face(tree: ast.Module, module: str, inner: set[str]) -> None:
    for i, node in enumerate(tree.body):
        if _kernel(node) == "called":
            tree.body[i] = ast.parse(f"{node.name} = CALLS['{module}.{node.name}']()").body[0]
        elif isinstance(node, ast.ImportFrom) and node.module == "gputok.kernels.cpu":
            node.names = [ast.alias("CALLS")]
    tree.body = [node for node in tree.body if not _kernel(node)]
    before = 0
    while before != (before := len(tree.body)):
        nodes = [*ast.walk(tree)]
        # What is loaded, and the strings of `__all__`
        used = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
        used |= {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)} - inner
        tree.body = [node for node in tree.body if _serves(node, used)]


def _serves(node: Any, used: set[str]) -> bool:
    """Whether a statement binds a name that is used, or may be; leaves the others out of an import."""
    if isinstance(node, ast.Assign):
        names = [ast.unparse(name) for name in node.targets]
        return any(name in used or not name.startswith("_") or name == "__all__" for name in names)
    if isinstance(node, ast.Import | ast.ImportFrom) and getattr(node, "module", "") != "__future__":
        node.names = [name for name in node.names if (name.asname or name.name).partition(".")[0] in used]
        return bool(node.names)
    return True
