"""A program of a user under pyright's strict mode. `.ci/run` checks the package itself."""

import importlib.util
import inspect
import json
import pathlib
import subprocess
import sys
from typing import get_args

import pytest

import gputok
from gputok import types
from gputok.pipeline.run import RunOptions
from gputok.pre_tokenizers import BEHAVIORS
from gputok.report import ReportOptions, report
from gputok.token_files.formats import FORMATS

PACKAGE = pathlib.Path(gputok.__file__).parent
LAYOUT = pathlib.Path(__file__).parents[1] / "layout"
PROGRAM = pathlib.Path(__file__).parents[1] / "user_program.py"

WRONG = """
from gputok import Tokenizer, models, trainers

tokenizer = Tokenizer(models.BPE())
tokenizer.encode(7)
tokenizer.normalizer = "NFC"
length: str = tokenizer.get_vocab_size()
trainers.BpeTrainer(vocab_size="large")
trainers.BpeTrainer(vocabulary_size=5)
models.Nothing()
tokenizer.enable_padding(direction="up")
tokenizer.report("books.txt", sample=3)
"""


def test_the_program_runs():
    done = subprocess.run([sys.executable, str(PROGRAM)], capture_output=True, text=True)
    assert done.stdout == "ok\n", done.stderr


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("pyright") is None, reason="pyright isn't installed")
def test_the_program_has_no_type_errors_and_mistakes_are_found(tmp_path):
    (tmp_path / "right.py").write_text(PROGRAM.read_text())
    (tmp_path / "wrong.py").write_text(WRONG)
    options = {"include": ["."], "extraPaths": [str(PACKAGE.parent)], "typeCheckingMode": "strict"}
    if not (PACKAGE / "kernels").exists():  # in a checkout, kernels/ is outside of gputok/
        options["stubPath"] = str(LAYOUT)
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(options))
    command = [sys.executable, "-m", "pyright", "-p", str(tmp_path), "--pythonpath", sys.executable]
    done = subprocess.run([*command, "--outputjson"], capture_output=True, text=True)
    found = json.loads(done.stdout)
    errors = {"right.py": set(), "wrong.py": set()}
    for error in found["generalDiagnostics"]:
        errors[pathlib.Path(error["file"]).name].add(error["range"]["start"]["line"] + 1)
    assert found["summary"]["filesAnalyzed"] == 2, done.stderr
    assert errors == {"right.py": set(), "wrong.py": {5, 6, 7, 8, 9, 10, 11, 12}}, done.stdout


def test_words_of_literals_are_those_that_are_checked():
    for words, kinds in (
        (types.Behavior, BEHAVIORS),
        (types.FileFormat, FORMATS),
        (types.Direction, ("left", "right")),
        (types.Strategy, ("longest_first", "only_first", "only_second")),
    ):
        assert get_args(words) == (*kinds,)
    tokenizer = gputok.Tokenizer(gputok.models.BPE())
    for direction in get_args(types.Direction):
        tokenizer.enable_padding(direction=direction)
        for strategy in get_args(types.Strategy):
            tokenizer.enable_truncation(1, strategy=strategy, direction=direction)


def test_options_of_a_report_are_its_keywords():
    parameters = inspect.signature(report).parameters.values()
    named = {one.name for one in parameters if one.kind is inspect.Parameter.KEYWORD_ONLY}
    assert named == ReportOptions.__annotations__.keys() - RunOptions.__annotations__.keys()
