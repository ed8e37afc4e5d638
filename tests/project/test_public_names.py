"""The public names of `gputok`: the same list for `import *`, `dir`, and type checkers."""

import ast
import importlib
import pathlib
import pkgutil
import subprocess
import sys

import pytest

import gputok

FACADES = ("models", "trainers")


def test_dir_shows_the_public_names_and_no_others():
    assert dir(gputok) == gputok.__all__ == sorted(gputok.__all__)


@pytest.mark.parametrize("name", FACADES)
def test_a_facade_shows_its_names_before_their_first_use(name):
    code = f"import gputok.{name} as facade; assert dir(facade) == sorted(facade.__all__), dir(facade)\n"
    code += "for name in facade.__all__: getattr(facade, name)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", FACADES)
def test_type_checkers_see_the_names_of_a_facade(name):
    facade = importlib.import_module(f"gputok.{name}")
    tree = ast.parse(pathlib.Path(facade.__file__).read_text())
    shown = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            shown |= {alias.asname or alias.name for alias in node.names}
    assert set(facade.__all__) <= shown


def test_star_import_binds_the_public_names():
    bound = {}
    exec("from gputok import *", bound)
    assert bound.keys() - {"__builtins__"} == set(gputok.__all__)
    assert bound["Tokenizer"] is gputok.Tokenizer and bound["models"] is gputok.models


def test_type_checkers_see_the_same():
    tree = ast.parse(pathlib.Path(gputok.__file__).read_text())
    [block] = [node for node in tree.body if isinstance(node, ast.If) and isinstance(node.test, ast.Name)]
    assert {alias.name for node in block.body for alias in node.names} == set(gputok.__all__)


def test_a_name_in_a_fresh_process():
    code = "import gputok; print(gputok.Tokenizer, gputok.AddedToken, gputok.types.Offsets)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == "<class 'gputok.Tokenizer'> <class 'gputok.AddedToken'> tuple[int, int]".split()


MODULES = sorted(
    found.name
    for found in pkgutil.walk_packages([str(pathlib.Path(gputok.__file__).parent)], "gputok.")
    if not found.name.endswith("__main__") and ".kernels" not in found.name
)


@pytest.mark.slow
def test_each_module_can_be_imported_first():
    """Each module is imported first in a process: none needs another module to be imported before."""
    code = (
        "import os, sys\n"
        "import numpy, typer\n"
        "import gputok\n"
        "for name in sys.argv[1:]:\n"
        "    if child := os.fork():\n"
        "        assert os.waitpid(child, 0)[1] == 0, name\n"
        "    else:\n"
        "        __import__(name)\n"
        "        os._exit(0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *MODULES], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(MODULES) > 100
