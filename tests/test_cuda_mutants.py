"""Faults that are planted in the CUDA kernels, one at a time: the emulator finds each of them when it runs all stages.

A fault removes a barrier, or replaces an atomic addition by an ordinary one. It must be found by ThreadSanitizer, which
sees each fiber, by the error for a barrier that not all threads reach, or by a wrong result.
"""

import pathlib
import pickle
import re
import shutil
import subprocess
import sys
from typing import NamedTuple

import pytest
from gputok.kernels.cuda.device import SOURCES

from tests.emulation.sanitized import agree, results, sanitized
from tests.test_kernels import in_python, inputs_of_all_stages

ROOT = pathlib.Path(__file__).parents[1]
FILES = ("split.cu", "count_words.cu", "train_bpe.cu", "encode_words.cu", "table.cuh")
BARRIER = r"( *)sync_block\(\);"
ADDITION = r"( *)atomic_add\((&?)([^,]+), (.+)\);"


class Mutant(NamedTuple):
    """A line of a source, and the line that replaces it."""

    file: str
    line: int
    text: str


def mutants() -> list[Mutant]:
    found = []
    for file in FILES:
        for number, line in enumerate((SOURCES / file).read_text().splitlines()):
            if re.fullmatch(BARRIER, line):
                found.append(Mutant(file, number, ""))
            elif addition := re.fullmatch(ADDITION, line):
                indent, taken, place, value = addition.groups()
                found.append(Mutant(file, number, f"{indent}{'' if taken else '*'}{place} += {value};"))
    return found


PROGRAM = """
import pathlib, pickle, sys
from tests.emulation.sanitized import agree, sanitized
given, expected = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes())
agree(sanitized("thread", given, pathlib.Path(sys.argv[2])), expected)
"""


def survives(mutant: Mutant, case: pathlib.Path, folder: pathlib.Path) -> bool:
    """Returns True if all stages give correct results without any message, so the fault was not found."""
    for part in ("gputok", "kernels", "tests"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    path = folder / "kernels" / "cuda" / mutant.file
    lines = path.read_text().splitlines()
    lines[mutant.line] = mutant.text
    path.write_text("\n".join(lines) + "\n")
    command = [sys.executable, "-c", PROGRAM, str(case), str(folder)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert "CalledProcessError" not in done.stderr, "it does not compile"
    return done.returncode == 0


@pytest.fixture(scope="module")
def case(tmp_path_factory) -> pathlib.Path:
    """The inputs of all stages and their results, on disk."""
    folder = tmp_path_factory.mktemp("case")
    given = inputs_of_all_stages()
    expected = results(in_python(), given)
    agree(sanitized("thread", given, folder), expected)  # without a fault
    path = folder / "case.pickle"
    path.write_bytes(pickle.dumps((given, expected)))
    return path


def test_faults_to_plant_exist():
    found = mutants()
    barriers = [mutant for mutant in found if not mutant.text]
    assert len(barriers) >= 11 and len(found) - len(barriers) >= 6
    assert {mutant.file for mutant in found} == {
        "count_words.cu",
        "train_bpe.cu",
        "encode_words.cu",
        "table.cuh",
    }


@pytest.mark.full
@pytest.mark.parametrize("mutant", mutants(), ids=lambda mutant: f"{mutant.file}:{mutant.line + 1}")
def test_a_planted_fault_is_found(mutant, case, tmp_path):
    assert not survives(mutant, case, tmp_path)
