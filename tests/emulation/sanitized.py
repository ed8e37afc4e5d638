"""The stages on inputs of their own, and a program that runs them on a device, for compute-sanitizer to watch.

`python -m tests.emulation.sanitized FILE`: FILE is a pickled Inputs, and becomes the pickled results.
"""

from __future__ import annotations

import contextlib
import operator
import pathlib
import pickle
import sys
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from gputok.kernels import Automaton, BpeTables
from gputok.kernels.cuda import split
from gputok.kernels.cuda.device import DeviceSizes

from gputok import backend
from gputok.automaton import compile_pattern
from gputok.text.pieces import TextBatch
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


# Arrays that grow, and several tiles of each, with little text
SMALL = DeviceSizes(tile=16, slots=16, rounds_per_look=2, pair_slots=256, candidates=300, candidate_room=310, bounded=0)
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


def refuses_long_runs(device: Any) -> bool:
    """Two runs that are too long: whether the stage says so, of which two threads tell."""
    runs = TextBatch.from_strings(["a" * 200 + " b", "c" * 200])
    try:
        in_cuda(device._replace(sizes=SMALL._replace(longest_run=64))).split_words(
            runs, compile_pattern("[a-z]+|[^a-z]+")
        )
    except split.TooLong:
        return True
    return False


if __name__ == "__main__":
    import cupy

    path = pathlib.Path(sys.argv[1])
    cupy.cuda.set_allocator(None)  # memory of a pool is all one to compute-sanitizer ...
    cupy.cuda.using_allocator = contextlib.nullcontext  # ... also that of a device's own pool
    device = backend.choose("cuda:0").devices[0]._replace(sizes=SMALL)
    path.write_bytes(pickle.dumps(results(in_cuda(device), pickle.loads(path.read_bytes()))))
