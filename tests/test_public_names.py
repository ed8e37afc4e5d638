"""What `gputok` itself holds: one list of names, for `import *`, `dir`, and type checkers."""

import ast
import pathlib
import subprocess
import sys

import gputok


def test_dir_shows_the_public_names_and_no_others():
    assert dir(gputok) == gputok.__all__ == sorted(gputok.__all__)


def test_star_binds_them():
    bound = {}
    exec("from gputok import *", bound)
    assert bound.keys() - {"__builtins__"} == set(gputok.__all__)
    assert bound["Tokenizer"] is gputok.Tokenizer and bound["models"] is gputok.models


def test_type_checkers_see_the_same():
    tree = ast.parse(pathlib.Path(gputok.__file__).read_text())
    [block] = [node for node in tree.body if isinstance(node, ast.If) and isinstance(node.test, ast.Name)]
    assert {alias.asname for node in block.body for alias in node.names} == set(gputok.__all__)


def test_a_name_in_a_fresh_process():
    code = "import gputok; print(gputok.Tokenizer, gputok.AddedToken, gputok.types.Offsets)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (
        done.stdout.split()
        == "<class 'gputok.Tokenizer'> <class 'gputok.AddedToken'> tuple[int, int]".split()
    )
