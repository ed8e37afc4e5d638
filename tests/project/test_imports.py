"""The import contracts of pyproject.toml (imports run down only), for gputok/ and kernels/ together."""

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


def test_imports_run_down_only(tree):
    done = lint(tree)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 kept, 0 broken" in done.stdout


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("text/pieces.py", "from gputok.pipeline.pipeline import Pipeline"),
        ("models/bpe/trainer.py", "from gputok.models.bpe.model import BPE"),
        ("encoding/rows.py", "from gputok.encoding.encoding import Encoding"),
        ("kernels/cpu/count_words.py", "from gputok.types import Array"),
        ("kernels/cpu/count_words.py", "from gputok import Tokenizer"),
    ],
)
@pytest.mark.parametrize("form", ["{line}", "def late():\n    {line}", "if TYPE_CHECKING:\n    {line}"])
def test_an_import_that_runs_up_is_found(tree, module, line, form):
    path = tree / "gputok" / module
    path.write_text(f"{path.read_text()}\nfrom typing import TYPE_CHECKING\n{form.format(line=line)}\n")
    assert lint(tree).returncode == 1
