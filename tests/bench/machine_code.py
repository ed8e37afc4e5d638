"""Counts what the machine code of the CUDA kernels has: instructions, loads, and those of one step of a loop.

The kernels are compiled by NVRTC (nvidia-cuda-nvrtc) and read by nvdisasm (nvidia-cuda-nvdisasm). No GPU is needed.
"""

from __future__ import annotations

import pathlib
import re
import subprocess
import tempfile
from typing import NamedTuple

WINDOW_BYTES = 8  # split_words loads so many bytes at a time
_LABEL = re.compile(r"^(\.L_\w+):")
_INSTRUCTION = re.compile(r"^\s*/\*[0-9a-f]+\*/\s+(@!?U?P\w+\s+)?([A-Z][A-Z0-9._]*)(.*)")
_TARGET = re.compile(r"`\((\.L_\w+)\)")


class Instruction(NamedTuple):
    """An instruction of a kernel."""

    name: str  # with its modifiers
    is_conditional: bool
    target: str  # the label to which it may go, or ""


class Code(NamedTuple):
    """The machine code of a kernel."""

    instructions: list[Instruction]
    labels: dict[str, int]  # the index of the first instruction after each

    @property
    def n_loads(self) -> int:
        """Returns the number of loads from global memory."""
        return sum(each.name.startswith("LDG") for each in self.instructions)


class Step(NamedTuple):
    """The mean of some turns of a loop."""

    instructions: float
    loads: float


def read(cubin: bytes) -> dict[str, Code]:
    """Returns the machine code of each kernel of a cubin.

    Raises:
        RuntimeError: The package nvidia-cuda-nvdisasm is not installed.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "kernels.cubin")
        path.write_bytes(cubin)
        text = subprocess.run([_nvdisasm(), "-c", path], capture_output=True, text=True, check=True).stdout
    found: dict[str, Code] = {}
    code = Code([], {})
    for line in text.splitlines():
        if section := re.match(r"\.text\.(\w+):", line):
            code = found.setdefault(section[1], Code([], {}))
        elif label := _LABEL.match(line):
            code.labels[label[1]] = len(code.instructions)
        elif instruction := _INSTRUCTION.match(line):
            target = _TARGET.search(instruction[3])
            jumps = instruction[2].startswith("BRA") and target is not None
            # A branch may have a predicate as its operand, too
            conditional = bool(instruction[1]) or re.match(r"\s*!?P\d", instruction[3]) is not None
            code.instructions.append(Instruction(instruction[2], conditional, target[1] if jumps and target else ""))
    return found


def _nvdisasm() -> str:
    try:
        import nvidia
    except ImportError:
        paths: list[str] = []
    else:
        paths = [str(path) for root in nvidia.__path__ for path in pathlib.Path(root).glob("**/bin/nvdisasm*")]
    if not paths:
        raise RuntimeError("machine code is read by nvdisasm: pip install nvidia-cuda-nvdisasm")
    return min(paths)


def turns(code: Code, most: int = 200) -> list[list[str]]:
    """Returns the turns of all loops: the instructions on each way from a label back to it, shortest first.

    A way has at most `most` instructions, and comes by no instruction twice.
    """
    found = []
    for label, start in code.labels.items():
        if not any(each.target == label for each in code.instructions[start : start + most]):
            continue
        open_ways = [(start, [])]
        while open_ways:
            at, way = open_ways.pop()
            while at < len(code.instructions) and len(way) < most:
                each = code.instructions[at]
                way.append((at, each.name))
                if each.name == "EXIT" and not each.is_conditional:
                    break
                if each.target:
                    to = code.labels[each.target]
                    if to == start:
                        found.append([name for _, name in way])
                    elif to > at:
                        open_ways.append((to, list(way)))
                    if not each.is_conditional:
                        break
                at += 1
    return sorted(found, key=len)


def walk_step(architecture: int = 90) -> Step:
    """Counts what split_words does for a byte of ASCII text inside of a word; the mean of WINDOW_BYTES bytes.

    Raises:
        RuntimeError: A package of NVIDIA's is not installed.
    """
    from gputok.kernels.wheel import cubins

    nvrtc = cubins.library()
    if nvrtc is None:
        raise RuntimeError("kernels are compiled by NVRTC: pip install nvidia-cuda-nvrtc")
    cubin, log = cubins.compiled(nvrtc, cubins.SOURCES / "split.cu", architecture)
    if cubin is None:
        raise RuntimeError(log)
    # A turn loads a class (8 bits) and an entry; one that comes to the end of the window also loads the next 64 bits
    ways = [way for way in turns(read(cubin)["split_words"]) if sum("LDG.E.U8" in name for name in way) == 1]
    plain = next(way for way in ways if _loads(way) == 2)
    at_end = next(way for way in ways if _loads(way) == 3 and any("LDG.E.64" in name for name in way))
    n = WINDOW_BYTES
    return Step(((n - 1) * len(plain) + len(at_end)) / n, ((n - 1) * _loads(plain) + _loads(at_end)) / n)


def summary(architecture: int = 90) -> str:
    """Says what a step takes, or which package is missing to count that."""
    try:
        step = walk_step(architecture)
    except RuntimeError as error:
        return f"instructions for a byte of text: not counted ({error})"
    found = f"{step.instructions:g} instructions and {step.loads:g} loads for a byte of text"
    return f"split_words, sm_{architecture}: {found}"


def _loads(way: list[str]) -> int:
    return sum(name.startswith("LDG") for name in way)
