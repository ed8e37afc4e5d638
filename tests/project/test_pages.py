"""Every command and program of README.md and notebooks/guide runs as it is written, on files with the names it uses.

By default in this environment and without network; `pytest -m full` installs what the README says into a fresh one.
Left out are lines that need a GPU, and those whose packages are gigabytes.
"""

import ast
import gzip
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tomllib
import venv

import pyarrow as pa
import pyarrow.parquet
import pytest

import gputok
from gputok import Tokenizer
from gputok.recipes import recipe

HERE = pathlib.Path(__file__).parents[2]
README = (HERE / "README.md").read_text(encoding="utf-8")
PAGES = {"README": README} | {
    path.stem: path.read_text(encoding="utf-8") for path in sorted((HERE / "notebooks" / "guide").glob("*.md"))
}
COMMIT = "0" * 40
GIVEN = """
import datasets
dataset = datasets.Dataset.from_parquet('shard-1.parquet')
"""
# of `pip install`: gigabytes, or peers of the bench
LARGE = ("cuda12", "cuda13", "notebooks", "spark", "ray", "tokenizers gigabpe")
NEEDS_GPU = ("cuda", "tests.bench", "-m gpu")
ROUND_TRIPS = ["Hello world\n", "", "  \t\n", "naïve 漢字 🙂", "def f(x):\n    return x\n", "\0\x80"]


def blocks(language: str, page: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.M | re.S)


def commands(page: str = README) -> list[str]:
    """The lines of all shell blocks, without comments."""
    lines = [line for block in blocks("bash", page) for line in block.splitlines()]
    return [re.sub(r"\s{2,}#.*", "", line) for line in lines]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    """Where the snippets find their corpora, and the hub's cache with a tokenizer called gpt2."""
    folder = tmp_path_factory.mktemp("readme")
    sources = sorted(pathlib.Path(os.__file__).parent.glob("a*.py"))
    texts = [source.read_text(encoding="utf-8") for source in sources]
    (folder / "books.txt").write_text("".join(texts), encoding="utf-8")
    (folder / "books.txt.gz").write_bytes(gzip.compress((folder / "books.txt").read_bytes()))
    (folder / "chats.csv").write_text("text,language\nGood morning,en\nGuten Morgen,de\n", encoding="utf-8")
    rows = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    with pa.output_stream(folder / "wiki.jsonl.zst", compression="zstd") as file:
        file.write(rows.encode())
    (folder / "shards").mkdir()
    for name in ("shards/1.parquet", "shard-1.parquet", "shard-2.parquet"):
        pyarrow.parquet.write_table(pa.table({"text": texts}), folder / name)

    old, trainer = recipe("bpe", vocab_size=400)
    trainer.show_progress = False
    old.train_from_iterator(texts[:3], trainer)
    gputok.save_tiktoken(recipe_of_bytes(texts[:3]), folder / "cl100k_base.tiktoken")
    repo = folder / "models--gpt2"
    (repo / "snapshots" / COMMIT).mkdir(parents=True)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(COMMIT)
    for path in (repo / "snapshots" / COMMIT / "tokenizer.json", folder / "gpt2.json", folder / "tokenizer.json"):
        old.save(str(path))
    return folder


def recipe_of_bytes(texts: list[str]) -> Tokenizer:
    """A tokenizer with ranks instead of special tokens, as tiktoken files have them."""
    tokenizer, trainer = recipe("bpe", vocab_size=400, pattern="cl100k", special_tokens=[])
    trainer.show_progress = False
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def run(folder: pathlib.Path, command: list[str]) -> str:
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_CACHE": str(folder),
        "MPLBACKEND": "agg",
        "PYTHONPATH": os.pathsep.join(
            [str(pathlib.Path(gputok.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        ),
    }
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, f"{command[-1]}\n{done.stderr}"
    return done.stdout


def in_order(page: str) -> tuple[str, list[str]]:
    """The program of a page, and its commands of gputok."""
    lines = [line for line in commands(page) if line.startswith(("gputok ", "zcat "))]
    return "\n".join(blocks("python", page)), [
        line for line in lines if not any(word in line for word in (*NEEDS_GPU, "--lines", "bench"))
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, page in PAGES.items() if any(in_order(page))])
def test_the_snippets_run_one_after_the_other(folder, name):
    program, lines = in_order(PAGES[name])
    run(folder, [sys.executable, "-c", GIVEN + program])
    for line in lines:
        run(folder, ["bash", "-c", f'gputok() {{ "{sys.executable}" -m gputok "$@"; }}\n{line}'])
    if name == "how_to":
        assert Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab_size() > 1000
        assert (folder / "my-tokenizer" / "tokenizer_config.json").exists()
        for name in ("report.html", "playground.html"):
            assert "<html" in (folder / name).read_text(encoding="utf-8")
        assert (folder / "ids.npy").exists()


def test_the_first_tokenizer_gives_back_what_it_was_given(folder):
    lines = [line for line in blocks("python")[0].splitlines() if line]
    assert len(lines) == 7  # an import and six more, on the first screen
    check = f"assert [tokenizer.decode(tokenizer.encode(text).ids) for text in {ROUND_TRIPS!r}] == {ROUND_TRIPS!r}"
    run(folder, [sys.executable, "-c", "\n".join([*lines, check])])


@pytest.mark.parametrize("name", PAGES)
def test_a_recipe_imports_the_modules_that_it_uses(name):
    """Else it works only below the recipes that stand before it."""
    for section in re.split("^## ", PAGES[name], flags=re.M):
        tree = ast.parse("\n".join(blocks("python", section) + blocks("py", section)))
        names = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)]
        imported = {
            (alias.asname or alias.name).partition(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        }
        assert {*names} & (sys.stdlib_module_names | {"np", "pa", "pd", "torch"}) <= imported, section.partition("\n")[
            0
        ]


@pytest.mark.parametrize("name", PAGES)
def test_lines_are_short(name):
    lines = [line for line in PAGES[name].splitlines() if len(line) > 120]
    assert [line for line in lines if not line.startswith("|")] == []


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 160


def test_the_pictures_are_there():
    pictures = re.findall(r'(?:src|srcset)="([^"]+)"', README)
    assert len(pictures) == 4
    for name in pictures:
        assert (HERE / name).read_text(encoding="utf-8").startswith("<svg ")


def test_extras_have_the_names_of_the_pages():
    """Each extra that users install is in the table of the guide, and each that a page names exists."""
    project = tomllib.loads((HERE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {*project["optional-dependencies"]}
    found = [names for page in PAGES.values() for names in re.findall(r"gputok\[([\w,]+)\]", page)]
    named = {name for names in found for name in names.split(",")}
    assert named <= extras
    assert extras - named <= {"datasets", "test"}


@pytest.mark.full
def test_every_line_runs_in_a_fresh_environment(folder, tmp_path):
    """From a clone: `pip install .`, the first screen with nothing more, each extra, and then everything in order."""
    clone = tmp_path / "clone"
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=HERE, capture_output=True, text=True, check=True)
    for name in filter(None, tracked.stdout.split("\0")):
        if (HERE / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(HERE / name, clone / name)
    environment = tmp_path / "venv"
    venv.create(environment, with_pip=True)
    unset = ("PYTHONPATH", "PYTHONSAFEPATH", "VIRTUAL_ENV", "GPUTOK_JIT")
    variables = {name: value for name, value in os.environ.items() if name not in unset}
    variables |= {
        "PATH": f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_CACHE": str(folder),
        "MPLBACKEND": "agg",
    }

    def does(command: list[str], folder: pathlib.Path) -> str:
        done = subprocess.run(command, env=variables, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, f"{command[-1]}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    lines = commands()
    assert lines[0] == "pip install ."
    does(["bash", "-c", lines[0]], clone)
    does(["python", "-c", blocks("python")[0]], folder)
    (demo, tests) = (line for line in lines if line.startswith("python3 -m venv"))
    assert "learnt" in does(["bash", "-c", demo], clone)
    assert tests.endswith("python -m pytest -n auto")  # this run

    everything = [line for page in PAGES.values() for line in commands(page)]
    installs = [line for line in everything if line.startswith("pip install ")][1:]
    installs += [
        f"pip install {name}"
        for page in PAGES.values()
        for name in re.findall(r"`(?:pip install )?(\'gputok\[\w+\]\')`", page)
    ]
    for line in dict.fromkeys(installs):
        if not any(name in line for name in LARGE):
            does(["bash", "-c", line], clone)
    does(["pip", "install", "datasets", "tokenizers", "tiktoken", "torch", "gputok[docs]"], clone)
    does(["python", ".ci/docs/build.py", "site"], clone)
    for page in PAGES.values():
        program, lines = in_order(page)
        does(["python", "-c", GIVEN + program], folder)
        for line in lines:
            does(["bash", "-c", line], folder)
