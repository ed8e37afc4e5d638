"""Launches the encoding of words by BPE on a CUDA device."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from gputok.kernels import BpeTables
from gputok.kernels.cuda.device import Device, offsets_of

# as in encode_words.cu
_SHORT, _WARP, _BLOCK, _TILE = 16, 32, 128, 64


class Model(NamedTuple):
    """A BPE model of bytes on a device: the fields of the struct `Model` of encode_words.cu, in its order."""

    pairs: Any  # uint64[capacity]
    merged: Any  # uint32[merges]
    symbols: Any  # uint32[256]
    ids: Any  # uint32[tokens]
    whole: Any  # uint64[capacity]
    whole_text: Any  # uint8[bytes]
    whole_offsets: Any  # int64[tokens + 1]
    pair_slots: int
    pair_bits: int
    whole_slots: int
    longest_whole: int


class Words(NamedTuple):
    """Words and their tokens: the fields of the struct `Words` of encode_words.cu, in its order."""

    text: Any  # uint8[n]
    begin: Any  # int64[words]
    end: Any  # int64[words]
    place: Any  # int64[words]
    symbols: Any  # uint32[bytes of all words]
    starts: Any  # uint32[bytes of all words]
    n_tokens: Any  # uint32[words]


class Rounds(NamedTuple):
    """Memory for the work on long words: the fields of the struct `Rounds` of encode_words.cu, in its order."""

    place: Any  # int64[long words + 1]
    tile: Any  # int64[long words + 1]
    symbols: Any  # uint32[bytes of long words]
    ranks: Any  # uint32[bytes of long words]
    before: Any  # uint32[bytes of long words]
    after: Any  # uint32[bytes of long words]
    list: Any  # uint32[bytes of long words]
    least: Any  # uint32[tiles of long words]


def why_not(tables: BpeTables) -> str:
    """Returns why these kernels can't encode with these tables, or "" if they can.

    They can if each byte is a symbol, which is the same at every place of a word, and if nothing is random.
    """
    if tables.dropout:
        return "the model has dropout"
    if tables.ordered:
        return "the model has a prefix, or more merges than fit into 32 bits with their places"
    if tables.symbols.shape != (1, 256) or not tables.symbols.all():
        return "the model's symbols are not the 256 bytes"
    return ""


def upload(device: Device, tables: BpeTables) -> Model:
    """Copies the tables of a model to the device."""
    whole = tables.whole
    longest = int(np.diff(whole.offsets).max(initial=0))
    sizes = len(tables.pairs.slots), int(tables.pairs.bits), len(whole.slots), longest
    arrays = tables.pairs.slots, tables.merged, tables.symbols[0] - np.uint32(1), tables.ids
    with device.active():
        return Model(*(device.xp.asarray(array) for array in (*arrays, *whole)), *sizes)


def encode_words(
    device: Device, data: np.ndarray, start: np.ndarray, end: np.ndarray, tables: Model
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Encodes words as kernels.cpu.encode_words does, but without a cache. All arrays are on the host."""
    xp = device.xp
    with device.active():
        on_host = data, np.asarray(start, np.int64), np.asarray(end, np.int64)
        text, begin, stop = device.upload(on_host)()
        words = encoded(device, text, begin, stop, tables)
        ids, starts, rows = gathered(device, words, None, begin, tables)
        ends = xp.empty_like(starts)
        ends[:-1] = starts[1:]
        some = words.n_tokens > 0
        ends[rows[1:][some] - 1] = stop[some]
        return tuple(device.download(array) for array in (ids, starts, ends, rows))


def encoded(device: Device, text: Any, begin: Any, end: Any, model: Model) -> Words:
    """Encodes the words text[begin[i]:end[i]]."""
    xp = device.xp
    n, size = len(begin), end - begin
    offsets = offsets_of(xp, size)
    n_bytes = int(offsets[-1])
    room = (xp.empty(n_bytes, xp.uint32) for _ in range(2))
    words = Words(text, begin, end, offsets[:-1], *room, xp.zeros(n, xp.uint32))
    handles = device.struct(model), device.struct(words)
    if len(model.whole_offsets) > 1 and n:
        device.launch("encode_words.cu", "find_tokens", device.blocks, 128, (*handles, n))
    left = words.n_tokens == 0
    kinds = (
        ("encode_short", left & (size > 0) & (size <= _SHORT), 128),
        ("encode_middle", left & (size > _SHORT) & (size <= _WARP), 128),
        ("encode_long", left & (size > _WARP), _BLOCK),
    )
    for kernel, wanted, threads in kinds:
        todo = xp.flatnonzero(wanted)
        if len(todo) == 0:
            continue
        arguments, arrays = (*handles, todo, len(todo)), None
        if kernel == "encode_long":
            arrays = _rounds(xp, size[todo])  # the variable keeps them until the launch is queued
            arguments = (*handles, device.struct(arrays), todo, len(todo))
        device.launch("encode_words.cu", kernel, device.blocks, threads, arguments)
    return words


def _rounds(xp: Any, size: Any) -> Rounds:
    """Allocates memory for the work on words of these sizes."""
    place, tile = offsets_of(xp, size), offsets_of(xp, (size + _TILE - 1) // _TILE)
    room = (xp.empty(int(place[-1]), xp.uint32) for _ in range(5))
    return Rounds(place, tile, *room, xp.empty(int(tile[-1]), xp.uint32))


def gathered(
    device: Device, words: Words, which: Any, first: Any, model: Model, rows: Any = None
) -> tuple[Any, Any, Any]:
    """Returns the ids of words one after the other, where each token begins (None without `first`), and rows.

    which: int64[n], the word of each row, or None for all words in order. first: int64[n], where each word begins in the
    text. rows: int64[n + 1], where the ids of each row begin, if the caller knows.
    """
    xp = device.xp
    if rows is None:
        rows = offsets_of(xp, words.n_tokens)
    n_tokens = int(rows[-1])
    ids, starts = xp.empty(n_tokens, xp.uint32), None if first is None else xp.empty(n_tokens, xp.int64)
    handles = device.struct(model), device.struct(words)
    arguments = (*handles, which, rows, len(rows) - 1, first, ids, starts)
    if len(rows) > 1:
        device.launch("encode_words.cu", "gather_tokens", device.blocks, 128, arguments)
    return ids, starts, rows
