"""Addresses in kernels: Numba counts no reference for one, and frees an array after the last line that names it."""

import ast
import os
import pathlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest
from gputok.kernels import cpu

import gputok

HERE = pathlib.Path(__file__).parent


def kernels() -> Iterator[tuple[str, ast.FunctionDef]]:
    for path in sorted(pathlib.Path(cpu.__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and any(
                "kernel" in ast.dump(d) for d in node.decorator_list
            ):
                yield f"{path.name}: {node.name}", node


def names(node: ast.AST) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def root(node: ast.expr) -> str:
    """The name that an expression is a part of: `work` of `work.ids`; of anything else, nothing."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def calls(function: ast.FunctionDef, name: str) -> Iterator[ast.Call]:
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
            yield node


def not_held(function: ast.FunctionDef) -> set[str]:
    """What a kernel made, and took the address of, and neither returns nor holds."""
    given = {argument.arg for argument in function.args.args}  # the caller has references to these
    made = set()
    for node in ast.walk(function):
        if not isinstance(node, ast.Assign):
            continue
        for target in node.targets:
            both = isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple)
            pairs = zip(target.elts, node.value.elts, strict=True) if both else [(target, node.value)]
            for to, value in pairs:
                if root(value) in given:
                    given |= names(to)
                elif isinstance(to, ast.Name | ast.Tuple):
                    made |= names(to)
    addressed = {root(call.args[0]) for call in calls(function, "address")}
    returned = [node.value for node in ast.walk(function) if isinstance(node, ast.Return) and node.value]
    held = set().union(*map(names, returned), *(names(call.args[0]) for call in calls(function, "hold")))
    return (made & addressed) - held


def test_kernels_hold_what_they_work_with_by_address():
    wrong = {name: found for name, function in kernels() if (found := not_held(function))}
    assert not wrong


@pytest.mark.parametrize(
    ("end", "found"), [("return n", {"keys"}), ("hold(keys)", set()), ("return keys[:n]", set())]
)
def test_what_is_not_held_is_found(end, found):
    source = f"""
def kernel(text, n):
    keys, ids = np.empty(n), text.ids
    first, second = address(keys), address(ids)
    while n:
        n -= load_u64(first, n)
    {end}
"""
    (function,) = ast.parse(source).body
    assert not_held(function) == found


@pytest.mark.full
def test_valgrind_finds_no_error(tmp_path):
    """Each kind of kernel under memcheck: no read or write beside what is allocated."""
    if not shutil.which("valgrind"):
        pytest.skip("valgrind is not installed (Debian: apt-get install valgrind)")
    sentencepiece = pytest.importorskip("sentencepiece")
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("".join(f"the text of line {i} ﬁ é\n" for i in range(300)), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus), model_prefix=str(tmp_path / "model"), vocab_size=50, minloglevel=2
    )
    gputok.from_sentencepiece(str(tmp_path / "model.model")).save(str(tmp_path / "precompiled.json"))
    environment = os.environ | {
        "NUMBA_CPU_NAME": "haswell",  # valgrind knows no AVX-512
        "NUMBA_CPU_FEATURES": "",
        "NUMBA_CACHE_DIR": str(tmp_path / "cache"),
        "PYTHONMALLOC": "malloc",
    }
    command = [sys.executable, str(HERE / "work_of_kernels.py"), str(tmp_path / "precompiled.json")]
    subprocess.run(command, env=environment, check=True)  # compiles, outside of valgrind
    checked = ["valgrind", "--undef-value-errors=no", "--num-callers=20", *command]
    done = subprocess.run(checked, env=environment, capture_output=True, text=True)
    assert done.stdout.endswith("done\n"), done.stderr[-3000:]
    assert re.search(r"ERROR SUMMARY: 0 errors", done.stderr), done.stderr[-5000:]
