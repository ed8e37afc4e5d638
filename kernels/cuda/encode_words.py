"""Launches the encoding of words by BPE on a CUDA device."""

from __future__ import annotations

from typing import Any

import numpy as np
from gputok.kernels import BpeTables
from gputok.kernels.cuda.bits import offsets_of
from gputok.kernels.cuda.device import Device, indexes, launch, number, structs_of

_LONG_WORDS, _LONG_BYTES, _LONG_TILES, _, _USED_TILES = range(2, 7)  # indexes of `counts`, as in encode_words.cu
Model, Words, Todo, Rows = structs_of("encode_words.cu", "Model Words Todo Rows")


def why_not(tables: BpeTables) -> str:
    """Returns why these kernels can't encode with these tables, or "" if they can.

    They can if each byte is a symbol, which is the same at every offset of a word, and if nothing is random.
    """
    if tables.dropout:
        return "the model has dropout"
    if tables.ordered:
        return "the model has a prefix, or more merges than fit into 32 bits with their offsets"
    if tables.symbols.shape != (1, 256) or not tables.symbols.all():
        return "the model's symbols are not the 256 bytes"
    return ""


def upload(device: Device, tables: BpeTables) -> Any:
    """Copies the tables of a model to the device."""
    slots, text, offsets = tables.whole
    longest = int(np.diff(offsets).max(initial=0))
    sizes = len(tables.pairs.slots) - 1, int(tables.pairs.bits), max(0, len(slots) - 1), longest
    arrays = tables.pairs.slots, tables.merged, tables.symbols[0] - np.uint32(1), tables.ids
    arrays += slots, text, indexes(offsets)
    with device.active():
        return Model(*map(device.xp.asarray, arrays), *sizes)


def encoded(device: Device, words: Words, n_bytes: int, model: Any, looks: bool = True) -> Words:
    """Encodes words, which have `n_bytes` bytes together, or fewer; their `symbols` are not allocated yet.

    looks: the host looks how much memory long words need.
    """
    xp, n = device.xp, words.n
    words = words._replace(symbols=xp.empty(n_bytes, xp.uint32))
    if n == 0:
        return words
    if len(model.whole_offsets) > 1:
        launch(device, "encode_words.cu", "find_tokens", model, words, n=n)
    counts = xp.zeros(_USED_TILES + 1, xp.uint32)
    todo = Todo(xp.empty(3 * n, xp.uint32), counts, *[None] * 6, n)
    launch(device, "encode_words.cu", "sort_words", words, todo, n=n)
    # A long word has more than 128 bytes, and a tile for each 64 that it begins
    found = device.download(counts).tolist() if looks else [1, 1, 1, n_bytes, n_bytes // 32 + 1]
    for kind, kernel in enumerate(("encode_short", "encode_middle", "encode_long")):
        if kind == _LONG_WORDS:
            room = (xp.empty(found[_LONG_BYTES], xp.uint32) for _ in range(5))
            todo = Todo(*todo[:2], *room, xp.empty(found[_LONG_TILES], xp.uint32), n)
        if found[kind]:
            launch(device, "encode_words.cu", kernel, model, words, todo)
    return words


def gathered(device: Device, words: Words, rows: Rows, model: Any, most: int | None = None) -> Rows:
    """Writes the ids of words one after the other; `sizes` of the rows are known.

    most: there are not more ids. None: the host looks how many there are.
    """
    offsets = offsets_of(device, rows.sizes)
    n_tokens = number(device, offsets) if most is None else most
    rows = rows._replace(offsets=offsets, ids=device.xp.empty(n_tokens, device.xp.uint32))
    if rows.n:
        launch(device, "encode_words.cu", "gather_tokens", model, words, rows, n=rows.n)
    return rows
