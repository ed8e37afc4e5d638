"""The examples in all docstrings give the results that they show."""

import ast
import doctest
import importlib
import pathlib

import pytest

import gputok

PACKAGE = pathlib.Path(gputok.__file__).parent
DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
FILES = sorted(path for path in PACKAGE.rglob("*.py") if ">>> " in path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
@pytest.mark.filterwarnings("ignore:only .* pieces were learned")
def test_examples(path, capsys):
    """Found in the source, since decorators give classes the names of other modules."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    module = importlib.import_module(".".join(["gputok", *(part for part in parts if part != "__init__")]))
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        text = ast.get_docstring(node) if isinstance(node, DOCUMENTED) else None
        if text and ">>> " in text:
            name, line = getattr(node, "name", "the module"), getattr(node, "lineno", 1)
            found = doctest.DocTestParser().get_doctest(text, dict(vars(module)), name, str(path), line)
            runner.run(found)
    results = runner.summarize(verbose=False)
    assert results.attempted > 0 and results.failed == 0, capsys.readouterr().out
