"""The import contracts of pyproject.toml (imports run down only), for gputok/ and kernels/ together."""

import json
import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def tree(tmp_path):
    """The sources as the wheel has them: kernels/ inside gputok/."""
    for folder, target_folder in (("gputok", "gputok"), ("kernels", "gputok/kernels")):
        for path in (ROOT / folder).rglob("*.py"):
            target = tmp_path / target_folder / path.relative_to(ROOT / folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    return tmp_path


def lint(tree: pathlib.Path) -> subprocess.CompletedProcess:
    code = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"
    command = [sys.executable, "-c", code, "--no-cache", str(ROOT / "pyproject.toml")]
    return subprocess.run(command, cwd=tree, capture_output=True, text=True)


@pytest.mark.source_tree
def test_imports_run_down_only(tree):
    done = lint(tree)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 kept, 0 broken" in done.stdout


UP = [  # a module, what it imports, and what is said of it
    ("text.pieces", "pipeline.pipeline", "Pipeline", "gputok.text.pieces -> gputok.pipeline.pipeline (l."),
    ("models.bpe.tables", "models.bpe.model", "BPE", "- .tables -> .model"),
    ("encoding.rows", "encoding.encoding", "Encoding", "- .rows -> .encoding"),
    ("kernels.cpu.count_words", "types", "Array", "gputok.kernels.cpu.count_words -> gputok.types (l."),
    ("kernels.cpu.lookup", "tokenizer", "Tokenizer", "gputok.kernels.cpu.lookup -> gputok.tokenizer (l."),
]


@pytest.mark.source_tree
@pytest.mark.parametrize("form", ["{line}", "def late():\n    {line}", "if TYPE_CHECKING:\n    {line}"])
def test_an_import_that_runs_up_is_found(tree, form):
    for module, imported, name, _ in UP:
        path = (tree / "gputok").joinpath(*module.split(".")).with_suffix(".py")
        line = form.format(line=f"from gputok.{imported} import {name}")
        path.write_text(f"{path.read_text()}\nfrom typing import TYPE_CHECKING\n{line}\n")
    done = lint(tree)
    assert done.returncode == 1
    for *_, said in UP:
        assert said in done.stdout, done.stdout


FIRST_TEXT = """
import json, sys
from gputok import Tokenizer, models, normalizers, pre_tokenizers, processors
tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "low": 3, "##est": 4}, "[UNK]"))
tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 1), ("[SEP]", 2)])
tokenizer = Tokenizer.from_str(tokenizer.to_str())
assert tokenizer.encode("Lowest").ids == [1, 3, 4, 2]
print(json.dumps(sorted(sys.modules)))
"""
NOT_NEEDED = "corpus budgets counts files.atomic files.parquet kernels.cuda pipeline.count pipeline.run report trainers"


def test_a_first_text_imports_what_it_needs():
    """Each module takes a part of a millisecond of each process that encodes little."""
    done = subprocess.run([sys.executable, "-c", FIRST_TEXT], capture_output=True, text=True, check=True)
    assert not {f"gputok.{name}" for name in NOT_NEEDED.split()} & set(json.loads(done.stdout))


def test_the_command_line_imports_numpy_where_it_works():
    """What only shows help, or completes a word in a shell, ends sooner than NumPy is imported."""
    code = "import gc, sys, gputok.cli; assert gc.isenabled();"
    code += "sys.exit(sorted({'numpy', 'webbrowser'} & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
