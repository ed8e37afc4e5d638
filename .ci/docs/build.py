"""Writes the documentation into one folder of HTML: the README, a guide, and the API reference.

    python .ci/docs/build.py FOLDER      (pip install 'gputok[docs]')

The reference is made of the docstrings by pdoc, the guide of notebooks/guide/*.md by markdown2 and of the notebooks by
nbconvert. One search covers all pages. The exit status is 1 if a public name has no
docstring, or if a link leads to a page or an anchor that does not exist; links to other sites are not followed.
"""

from __future__ import annotations

import ast
import html
import html.parser
import importlib
import inspect
import os
import pathlib
import re
import shutil
import sys
import types
import urllib.parse
from typing import TYPE_CHECKING, NamedTuple

import markdown2
import nbformat
import pdoc.doc
import pdoc.render
import pdoc.search
from nbconvert import HTMLExporter

from gputok.recipes import recipe
from gputok.report import playground

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = pathlib.Path(__file__).parents[2]
MODULES = [
    "gputok",
    "gputok.normalizers",
    "gputok.pre_tokenizers",
    "gputok.models",
    "gputok.trainers",
    "gputok.processors",
    "gputok.decoders",
    "gputok.implementations",
    "gputok.pretrained",
    "gputok.corpus",
    "gputok.report",
    "gputok.explain",
    "gputok.audit",
    "gputok.verify",
    "gputok.tables",
    "gputok.distributed",
    "gputok.recipes",
    "gputok.token_classification",
    "gputok.progress",
    "gputok.backend",
    "gputok.tools",
    "gputok.files.locations",
    "gputok.pipeline.run",
    "gputok.pipeline.encode.write",
    "gputok.superwords",
    "gputok.token_files.token_files",
]
"""The modules that users import."""

GUIDE = ["how_to", "serving", "vllm_and_sglang", "install", "formats", "clusters", "gpu", "benchmarks"]
"""The pages of notebooks/guide, in this order."""

MARKDOWN = {"fenced-code-blocks": {"cssclass": "highlight"}, "tables": None, "header-ids": None}
"""The extensions of Markdown that the pages use."""

SHOWN = {
    "gputok.files.locations": ["StorageOptions", "RemoteError"],
    "gputok.pipeline.run": ["RunOptions", "DeviceOptions", "CountOptions"],
    "gputok.pipeline.encode.write": ["WriteOptions"],
    "gputok.token_files.token_files": ["TokenBatch", "FileOptions"],
}
"""Of modules that are more than their public part: the names to show."""


def main(folder: pathlib.Path) -> list[str]:
    """Writes the pages and returns what is wrong with them."""
    folder.mkdir(parents=True, exist_ok=True)
    public = [importlib.import_module(name) for name in MODULES]
    first, *_ = public
    first.__all__ = [
        "Tokenizer",
        *(name for name in first.__all__ if name != "Tokenizer"),
    ]  # it is what people look for
    for name, names in SHOWN.items():
        sys.modules[name].__all__ = names  # pdoc shows these, and ruff need not know
    name_sources()
    documented = {module.__name__: pdoc.doc.Module(module) for module in public}
    shutil.copy(pathlib.Path(__file__).parent / "copy.js", folder)
    write_reference(folder, documented)
    pages = guide_pages()
    write_guide(folder, pages)
    write_playground(folder)
    write_index(folder, pages)
    write_search(folder, documented, pages)
    return [*undocumented(documented), *broken_links(folder)]


def name_sources() -> None:
    """Gives each class the name of the module that it is written in, where pdoc finds its annotations and comments.

    In gputok, public classes have the name of the module that users import them from.
    """
    for name, module in sorted(sys.modules.items()):
        if name.split(".")[0] == "gputok" and getattr(module, "__file__", None):
            tree = ast.parse(pathlib.Path(str(module.__file__)).read_text(encoding="utf-8"))
            for node in tree.body:
                if isinstance(node, ast.ClassDef):
                    vars(module)[node.name].__module__ = name


def write_reference(folder: pathlib.Path, documented: dict[str, pdoc.doc.Module]) -> None:
    """A page for each module."""
    pdoc.render.configure(
        docformat="google", show_source=False, template_directory=pathlib.Path(__file__).parent / "pdoc"
    )
    for name, module in documented.items():
        page = folder / f"{name.replace('.', '/')}.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(without_dead_names(pdoc.render.html_module(module, documented)), encoding="utf-8")


def without_dead_names(page: str) -> str:
    """Takes out the links that pdoc makes of names in docstrings which it does not show."""
    anchors = set(re.findall(r'\bid="([^"]+)"', page))
    return re.sub(
        r'<a href="#([^"]+)">(.*?)</a>', lambda link: link[0] if link[1] in anchors else link[2], page, flags=re.S
    )


class GuidePage(NamedTuple):
    """A page of the guide: its name without folder and ending, title, body, and links to its sections."""

    name: str
    title: str
    body: str
    sections: str


def guide_pages() -> list[GuidePage]:
    """The pages of notebooks/guide in the order of `GUIDE`, with the notebooks after the first."""
    pages = []
    for name in GUIDE:
        text = (ROOT / "notebooks" / "guide" / f"{name}.md").read_text(encoding="utf-8")
        title, _, rest = text.removeprefix("# ").partition("\n")
        pages.append(GuidePage(name, title, *converted(f"# {title}\n{rest}")))
    return [pages[0], *notebook_pages(), *pages[1:]]


def converted(markdown: str) -> tuple[str, str]:
    """The HTML of Markdown, and of the list of its sections; links to pages of the guide lead to their HTML."""
    made = markdown2.markdown(markdown, extras=MARKDOWN)
    body = re.sub(r'href="(?:notebooks/)?guide/(\w+)\.md', r'href="guide/\1.html', str(made))
    body = re.sub(r'href="(\w+)\.md', r'href="\1.html', body)
    headings = re.findall(r'<h2 id="([^"]+)">(.*?)</h2>', body)
    return body, "".join(f'<li><a href="#{anchor}">{heading}</a></li>' for anchor, heading in headings)


def notebook_pages() -> Iterator[GuidePage]:
    """A page for each notebook."""
    exporter = HTMLExporter(template_name="basic", exclude_input_prompt=True, exclude_output_prompt=True)
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        title = notebook.cells[0].source.splitlines()[0].removeprefix("# ")
        body, _ = exporter.from_notebook_node(notebook)
        headings = re.findall(r'<h2 id="([^"]+)">(.*?)<a', body)
        sections = "".join(f'<li><a href="#{anchor}">{heading}</a></li>' for anchor, heading in headings)
        yield GuidePage(path.stem, title, body, sections)


def write_guide(folder: pathlib.Path, pages: list[GuidePage]) -> None:
    """Writes the pages of the guide."""
    (folder / "guide").mkdir(exist_ok=True)
    for page in pages:
        contents = f'<nav class="sections"><ul>{page.sections}</ul></nav>' if page.sections else ""
        body = page.body.replace("</h1>", f"</h1>{contents}", 1)
        whole = page_of(page.title, body, f"guide.{page.name}")
        (folder / "guide" / f"{page.name}.html").write_text(whole, encoding="utf-8")


def write_playground(folder: pathlib.Path) -> None:
    """A page to type in, with a small tokenizer that is trained on the guide."""
    tokenizer, trainer = recipe("bpe", vocab_size=4000)
    guide = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "notebooks" / "guide").glob("*.md"))]
    tokenizer.train_from_iterator(guide, trainer, progress=False)
    text = "Type here: the tokenizer was trained on this guide,\nand has 4,000 tokens. 你好 🙂"
    playground({"4,000 tokens of the guide": tokenizer}, folder / "playground.html", text=text)


def write_index(folder: pathlib.Path, pages: list[GuidePage]) -> None:
    """The first page: the README, with links to the guide and the reference."""
    shutil.copytree(ROOT / ".github", folder / ".github", dirs_exist_ok=True)
    readme, _ = converted((ROOT / "README.md").read_text(encoding="utf-8"))
    lists = [
        '<nav class="lists"><h2 id="guide">Guide</h2><ul>',
        *(f'<li><a href="guide/{page.name}.html">{html.escape(page.title)}</a></li>' for page in pages),
        '<li><a href="playground.html">Playground: type a text, see its tokens</a></li>',
        '</ul><h2 id="reference">Reference</h2><ul>',
        *(f'<li><a href="{name.replace(".", "/")}.html">{name}</a></li>' for name in MODULES),
        "</ul></nav>",
    ]
    (folder / "index.html").write_text(page_of("gputok", readme + "".join(lists), "index"), encoding="utf-8")


def write_search(folder: pathlib.Path, documented: dict[str, pdoc.doc.Module], pages: list[GuidePage]) -> None:
    """The index of pdoc's search, over the reference and the sections of the guide."""
    environment = pdoc.render.env
    found = pdoc.search.make_index(documented, shown, "google")
    for page in pages:
        parts = re.split(r'<h2 id="([^"]+)">(.*?)</h2>', page.body, flags=re.S)
        for anchor, heading, text in [("", "", parts[0]), *zip(*[iter(parts[1:])] * 3, strict=True)]:
            heading = re.sub(r"<a .*", "", heading, flags=re.S)
            name = f"{page.title}: {heading}" if heading else page.title
            doc = without_links(text)
            found.append(
                {"fullname": name, "modulename": f"guide.{page.name}", "qualname": anchor, "kind": "guide", "doc": doc}
            )
    compiled = pdoc.search.precompile_index(
        found, pathlib.Path(pdoc.__file__).parent / "templates" / "build-search-index.js"
    )
    script = environment.get_template("search.js.jinja2").render(search_index=compiled)
    (folder / "search.js").write_text(script, encoding="utf-8")


def shown(member: pdoc.doc.Doc) -> bool:
    """Whether the reference shows a name: the rule of pdoc/module.html.jinja2."""
    return member.name == "__init__" or bool(member.docstring and not member.name.startswith("_"))


def without_links(text: str) -> str:
    """HTML without pictures and with the texts of links: a result of a search may stand on any page."""
    return re.sub(r"</?a\b[^>]*>|<img[^>]*>|<h1.*?</h1>|<style.*?</style>|<svg.*?</svg>", "", text, flags=re.S)[:4000]


def page_of(title: str, body: str, module: str) -> str:
    """A whole page, in the style of this folder.

    Args:
        title: the title, for the browser.
        body: HTML.
        module: the name of the page as pdoc's search counts folders: with a dot for each of them.
    """
    style = (pathlib.Path(__file__).parent / "guide.css").read_text(encoding="utf-8")
    to_root = "../" * module.count(".")
    search = pdoc.render.env.get_template("search.html.jinja2").render(module=types.SimpleNamespace(modulename=module))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{style}</style>'
        f'<script src="{to_root}copy.js"></script></head><body>'
        f'<nav class="pdoc top"><a href="{to_root}index.html">gputok</a> <a href="{to_root}index.html#guide">Guide</a> '
        f'<a href="{to_root}gputok.html">Reference</a> <a href="{to_root}playground.html">Playground</a>'
        '<input type="search" placeholder="Search..." aria-label="Search">'
        f'</nav><main class="pdoc">{body}</main>{search}</body></html>\n'
    )


def undocumented(modules: dict[str, pdoc.doc.Module]) -> list[str]:
    """The public modules, classes, functions and properties without a docstring, of their own or of a base class."""
    found = []

    def look(namespace: pdoc.doc.Namespace[object]) -> None:
        for member in namespace.own_members:
            public = not member.name.startswith("_")
            is_property = isinstance(inspect.getattr_static(namespace.obj, member.name, None), property)
            told = member.docstring or (isinstance(member, pdoc.doc.Variable) and not is_property)
            if public and not told:
                found.append(f"{member.fullname}: has no docstring")
            if public and isinstance(member, pdoc.doc.Class):
                look(member)

    for module in modules.values():
        if not module.docstring:
            found.append(f"{module.fullname}: has no docstring")
        look(module)
    return found


class Page(html.parser.HTMLParser):
    """The anchors of a page, and its links to other pages and anchors."""

    def __init__(self, path: pathlib.Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Collects anchors and links."""
        for name, value in attributes:
            if name in ("id", "name") and value:
                self.anchors.add(value)
            elif name in ("href", "src", "srcset") and value:
                self.links.append(value)


def broken_links(folder: pathlib.Path) -> list[str]:
    """The links between the pages of a folder that lead nowhere."""
    pages = {path.resolve(): Page(path) for path in sorted(folder.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        for link in page.links:
            parts = urllib.parse.urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = path
            if parts.path:
                target = pathlib.Path(os.path.normpath(path.parent / urllib.parse.unquote(parts.path)))
            anchor = urllib.parse.unquote(parts.fragment)
            if not target.is_file() or (anchor and target in pages and anchor not in pages[target].anchors):
                found.append(f"{path.relative_to(folder.resolve())}: the link {link} leads nowhere")
    return found


if __name__ == "__main__":
    wrong = main(pathlib.Path(sys.argv[1]))
    print(*wrong, sep="\n", file=sys.stderr)
    sys.exit(1 if wrong else 0)
