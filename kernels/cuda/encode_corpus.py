"""Launches the encoding of raw text by BPE on a CUDA device. Each distinct word is encoded once."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from gputok.kernels.cuda import split
from gputok.kernels.cuda.device import Device, indexes, launch, number, structs_of
from gputok.kernels.cuda.encode_words import Rows, Words, encoded, gathered

_WORDS_PER_SLOT = 4  # words of a text for each slot of the first table of words; a larger table replaces a full one
Entered, Pieces, Narrow, Around = structs_of("encode_words.cu", "Entered Pieces Narrow Around")


def encode_corpus(
    device: Device,
    data: np.ndarray,
    offsets: np.ndarray,
    token: np.ndarray | None,
    automaton: Any,
    model: Any,
    dtype: Any = np.uint32,
) -> tuple[np.ndarray, np.ndarray]:
    """Encodes pieces of text as kernels.cpu.encode_corpus does, but without a cache.

    Text that does not fit into the memory of the device is encoded in halves.

    Args:
        device: Where to encode.
        data: uint8[n].
        offsets: int64[pieces + 1], where each piece begins.
        token: int64[pieces], the id of a piece that is an added token, else -1; None: no piece is one.
        automaton: Splits text into words.
        model: Encodes words.
        dtype: The type of the ids.

    Returns:
        The ids, and int64[pieces + 1]: where those of each piece begin.

    Raises:
        MemoryError: A single piece does not fit.
        split.TooLong: The text has a run that can't be cut and is too long for one thread; `begin` is in `data`.
    """
    token = np.full(len(offsets) - 1, -1) if token is None else np.asarray(token)
    try:
        if offsets[-1] - offsets[0] > split.MAX_BYTES:
            raise MemoryError
        with device.active():
            ids, ends = encode_on_device(device, *upload(device, data, offsets, token), automaton, model)
            ends = device.download(ends).astype(np.int64)
            ids = ids[: ends[-1]]
            if np.dtype(dtype) == np.uint16:
                ids, wide = device.xp.empty(len(ids), device.xp.uint16), ids
                launch(device, "encode_words.cu", "narrow_ids", Narrow(wide, ids, len(ids)), n=len(ids))
            return device.download(ids).astype(dtype, copy=False), ends
    except split.TooLong as error:
        begin = int(offsets[0])
        raise split.TooLong(begin + error.begin, begin + error.end, error.longest) from None
    except MemoryError:
        if len(token) < 2:
            raise MemoryError(f"{len(data):,} bytes of text are too many for the memory of the GPU") from None
    middle = len(token) // 2
    ids, ends = encode_corpus(device, data, offsets[: middle + 1], token[:middle], automaton, model, dtype)
    more_ids, more_ends = encode_corpus(device, data, offsets[middle:], token[middle:], automaton, model, dtype)
    return np.concatenate([ids, more_ids]), np.concatenate([ends, more_ends[1:] + ends[-1]])


def upload(device: Device, data: np.ndarray, offsets: np.ndarray, *numbers: np.ndarray) -> tuple[Any, ...]:
    """Copies pieces of text, as `encode_on_device` takes them, and arrays of 32 bits to the device, in two copies."""
    parts = [part.astype(np.uint32, copy=False) for part in (indexes(offsets - offsets[0]), *numbers)]
    text, whole = device.upload((data[offsets[0] : offsets[-1]], np.concatenate(parts)))()
    ends = np.cumsum([0, *map(len, parts)]).tolist()
    return text, *(whole[a:b] for a, b in itertools.pairwise(ends))


def encode_on_device(
    device: Device, text: Any, offsets: Any, token: Any, automaton: Any, model: Any
) -> tuple[Any, Any]:
    """Does what `encode_corpus` does, with arrays on the device, all uint32 but the text; offsets begin with 0.

    If text has at most `DeviceSizes.bounded` bytes, the host does not look how many words and ids there are, and takes
    memory for one of each for every byte. Then the array of ids is too long: the last element of ends is their number.
    """
    xp, n_bytes = device.xp, len(text)
    most = n_bytes if 0 < n_bytes <= min(device.sizes.bounded, device.sizes.longest_run) else None
    starts = split.find_words(device, text, offsets, automaton, most)
    entered, n_distinct = _entered(device, text, starts, most)
    n_words = len(starts) - 1
    room = (xp.zeros(n_distinct, xp.uint32) for _ in range(4))
    words = Words(text, next(room), next(room), next(room), None, next(room), n_distinct)
    launch(device, "encode_words.cu", "number_words", entered, words, n=n_distinct)
    n_bytes = number(device, entered.n_bytes) if most is None else most
    words = encoded(device, words, n_bytes, model, most is None)
    rows = Rows(entered.slots, entered.tags, xp.empty(n_words, xp.uint32), None, None, n_words)
    pieces = Pieces(offsets, token, starts, xp.empty(len(offsets), xp.uint32), len(token), n_words)
    launch(device, "encode_words.cu", "count_tokens", words, rows, n=n_words)
    launch(device, "encode_words.cu", "count_added", pieces, rows, n=len(token))
    rows = gathered(device, words, rows, model, most=most)
    launch(device, "encode_words.cu", "end_pieces", pieces, rows, n=len(offsets))
    return rows.ids, pieces.ends


def encode_documents(
    device: Device,
    data: np.ndarray,
    offsets: np.ndarray,
    token: np.ndarray | None,
    rows: np.ndarray,
    around: tuple[Sequence[int], Sequence[int]],
    automaton: Any,
    model: Any,
) -> tuple[Any, Any]:
    """Encodes documents, and leaves the ids on the device, in memory that other libraries may use.

    The arguments are those of `encode_corpus`, and so is TooLong; rows: int64[documents + 1], the first piece of each
    document, and the number of pieces; around: the ids before and after each document.

    Returns:
        int32[ids] and int32[documents + 1]: where the ids of each document begin.

    Raises:
        MemoryError: The device does not have the memory.
    """
    token = np.full(len(offsets) - 1, -1) if token is None else np.asarray(token)
    if offsets[-1] - offsets[0] > split.MAX_BYTES:
        raise MemoryError(f"{offsets[-1] - offsets[0]:,} bytes of text are too many for a GPU: encode fewer at a time")
    xp, n_documents, n_around = device.xp, len(rows) - 1, sum(map(len, around))
    with device.active(waits=False):
        fixed = np.array([*around[0], *around[1]], np.uint32)
        *there, documents, fixed = upload(device, data, offsets, token, indexes(np.asarray(rows)), fixed)
        ids, ends = encode_on_device(device, *there, automaton, model)
        to = xp.empty(len(ids) + n_around * n_documents, xp.uint32)
        new_rows = xp.empty(n_documents + 1, xp.uint32)
        struct = Around(ids, ends, documents, fixed, to, new_rows, n_documents, *map(len, around))
        launch(device, "encode_words.cu", "surround", struct, n=len(to) + len(new_rows))
        n_ids = number(device, new_rows)
        ids, rows = device.lasting(to[:n_ids].view(xp.int32), new_rows.view(xp.int32))
        return ids, rows


def _entered(device: Device, text: Any, starts: Any, most: int | None) -> tuple[Entered, int]:
    """Enters the words that begin at starts, uint32[n + 1], in a table; returns it, and how many differ, or `most`."""
    xp = device.xp
    n, capacity = len(starts) - 1, 64
    slots = xp.empty(n, xp.uint32)
    # If the host does not look, half of the table has room for all words, and for slots that threads give up again
    while capacity * _WORDS_PER_SLOT < n or (most is not None and capacity < 2 * (n + 1)):
        capacity *= 2
    while True:
        state = xp.zeros(4, xp.uint32)
        numbers = (state[i : i + 1] for i in range(4))
        table = device.all_ones(capacity, xp.uint64), xp.zeros(capacity, xp.uint32), slots
        entered = Entered(text, starts, *table, xp.empty(capacity // 2, xp.uint32), *numbers, capacity - 1, n)
        launch(device, "encode_words.cu", "enter_words", entered, n=n)
        if most is not None:
            return entered, most
        _, n_distinct, n_over, _ = device.download(state).tolist()
        if n_over == 0:
            return entered, n_distinct
        capacity *= 4
