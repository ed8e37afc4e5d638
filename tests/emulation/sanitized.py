"""The stages with kernels that a sanitizer watches, in a process of its own: `python -m tests.emulation.sanitized NAME FILE`.

NAME is "address" or "thread", for emulated kernels that were built with that sanitizer, or "cuda" for a device, which
compute-sanitizer may watch. FILE is a pickled Inputs, and becomes the pickled results. Loads no Numba, whose code the
sanitizers do not know.
"""

from __future__ import annotations

import os
import pathlib
import pickle
import subprocess
import sys
from typing import Any, NamedTuple

import numpy as np
from gputok.kernels import Automaton, BpeTables
from gputok.kernels.cuda import count_words as words
from gputok.kernels.cuda import split
from gputok.kernels.cuda import train_bpe as bpe
from gputok.kernels.cuda.device import SOURCES

from gputok import backend
from gputok.text.pieces import TextBatch
from tests.emulation.emulator import build, emulated_device
from tests.emulation.stages import in_cuda


class Inputs(NamedTuple):
    """Arguments of each stage."""

    batch: TextBatch
    automaton: Automaton
    corpus: tuple  # all arguments of train_bpe
    words: tuple  # data, start and end of encode_words
    token: np.ndarray  # int32[documents] of encode_text
    tables: BpeTables


def results(stages: Any, given: Inputs) -> dict[str, Any]:
    return {
        "split_words": stages.split_words(given.batch, given.automaton),
        "count_words": stages.count_words(given.batch, given.automaton),
        "train_bpe": stages.train_bpe(*given.corpus),
        "encode_words": stages.encode_words(*given.words, given.tables),
        "encode_text": stages.encode_text(given.batch, given.token, given.automaton, given.tables),
    }


def agree(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    for stage, found in ours.items():
        same = (
            found == theirs[stage]
            if isinstance(found, list)
            else all(map(np.array_equal, found, theirs[stage]))
        )
        assert same, stage


def command(sanitizer: str, *arguments: str) -> subprocess.CompletedProcess:
    """Runs Python under a sanitizer's runtime."""
    runtime = {"address": "libasan.so", "thread": "libtsan.so"}[sanitizer]
    found = subprocess.run(["g++", f"-print-file-name={runtime}"], capture_output=True, text=True)
    settings = {
        "LD_PRELOAD": found.stdout.strip(),
        "ASAN_OPTIONS": "detect_leaks=0",
        "TSAN_OPTIONS": "exitcode=66",
    }
    # The thread sanitizer needs an address space laid out as it expects.
    prefix = ["setarch", "-R"] if sanitizer == "thread" else []
    return subprocess.run(
        [*prefix, sys.executable, *arguments], env={**os.environ, **settings}, capture_output=True, text=True
    )


def sanitized(sanitizer: str, given: Inputs, folder: pathlib.Path) -> dict[str, Any]:
    """What the stages give; AssertionError with what the sanitizer said."""
    for file in sorted(SOURCES.glob("*.cu")):
        build(file, sanitizer)  # g++ does not run under the sanitizer
    path = folder / "stages.pickle"
    path.write_bytes(pickle.dumps(given))
    done = command(sanitizer, "-m", "tests.emulation.sanitized", sanitizer, str(path))
    assert done.returncode == 0, done.stderr[:5000]
    return pickle.loads(path.read_bytes())


if __name__ == "__main__":
    name, path = sys.argv[1], pathlib.Path(sys.argv[2])
    split.TILE_BYTES, words._LEAST_CAPACITY = 16, 16
    bpe._ROUNDS_PER_LOOK, bpe._LEAST_CAPACITY, bpe._CANDIDATES, bpe._LEAST_ROOM = 2, 256, 300, 310
    if name == "cuda":
        import cupy

        cupy.cuda.set_allocator(None)  # memory of a pool is all one to compute-sanitizer
        device = backend.choose("cuda:0").devices[0]
    else:
        device = emulated_device(1, sanitizer=name)
    found = results(in_cuda(device), pickle.loads(path.read_bytes()))
    path.write_bytes(pickle.dumps(found))
