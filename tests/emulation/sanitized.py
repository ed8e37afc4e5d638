"""The stages with kernels that a sanitizer watches, in a process of its own: `python -m tests.emulation.sanitized NAME FILE`.

NAME is "address" or "thread", for emulated kernels that were built with that sanitizer, or "cuda" for a device, which
compute-sanitizer may watch. FILE is a pickled Inputs, and becomes the pickled results; names of stages may follow. Loads no
Numba, whose code the sanitizers do not know.
"""

from __future__ import annotations

import contextlib
import operator
import os
import pathlib
import pickle
import subprocess
import sys
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from gputok.kernels import Automaton, BpeTables
from gputok.kernels.cuda import split
from gputok.kernels.cuda.device import SOURCES, Sizes

from gputok import backend
from gputok.automaton import compile_pattern
from gputok.text.pieces import TextBatch
from tests.emulation.emulator import build, emulated_device
from tests.emulation.stages import in_cuda


class Inputs(NamedTuple):
    """Arguments of each stage."""

    batch: TextBatch
    automaton: Automaton
    corpora: list[tuple]  # all arguments of train_bpe
    words: tuple  # data, start and end of encode_words
    token: np.ndarray  # int32[documents] of encode_corpus
    tables: BpeTables
    data: np.ndarray  # uint8[n] of lines, which need not be UTF-8
    watched: tuple[TextBatch, list[bytes]]  # all arguments of texts_with


# Whose kernels each stage launches.
FILES = {
    "lines": ("lines", "split", "bits"),
    "texts_with": ("lines",),
    "split_words": ("split", "bits"),
    "count_words": ("split", "count_words", "bits"),
    "train_bpe": ("train_bpe", "bits"),
    "encode_words": ("encode_words",),
    "encode_corpus": ("split", "encode_words", "bits"),
}


def results(stages: Any, given: Inputs, names: Iterable[str] = tuple(FILES)) -> dict[str, Any]:
    work = {
        "lines": lambda: stages.lines(given.data),
        "texts_with": lambda: stages.texts_with(*given.watched),
        "split_words": lambda: stages.split_words(given.batch, given.automaton),
        "count_words": lambda: stages.count_words(given.batch, given.automaton),
        "train_bpe": lambda: sum((tuple(stages.train_bpe(*corpus)) for corpus in given.corpora), ()),
        "encode_words": lambda: operator.itemgetter(0, -1)(stages.encode_words(*given.words, given.tables)),
        "encode_corpus": lambda: stages.encode_corpus(given.batch, given.token, given.automaton, given.tables),
    }
    return {name: work[name]() for name in names}


def agree(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    for stage, found in ours.items():
        expected = theirs[stage]
        same = found == expected if isinstance(found, list) else all(map(np.array_equal, found, expected))
        assert same and len(found) == len(expected), stage


def command(sanitizer: str, *arguments: str) -> subprocess.CompletedProcess:
    """Runs Python under a sanitizer's runtime."""
    runtime = {"address": "libasan.so", "thread": "libtsan.so"}[sanitizer]
    found = subprocess.run(["g++", f"-print-file-name={runtime}"], capture_output=True, text=True)
    settings = {"LD_PRELOAD": found.stdout.strip(), "ASAN_OPTIONS": "detect_leaks=0", "TSAN_OPTIONS": "exitcode=66"}
    # The thread sanitizer needs an address space laid out as it expects.
    prefix = ["setarch", "-R"] if sanitizer == "thread" else []
    return subprocess.run(
        [*prefix, sys.executable, *arguments], env={**os.environ, **settings}, capture_output=True, text=True
    )


def sanitized(
    sanitizer: str, given: Inputs, folder: pathlib.Path, names: Iterable[str] = tuple(FILES)
) -> dict[str, Any]:
    """What these stages give; AssertionError with what the sanitizer said."""
    for file in sorted({file for name in names for file in FILES[name]}):
        build(SOURCES / f"{file}.cu", sanitizer)  # g++ does not run under the sanitizer
    path = folder / "stages.pickle"
    path.write_bytes(pickle.dumps(given))
    done = command(sanitizer, "-m", "tests.emulation.sanitized", sanitizer, str(path), *names)
    assert done.returncode == 0, done.stderr[:5000]
    return pickle.loads(path.read_bytes())


def refuses_long_runs(device: Any) -> bool:
    runs = TextBatch.from_strings(["a" * 200 + " b", "c" * 200])
    try:
        in_cuda(device._replace(sizes=Sizes(longest_run=64))).split_words(runs, compile_pattern("[a-z]+|[^a-z]+"))
    except split.TooLong:
        return True
    return False


if __name__ == "__main__":
    name, path, names = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3:] or tuple(FILES)
    if name == "cuda":
        import cupy

        cupy.cuda.set_allocator(None)  # memory of a pool is all one to compute-sanitizer ...
        cupy.cuda.using_allocator = contextlib.nullcontext  # ... also that of a device's own pool
        device = backend.choose("cuda:0").devices[0]
    else:
        device = emulated_device(1, sanitizer=name)
    sizes = Sizes(tile=16, slots=16, rounds_per_look=2, pair_slots=256, candidates=300, candidate_room=310, bounded=0)
    device = device._replace(sizes=sizes)
    found = results(in_cuda(device), pickle.loads(path.read_bytes()), names)
    path.write_bytes(pickle.dumps(found))
    if "split_words" in names:
        assert refuses_long_runs(device)
