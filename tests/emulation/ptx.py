"""PTX, the code that NVRTC makes of a .cu file: read, and checked as far as that needs no run.

python -m tests.emulation.ptx FILE.cu [ARCHITECTURE]     # writes the PTX
"""

from __future__ import annotations

import ctypes
import functools
import pathlib
import re
import sys
from typing import Any, NamedTuple

import pytest
from gputok.kernels.wheel import cubins

SPECIAL = {"%tid.x", "%ntid.x", "%ctaid.x", "%nctaid.x"}
REGISTER = re.compile(r"%[a-zA-Z]+\d*\b(?!\.)")
# Instructions without a result
NO_RESULT = {"st", "red", "bra", "bar", "barrier", "ret", "exit", "membar", "fence", "nanosleep"}
# What ends a part of the code without jumps
JUMPS = {"bra", "ret", "exit"}


class Instruction(NamedTuple):
    line: int
    # "%p1", "!%p1" or ""
    guard: str
    # "ld.global.u32" as ["ld", "global", "u32"]
    op: list[str]
    args: list[str]

    @property
    def writes(self) -> set[str]:
        return set() if self.op[0] in NO_RESULT or not self.args else {*REGISTER.findall(self.args[0])}

    @property
    def reads(self) -> set[str]:
        args = self.args if self.op[0] in NO_RESULT else self.args[1:]
        return {each for part in (self.guard, *args) for each in REGISTER.findall(part)}


class Kernel(NamedTuple):
    name: str
    # "param", "shared" or "local" -> name, bytes and alignment of each variable
    variables: dict[str, list[tuple[str, int, int]]]
    # prefix, type and number of registers
    registers: list[tuple[str, str, int]]
    # A label is a string.
    body: list[Instruction | str]

    def parts(self) -> list[tuple[list[str], list[Instruction]]]:
        """The code without jumps: the labels at which each part begins, and its instructions."""
        found: list[tuple[list[str], list[Instruction]]] = [([], [])]
        for each in self.body:
            if isinstance(each, str):
                if found[-1][1]:
                    found.append(([], []))
                found[-1][0].append(each)
            else:
                if found[-1][1] and found[-1][1][-1].op[0] in JUMPS:
                    found.append(([], []))
                found[-1][1].append(each)
        return found


class Code(NamedTuple):
    kernels: dict[str, Kernel]
    # Of each line of PTX, the line of the source: "common.cuh:12 in bits.cu:34"
    lines: list[str]


class _Ptx:
    """NVRTC, asked for PTX where `cubins.compiled` asks for machine code."""

    def __init__(self, nvrtc: ctypes.CDLL) -> None:
        self._nvrtc = nvrtc

    def __getattr__(self, name: str) -> Any:
        return getattr(self._nvrtc, name.replace("CUBIN", "PTX"))

    def nvrtcCompileProgram(self, program: Any, n: int, options: Any) -> int:
        options[:] = [option.replace(b"=sm_", b"=compute_") for option in options]
        return self._nvrtc.nvrtcCompileProgram(program, n, options)


@functools.cache
def ptx_of(source: pathlib.Path, architecture: int = 90) -> str:
    """What NVRTC makes of a source. Without NVRTC the test is skipped, and says so."""
    nvrtc = cubins.library() or pytest.skip("pip install nvidia-cuda-nvrtc, to compile CUDA without a GPU")
    text, log = cubins.compiled(
        _Ptx(nvrtc), source, architecture, ["--generate-line-info", f"--include-path={cubins.SOURCES}"]
    )
    if text is None:
        raise ValueError(f"{source} does not compile:\n{log}")
    return text.rstrip(b"\0").decode()


def arguments(text: str) -> list[str]:
    """Splits at commas outside of brackets.

    >>> arguments("{%r1, %r2}, [%rd1+4]")
    ['{%r1, %r2}', '[%rd1+4]']
    """
    return [part.strip() for part in re.split(r",(?![^{]*})", text)] if text.strip() else []


def read(text: str) -> Code:
    """Raises SyntaxError for what is not known: nothing is skipped."""
    names = {n: pathlib.Path(name).name for n, name in re.findall(r'\.file\s+(\d+) "([^"]+)"', text)}
    kernels, kernel, lines, now = {}, None, [""], ""
    for number, whole in enumerate(text.splitlines(), 1):
        line = re.sub(r"//.*", "", whole).strip()
        if found := re.match(r"\.loc\s+(\d+) (\d+)", line):
            places = [(found[1], found[2]), *re.findall(r"inlined_at (\d+) (\d+)", line)]
            now = " in ".join(f"{names.get(file, '?')}:{n}" for file, n in places)
        lines.append(now)
        if found := re.match(r"\.visible \.entry (\w+)\(", line):
            kernel = kernels[found[1]] = Kernel(found[1], {"param": [], "shared": [], "local": []}, [], [])
        elif (
            kernel is None
            or line in ("", "{", ")")
            or line.startswith((".loc\t", ".loc ", ".pragma", ".maxntid", ".minncta"))
        ):
            continue
        elif line == "}":
            kernel = None
        elif found := re.match(r"\.(param|shared|local) \.align (\d+) \.b8\s+(\w+)\[(\d+)\][;,]?$", line):
            kernel.variables[found[1]].append((found[3], int(found[4]), int(found[2])))
        elif found := re.match(r"\.reg \.(\w+)\s+%(\w+?)(?:<(\d+)>)?;", line):
            kernel.registers.append((found[2], found[1], int(found[3] or -1)))
        elif found := re.match(r"(\$?\w+):$", line):
            kernel.body.append(found[1])
        elif found := re.match(r"(?:@(!?%p\d+)\s+)?([a-z][\w.]*)\s*(.*);$", line):
            kernel.body.append(Instruction(number, found[1] or "", found[2].split("."), arguments(found[3])))
        else:
            raise SyntaxError(f"line {number} of PTX is not known: {whole}")
    return Code(kernels, lines)


def faults(code: Code) -> list[str]:
    """Accesses of any address space, and reads of registers that some path to them leaves unset."""
    found = []
    for kernel in code.kernels.values():
        for each in kernel.body:
            is_access = not isinstance(each, str) and each.op[0] in ("ld", "st", "atom", "red")
            if is_access and not {"global", "shared", "local", "param"} & {*each.op}:
                found.append(f"{kernel.name}, {code.lines[each.line]}: {'.'.join(each.op)} is generic")
        found += [
            f"{kernel.name}, {code.lines[each.line]}: {register} may be unset" for each, register in unset(kernel)
        ]
    return found


def unset(kernel: Kernel) -> list[tuple[Instruction, str]]:
    parts = kernel.parts()
    begins = {label: i for i, (labels, _) in enumerate(parts) for label in labels}
    everything = {register for _, part in parts for each in part for register in each.writes | each.reads}
    # Of each part, the registers that are set on every path to it
    known = [set(), *(everything for _ in parts[1:])]
    waiting = [0]
    while waiting:
        at = waiting.pop()
        there = known[at] | {register for each in parts[at][1] if not each.guard for register in each.writes}
        last = parts[at][1][-1] if parts[at][1] else None
        after = [begins[last.args[0]]] if last and last.op[0] == "bra" else []
        if not last or last.op[0] not in JUMPS or last.guard:
            after.append(at + 1)
        for each in after:
            if each < len(parts) and not known[each] <= there:
                known[each] = known[each] & there
                waiting.append(each)
    found = []
    for (_, part), there in zip(parts, known, strict=True):
        there = there - SPECIAL
        for each in part:
            found += [(each, register) for register in sorted(each.reads - there)]
            there |= set() if each.guard else each.writes
    return found


if __name__ == "__main__":
    print(ptx_of(pathlib.Path(sys.argv[1]), *map(int, sys.argv[2:])))
