"""Launches the walk of an automaton over text on a CUDA device."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from gputok.kernels import DEAD, Automaton
from gputok.kernels.cuda import bits
from gputok.kernels.cuda.device import SIZES, Device, indexes, launch, number, structs_of

_DEAD, _NO_CUT = 0x7FFFFFFF, 0xFFFFFFFF  # as in split.cu
MAX_BYTES = 1 << 30  # of text are on the device at a time, since tables of words number them with 31 bits
Walk, Split, Marks = structs_of("split.cu", "Walk Split Marks")


class TooLong(Exception):
    """A run of text that can't be cut is too long for one thread of a GPU.

    The words of the run, and those before and after, are the same if the text is cut before and after the run.
    """

    def __init__(self, begin: int, end: int, longest: int = SIZES.longest_run) -> None:
        super().__init__(
            f"a run of {end - begin:,} bytes, more than {longest:,}, can't be cut, and a thread of a GPU would walk it "
            "alone"
        )
        self.begin, self.end, self.longest = begin, end, longest  # of the first such run, in the text


def upload(device: Device, automaton: Automaton) -> Any:
    """Copies the tables of a gapless automaton to the device: a Walk whose text is not known yet.

    `entries` has the row of the next state << 1 | 1 if a match may end before the character.
    """
    if not automaton.gapless:
        raise ValueError("only a gapless automaton can be walked in tiles: this one leaves characters unmatched")
    width, is_dead = automaton.delta.shape[1], automaton.delta == DEAD
    rows = np.where(is_dead, _DEAD, automaton.delta * np.uint32(width)).astype(np.uint32)
    entries = rows << np.uint32(1) | automaton.accept
    tables = automaton.ascii_class, automaton.page, automaton.member, entries, automaton.strong
    with device.active():
        return Walk(None, None, *(device.xp.asarray(np.ascontiguousarray(table)) for table in tables), 0, width)


def find_words(device: Device, data: Any, offsets: Any, automaton: Any, most: int | None = None) -> Any:
    """Finds where the words of documents begin: uint32[words + 1], or uint32[most + 1]: where each word begins, then n.

    data: uint8[n], n <= MAX_BYTES. offsets: uint32[documents + 1], from 0 to n. most: there are not more words; None:
    the host looks how many there are.

    Raises:
        TooLong: The text has a run of more than `sizes.longest_run` bytes between two offsets at which it can be cut.
    """
    xp = device.xp
    n_bytes, n_words = len(data), len(data) // 32 + 1
    documents, words = (xp.zeros(n_words, xp.uint32) for _ in range(2))
    mark(device, offsets, n_bytes, documents)
    walk = automaton._replace(text=data, documents=documents, n_bytes=n_bytes)
    split = _find_cuts(device, walk, device.sizes.tile)._replace(words=words, too_long=xp.zeros(1, xp.uint64))
    launch(device, "split.cu", "split_words", walk, split, n=len(split.cuts))
    if n_bytes > device.sizes.longest_run and (run := number(device, split.too_long)):
        begin, length = divmod(2**64 - 1 - run, 1 << 32)
        raise TooLong(begin, begin + length, device.sizes.longest_run)
    return bits.listed(device, words, n_bytes, most)


def mark(device: Device, at: Any, n_bytes: int, marks: Any) -> None:
    """Sets the bits whose indexes are in uint32[n] and less than n_bytes."""
    launch(device, "split.cu", "mark_offsets", Marks(at, marks, len(at), n_bytes), n=len(at))


def parts(device: Device, text: Any, offsets: Any, *ends: int) -> Iterator[tuple[int, Any, Any]]:
    """Cuts a batch; yields for each part that is not empty where it begins in the text, its text and its offsets.

    The first part begins at 0; the others begin, and all end, at one of `ends`. A document that is cut goes on in the
    next part.
    """
    on_host = device.download(offsets).astype(np.int64)
    for start, stop in itertools.pairwise((0, *ends)):
        if start < stop:
            inside = on_host[(start < on_host) & (on_host < stop)] - start
            there = device.upload((indexes(np.concatenate([[0], inside, [stop - start]])),))()
            yield start, text[start:stop], there[0]


def middle_of(device: Device, text: Any, offsets: Any, tables: Any) -> int | None:
    """Returns where a batch is cut into two with the same words, between documents or inside of one; None: nowhere."""
    n_documents = len(offsets) - 1
    if n_documents > 1:
        return number(device, offsets, n_documents // 2)
    half = -(-len(text) // 2)
    if len(text) <= half:
        return None
    documents = device.xp.zeros(len(text) // 32 + 1, device.xp.uint32)
    # A strong cut: both halves are texts of their own
    walk = tables._replace(text=text, documents=documents, n_bytes=len(text))
    at = number(device, _find_cuts(device, walk, half).cuts, 1)
    return None if at == _NO_CUT else at


def _find_cuts(device: Device, walk: Walk, tile_bytes: int) -> Split:
    """Finds the first cut in each tile of a text, or _NO_CUT."""
    n_tiles = -(-walk.n_bytes // tile_bytes)
    split = Split(device.xp.empty(n_tiles, device.xp.uint32), None, None, tile_bytes, device.sizes.longest_run)
    launch(device, "split.cu", "find_cuts", walk, split, n=n_tiles)
    return split
