"""Launching BPE encoding on a CUDA device: words that are given, or those of raw text, each distinct one once."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from gputok.kernels import BpeTables
from gputok.kernels.cuda import split
from gputok.kernels.cuda.device import Device, offsets_of

# as in encode_words.cu
_SHORT, _WARP, _BLOCK, _TILE = 16, 32, 128, 64
_FREE = 2**64 - 1
_WORDS_PER_SLOT = 4  # of a text, at first; a table that is too small is begun anew


class Model(NamedTuple):
    """A BPE model of bytes on a device: the arrays of encode_words.cu's struct of the same name, in its order."""

    pairs: Any  # uint64[capacity]
    merged: Any  # uint32[merges]
    symbols: Any  # uint32[256]
    ids: Any  # uint32[tokens]
    whole: Any  # uint64[capacity]
    whole_text: Any  # uint8[bytes]
    whole_offsets: Any  # int64[tokens + 1]
    sizes: Any  # int64[4]


class Words(NamedTuple):
    """Words and their tokens: the arrays of encode_words.cu's struct, in its order."""

    text: Any  # uint8[n]
    begin: Any  # int64[words]
    end: Any  # int64[words]
    place: Any  # int64[words]
    symbols: Any  # uint32[bytes of all words]
    starts: Any  # uint32[bytes of all words]
    n_tokens: Any  # uint32[words]


class Rounds(NamedTuple):
    """Room to work on long words in: the arrays of encode_words.cu's struct, in its order."""

    place: Any  # int64[long words + 1]
    tile: Any  # int64[long words + 1]
    symbols: Any  # uint32[bytes of long words]
    ranks: Any  # uint32[bytes of long words]
    before: Any  # uint32[bytes of long words]
    after: Any  # uint32[bytes of long words]
    list: Any  # uint32[bytes of long words]
    least: Any  # uint32[tiles of long words]


def can_encode(tables: BpeTables) -> bool:
    """Whether these kernels encode as the CPU does with these tables.

    They do where each byte is a symbol, the same at every place in a word, and nothing is random.
    """
    of_bytes = tables.symbols.shape == (1, 256) and tables.symbols.all()
    return bool(of_bytes and not tables.dropout and not tables.ordered)


def upload(device: Device, tables: BpeTables) -> Model:
    """The tables of a model for which `can_encode` holds, on the device."""
    whole = tables.whole
    longest = np.diff(whole.offsets).max(initial=0)
    sizes = np.array([len(tables.pairs.slots), tables.pairs.bits, len(whole.slots), longest], np.int64)
    arrays = tables.pairs.slots, tables.merged, tables.symbols[0] - np.uint32(1), tables.ids
    with device.active():
        return Model(*(device.xp.asarray(array) for array in (*arrays, *whole, sizes)))


def encode_words(
    device: Device, data: np.ndarray, start: np.ndarray, end: np.ndarray, model: Model
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """kernels.cpu.encode_words without its cache; arrays on the host."""
    xp = device.xp
    with device.active():
        on_host = data, np.asarray(start, np.int64), np.asarray(end, np.int64)
        text, begin, stop = device.upload(on_host)()
        words = _encoded(device, text, begin, stop, model)
        ids, starts, rows = _gathered(device, words, None, begin, model)
        ends = xp.empty_like(starts)
        ends[:-1] = starts[1:]
        some = words.n_tokens > 0
        ends[rows[1:][some] - 1] = stop[some]
        return tuple(device.download(array) for array in (ids, starts, ends, rows))


def encode_text(
    device: Device,
    data: np.ndarray,
    offsets: np.ndarray,
    token: np.ndarray | None,
    automaton: split.Tables,
    model: Model,
) -> tuple[np.ndarray, np.ndarray]:
    """kernels.cpu.encode_text without its cache: ids uint32[t] of pieces of text, and where each one's end.

    Text for which there is not the memory is encoded in halves; MemoryError: not even one piece of it fits.
    """
    token = np.full(len(offsets) - 1, -1, np.int64) if token is None else np.asarray(token, np.int64)
    try:
        if offsets[-1] - offsets[0] > split.MAX_BYTES:
            raise MemoryError
        with device.active():
            text = data[offsets[0] : offsets[-1]]
            on_device = device.upload((text, offsets - offsets[0], token))()
            return tuple(map(device.download, encode_on_device(device, *on_device, automaton, model)))
    except MemoryError:
        if len(token) < 2:
            raise MemoryError(f"{len(data):,} bytes of text are too many for the memory of the GPU") from None
    middle = len(token) // 2
    ids, ends = encode_text(device, data, offsets[: middle + 1], token[:middle], automaton, model)
    more_ids, more_ends = encode_text(device, data, offsets[middle:], token[middle:], automaton, model)
    return np.concatenate([ids, more_ids]), np.concatenate([ends, more_ends[1:] + ends[-1]])


def encode_on_device(
    device: Device, text: Any, offsets: Any, token: Any, automaton: split.Tables, model: Model
) -> tuple[Any, Any]:
    """The same for arrays on the device, and with such a result; offsets from 0."""
    xp = device.xp
    starts = split.split_words(device, text, offsets, automaton).starts
    begin, end, which = _distinct(device, text, starts)
    words = _encoded(device, text, begin, end, model)
    # The words of an added token's text become one id, in place of the first of them
    of_piece = xp.searchsorted(starts.astype(xp.int64), offsets)
    added = xp.flatnonzero(token >= 0)
    first, last = of_piece[added], of_piece[added + 1]
    change = xp.zeros(len(starts), xp.int64)
    change[first] += 1
    change[last] -= 1  # a place may end one and begin another; each occurs but once on either side
    n_tokens = words.n_tokens[which].astype(xp.int64)
    n_tokens[xp.cumsum(change[:-1]) > 0] = 0
    n_tokens[first] = 1
    rows = offsets_of(xp, n_tokens)
    ids, _, _ = _gathered(device, words, which, None, model, rows)
    ids[rows[first]] = token[added].astype(xp.uint32)
    return ids, rows[of_piece]


def _distinct(device: Device, text: Any, starts: Any) -> tuple[Any, Any, Any]:
    """begin, end int64[u]: the distinct ones of the words that begin at uint32[n + 1]; int64[n]: which of them each is."""
    xp = device.xp
    n = len(starts) - 1
    slot, capacity = xp.empty(n, xp.uint32), 64
    while capacity * _WORDS_PER_SLOT < n:
        capacity *= 2
    while True:
        keys, tags = xp.full(capacity, _FREE, xp.uint64), xp.zeros(capacity, xp.uint32)
        used, n_over = xp.zeros(1, xp.int64), xp.zeros(1, xp.int64)
        device.launch(
            "encode_words.cu",
            "enter_words",
            device.blocks,
            128,
            (text, starts, n, keys, tags, capacity, used, slot, n_over),
        )
        if int(n_over[0]) == 0:
            break
        capacity *= 4
    slots = xp.flatnonzero(keys != xp.uint64(_FREE))
    number = xp.empty(capacity, xp.int64)
    number[slots] = xp.arange(len(slots))
    begin = (keys[slots] >> xp.uint64(32)).astype(xp.int64) - (1 << 31)
    return begin, begin + (keys[slots] & xp.uint64(0xFFFFFFFF)).astype(xp.int64), number[slot]


def _encoded(device: Device, text: Any, begin: Any, end: Any, model: Model) -> Words:
    """Words with their tokens: text[begin[i]:end[i]]."""
    xp = device.xp
    n, size = len(begin), end - begin
    offsets = offsets_of(xp, size)
    n_bytes = int(offsets[-1])
    room = (xp.empty(n_bytes, xp.uint32) for _ in range(2))
    words = Words(text, begin, end, offsets[:-1], *room, xp.zeros(n, xp.uint32))
    handles = device.pointers(model), device.pointers(words)
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
            arrays = _rounds(xp, size[todo])  # held until the launch is done
            arguments = (*handles, device.pointers(arrays), todo, len(todo))
        device.launch("encode_words.cu", kernel, device.blocks, threads, arguments)
    return words


def _rounds(xp: Any, size: Any) -> Rounds:
    """Room to work on words of these sizes in."""
    place, tile = offsets_of(xp, size), offsets_of(xp, (size + _TILE - 1) // _TILE)
    room = (xp.empty(int(place[-1]), xp.uint32) for _ in range(5))
    return Rounds(place, tile, *room, xp.empty(int(tile[-1]), xp.uint32))


def _gathered(
    device: Device, words: Words, which: Any, first: Any, model: Model, rows: Any = None
) -> tuple[Any, Any, Any]:
    """The ids of words one after the other, where each token begins (if `first` says where words do), and rows."""
    xp = device.xp
    if rows is None:
        rows = offsets_of(xp, words.n_tokens)
    n_tokens = int(rows[-1])
    ids, starts = xp.empty(n_tokens, xp.uint32), None if first is None else xp.empty(n_tokens, xp.int64)
    handles = device.pointers(model), device.pointers(words)
    arguments = (*handles, which, rows, len(rows) - 1, first, ids, starts)
    if len(rows) > 1:
        device.launch("encode_words.cu", "gather_tokens", device.blocks, 128, arguments)
    return ids, starts, rows
