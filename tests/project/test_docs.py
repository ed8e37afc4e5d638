"""The documentation is written by one command, and the command finds what is wrong with it."""

import importlib.util
import pathlib
import sys
import types

import pytest

from gputok import Tokenizer, models, pre_tokenizers

for package in ("nbformat", "pdoc", "nbconvert", "markdown2"):
    if importlib.util.find_spec(package) is None:  # they are imported by the tests: nbformat takes a second and more
        pytest.skip("documentation needs the extra: pip install 'gputok[docs]'", allow_module_level=True)

BUILD = pathlib.Path(__file__).resolve().parents[2] / ".ci" / "docs" / "build.py"


@pytest.fixture(scope="module")
def build():
    spec = importlib.util.spec_from_file_location("build_docs", BUILD)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.full  # .ci/run builds it, too
def test_nothing_is_wrong_with_the_documentation(build, tmp_path):
    assert build.main(tmp_path) == []
    pages = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.html"))
    assert {
        "index.html",
        "gputok.html",
        "playground.html",
        "gputok/models.html",
        "guide/01_new_from_old.html",
        "guide/how_to.html",
    } <= {*pages}
    assert "from_file" in (tmp_path / "gputok.html").read_text(encoding="utf-8")


def test_broken_links_are_found(build, tmp_path):
    (tmp_path / "a.html").write_text('<a href="b.html#x">1</a><a href="b.html#y">2</a><a href="c.html">3</a>')
    (tmp_path / "b.html").write_text('<h2 id="x"></h2><a href="https://elsewhere.org/no">4</a><img src="no.svg">')
    assert build.broken_links(tmp_path) == [
        "a.html: the link b.html#y leads nowhere",
        "a.html: the link c.html leads nowhere",
        "b.html: the link no.svg leads nowhere",
    ]


def test_missing_docstrings_are_found(build, monkeypatch):
    source = '''
"""A module."""
def told(): "What it does."
def untold(): pass
def _private(): pass
class Told:
    "What it is."
    def method(self): pass
    def _private(self): pass
'''
    module = types.ModuleType("sample")
    monkeypatch.setitem(sys.modules, "sample", module)
    exec(source, module.__dict__)
    found = build.undocumented({"sample": build.pdoc.doc.Module(module)})
    assert sorted(found) == ["sample.Told.method: has no docstring", "sample.untold: has no docstring"]


def test_an_exported_encoding_keeps_its_indentation_and_font(build):
    """nbconvert makes one space of several, except in `pre`; JupyterLab's style gives `pre` a proportional font."""
    import nbformat

    tokenizer = Tokenizer(models.WordLevel({"x": 0, "y": 1}, unk_token="x"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    shown = tokenizer.encode("x\n        y")._repr_html_()
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x", outputs=[])])
    notebook.cells[0].outputs = [nbformat.v4.new_output("display_data", data={"text/html": shown})]
    body, _ = build.HTMLExporter(template_name="basic").from_notebook_node(notebook)
    assert "\n        " in body
    assert '<pre class="gputok" dir="auto" style="font-family: ui-monospace, monospace">' in body
