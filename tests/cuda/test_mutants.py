"""Faults that are planted in the PTX of the kernels, one at a time: the emulator finds each when it runs the stages.

A fault removes a barrier, or makes an atomic operation or a load of what other threads write an ordinary one, in all
instructions that come from one line of a source. It must be found as a race, by another error, or by a wrong result.
Fences have faults of their own (test_emulator.py).
"""

import re
from collections import Counter
from typing import NamedTuple

import pytest
from gputok.kernels.cuda.device import SOURCES

from tests.emulation import emulator, ptx
from tests.emulation.emulator import emulated_device
from tests.emulation.sanitized import FILES, SMALL, agree, refuses_long_runs, results
from tests.emulation.stages import in_cuda
from tests.kernels.test_kernels import in_python, inputs_of_all_stages

FILES_OF_STAGES = sorted({file for files in FILES.values() for file in files})
KINDS = re.compile(r"(bar\.sync|(atom|red|ld\.volatile)\..*)")


class Mutant(NamedTuple):
    """Instructions of a source that become others."""

    file: str
    # "table.cuh:12", also where it is inlined
    place: str
    # "bar", "atom" or "ld"
    kind: str


def mutant_of(file: str, code: ptx.Code, each: ptx.Instruction | str) -> Mutant | None:
    """The mutant that an instruction belongs to."""
    if isinstance(each, str) or not KINDS.fullmatch(".".join(each.op)):
        return None
    inlined = code.lines[each.line].split(" in ")
    # All that others write is loaded by one line
    place = inlined[-1 if each.op[0] == "ld" else 0]
    name, line = place.split(":")
    # The last barrier of sum_before is for a block with several tiles, which no input of the stages has
    if "may be written again" in (SOURCES / name).read_text().splitlines()[int(line) - 1]:
        return None
    return Mutant(file, place, each.op[0])


def mutants(file: str) -> list[Mutant]:
    code = emulator.code_of(SOURCES / f"{file}.cu")
    found = {mutant_of(file, code, each) for kernel in code.kernels.values() for each in kernel.body}
    return sorted(found - {None})


def planted(code: ptx.Code, mutant: Mutant) -> ptx.Code:
    """The code with a fault."""

    def changed(each):
        if mutant_of(mutant.file, code, each) != mutant:
            return each
        if mutant.kind == "bar":
            return None
        if mutant.kind == "ld":
            return each._replace(op=[part for part in each.op if part != "volatile"])
        return each._replace(op=[each.op[0], "plain", *each.op[1:]])

    def of(kernel):
        return kernel._replace(body=[new for each in kernel.body if (new := changed(each)) is not None])

    return code._replace(kernels={name: of(kernel) for name, kernel in code.kernels.items()})


@pytest.fixture(scope="module")
def case():
    """The inputs of all stages and their results."""
    given = inputs_of_all_stages()
    return given, results(in_python(), given)


def test_faults_to_plant_exist():
    found = Counter(mutant.kind for file in FILES_OF_STAGES for mutant in mutants(file))
    assert found["bar"] >= 20 and found["atom"] >= 40 and found["ld"] >= 8


def survives(mutant: Mutant, case: tuple, monkeypatch) -> bool:
    """Returns True if the stages give correct results without any error, so the fault was not found."""
    path, code_of = SOURCES / f"{mutant.file}.cu", emulator.code_of
    faulty = planted(code_of(path), mutant)
    given, expected = case
    names = [name for name, files in FILES.items() if mutant.file in files]
    with monkeypatch.context() as patched:
        patched.setattr(emulator, "code_of", lambda source, *_: faulty if source == path else code_of(source))
        emulator.load.cache_clear()
        try:
            for seed in range(1, 4):
                device = emulated_device(seed, races=True)
                agree(results(in_cuda(device._replace(sizes=SMALL)), given, names), expected)
                agree(results(in_cuda(device), given, names), expected)
                assert refuses_long_runs(device)
        except Exception:  # also what follows from wrong numbers
            return False
        finally:
            emulator.load.cache_clear()
    return True


@pytest.mark.full
@pytest.mark.parametrize("file", FILES_OF_STAGES)
def test_planted_faults_are_found(file, case, monkeypatch):
    alive = [mutant for mutant in mutants(file) if survives(mutant, case, monkeypatch)]
    assert not alive
