"""The documentation is written by one command, and the command finds what is wrong with it."""

import importlib.util
import pathlib
import re
import sys
import types
import warnings

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


@pytest.fixture(scope="module")
def site(build, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning)  # of pdoc, about types
        assert build.main(folder) == []
    return folder


@pytest.mark.full  # .ci/run builds it, too
def test_nothing_is_wrong_with_the_documentation(site):
    pages = sorted(str(path.relative_to(site)) for path in site.rglob("*.html"))
    assert {
        "index.html",
        "gputok.html",
        "playground.html",
        "gputok/models.html",
        "guide/01_new_from_old.html",
        "guide/how_to.html",
    } <= {*pages}
    reference = (site / "gputok.html").read_text(encoding="utf-8")
    assert "from_file" in reference and re.findall(r'<section id="(\w+)">', reference)[0] == "Tokenizer"


@pytest.mark.full
def test_search_finds_what_people_look_for_and_code_is_copied(site, browser):
    opened = browser.new_context(color_scheme="dark", viewport={"width": 390, "height": 800}).new_page()
    index = (site / "index.html").as_uri()
    for word in ("chunk", "DataLoader", "vllm", "explain", "cost", "playground", "language"):
        opened.goto(f"{index}?search={word}")
        opened.locator(".search-result").first.wait_for()
    for page in ("gputok.html", "guide/how_to.html", "guide/05_block_by_block.html", "index.html"):
        opened.goto((site / page).as_uri())
        assert opened.evaluate("document.documentElement.scrollWidth") == 390, page
        box = opened.locator("input[type=search]").first
        dark = box.evaluate(
            "one => getComputedStyle(one).backgroundColor.match(/\\d+/g).slice(0, 3).every(part => part < 80)"
        )
        assert dark and opened.locator("button.copy").count() > 1, page
        output = opened.locator(".jp-OutputArea pre, .output_area pre").first
        if output.count():
            assert output.evaluate("one => one.scrollWidth <= one.clientWidth + 1")


def test_the_chart_is_that_of_the_tables():
    spec = importlib.util.spec_from_file_location("speed_chart", BUILD.parents[1] / "speed_chart.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for path, picture in module.charts().items():
        assert path.read_text(encoding="utf-8") == picture, "run python .ci/speed_chart.py"
        assert "tokenizers 1.0rc3" in picture


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
