"""Faults that are planted in the CUDA kernels, one at a time: the emulator finds each of them when it runs all stages.

A fault removes a barrier, or replaces an atomic operation (an addition, exchange, compare-and-swap, minimum, maximum, bit, or
load of what other threads write) by an ordinary one. It must be found by ThreadSanitizer, which sees each fiber, by the error
for a barrier that not all threads reach, by a wrong result, or because the stages don't end (without a fault they take some
seconds). Fences have faults of their own (test_emulator.py).
"""

import pathlib
import pickle
import re
import shutil
import subprocess
import sys
from collections import Counter
from typing import NamedTuple

import pytest
from gputok.kernels.cuda.device import SOURCES

from tests.emulation.sanitized import agree, results, sanitized
from tests.kernels.test_kernels import in_python, inputs_of_all_stages

ROOT = pathlib.Path(__file__).parents[2]
STAGES = {  # the stages whose tests find the faults of a file
    "common.cuh": ["split_words", "train_bpe", "encode_corpus"],
    "lines.cu": ["lines", "texts_with"],
    "split.cu": ["split_words"],
    "count_words.cu": ["count_words"],
    "train_bpe.cu": ["train_bpe"],
    "encode_words.cu": ["encode_words", "encode_corpus"],
    "table.cuh": ["count_words", "encode_corpus"],
}
BARRIER = re.compile(r"^ *(__syncthreads\(\);)")
ATOMIC = re.compile(r"\b(atomic(?:Add|CAS|Min|Max|Or|Exch)|load_shared_word)\(")
# What nothing can find: every thread that stores there stores the same.
SPARED = ("atomicMax(&t.state[OVERFLOWED]", "atomicMax(&t.state[DONE]")


class Mutant(NamedTuple):
    """A line of a source, and what replaces it."""

    file: str
    line: int
    column: int
    before: str
    after: str


def mutants() -> list[Mutant]:
    found = []
    for file in STAGES:
        for number, line in enumerate((SOURCES / file).read_text().splitlines()):
            # The last barrier of sum_before is for a block with several tiles, which no input of the stages has
            if (barrier := BARRIER.match(line)) and "may be written again" not in line:
                found.append(Mutant(file, number, barrier.start(1), barrier[1], ""))
            if line.startswith("__device__"):  # the head of a function
                continue
            for atomic in ATOMIC.finditer(line.split("//")[0]):
                if not line[atomic.start() :].startswith(SPARED):
                    name = atomic[1].removeprefix("atomic")
                    plain = "plain::load" if name.startswith("load") else f"plain::{name}"
                    found.append(Mutant(file, number, atomic.start(1), atomic[1], plain))
    return found


PROGRAM = """
import pathlib, pickle, resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (100, 100))  # of each process, in seconds
from tests.emulation.sanitized import agree, sanitized
given, expected = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes())
agree(sanitized("thread", given, pathlib.Path(sys.argv[2]), sys.argv[3:]), expected)
"""


def survives(mutant: Mutant, case: pathlib.Path, folder: pathlib.Path) -> bool:
    """Returns True if the stages give correct results without any message, so the fault was not found."""
    for part in ("gputok", "kernels", "tests"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    path = folder / "kernels" / "cuda" / mutant.file
    lines = path.read_text().splitlines()
    line, stop = lines[mutant.line], mutant.column + len(mutant.before)
    assert line[mutant.column : stop] == mutant.before
    lines[mutant.line] = f"{line[: mutant.column]}{mutant.after}{line[stop:]}"
    path.write_text("\n".join(lines) + "\n")
    command = [sys.executable, "-c", PROGRAM, str(case), str(folder), *STAGES[mutant.file]]
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
    found = Counter(mutant.before for mutant in mutants())
    assert found["__syncthreads();"] >= 20 and found["atomicAdd"] >= 12 and found["load_shared_word"] >= 8
    assert min(found[f"atomic{name}"] for name in ("CAS", "Min", "Or", "Exch")) >= 2
    assert {mutant.file for mutant in mutants()} == {*STAGES}


@pytest.mark.full
@pytest.mark.parametrize(
    "mutant", mutants(), ids=lambda mutant: f"{mutant.file}:{mutant.line + 1}:{mutant.before.strip('_();')}"
)
def test_a_planted_fault_is_found(mutant, case, tmp_path):
    assert not survives(mutant, case, tmp_path)
