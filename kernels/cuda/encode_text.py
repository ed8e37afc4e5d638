"""Launches the encoding of raw text by BPE on a CUDA device. Each distinct word is encoded once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gputok.kernels.cuda import split
from gputok.kernels.cuda.device import Device, offsets_of
from gputok.kernels.cuda.encode_words import Model, encoded, gathered

_FREE = 2**64 - 1
_WORDS_PER_SLOT = 4  # of a text, at first; if the table is too small, a larger one replaces it


def encode_text(
    device: Device,
    data: np.ndarray,
    offsets: np.ndarray,
    token: np.ndarray | None,
    automaton: split.Tables,
    model: Model,
    dtype: Any = np.uint32,
) -> tuple[np.ndarray, np.ndarray]:
    """Encodes pieces of text as kernels.cpu.encode_text does, but without a cache.

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
    token = np.full(len(offsets) - 1, -1, np.int64) if token is None else np.asarray(token, np.int64)
    try:
        if offsets[-1] - offsets[0] > split.MAX_BYTES:
            raise MemoryError
        with device.active():
            text = data[offsets[0] : offsets[-1]]
            on_device = device.upload((text, offsets - offsets[0], token))()
            ids, ends = encode_on_device(device, *on_device, automaton, model)
            return device.download(ids.astype(dtype)), device.download(ends)
    except split.TooLong as error:
        raise split.TooLong(error.begin + int(offsets[0]), error.end + int(offsets[0])) from None
    except MemoryError:
        if len(token) < 2:
            raise MemoryError(f"{len(data):,} bytes of text are too many for the memory of the GPU") from None
    middle = len(token) // 2
    ids, ends = encode_text(device, data, offsets[: middle + 1], token[:middle], automaton, model, dtype)
    more_ids, more_ends = encode_text(device, data, offsets[middle:], token[middle:], automaton, model, dtype)
    return np.concatenate([ids, more_ids]), np.concatenate([ends, more_ends[1:] + ends[-1]])


def encode_on_device(
    device: Device, text: Any, offsets: Any, token: Any, automaton: split.Tables, model: Model
) -> tuple[Any, Any]:
    """Does the same for arrays on the device, and returns arrays on the device; offsets begin with 0."""
    xp = device.xp
    starts = split.find_words(device, text, offsets, automaton)
    begin, end, which = _distinct(device, text, starts)
    words = encoded(device, text, begin, end, model)
    # All words of the text of an added token become one id, which replaces the first of them
    of_piece = xp.searchsorted(starts.astype(xp.int64), offsets)
    added = xp.flatnonzero(token >= 0)
    first, last = of_piece[added], of_piece[added + 1]
    change = xp.zeros(len(starts), xp.int64)
    change[first] += 1
    change[last] -= 1  # one token may end where another begins, but no two begin or end at the same place
    n_tokens = words.n_tokens[which].astype(xp.int64)
    n_tokens[xp.cumsum(change[:-1]) > 0] = 0
    n_tokens[first] = 1
    rows = offsets_of(xp, n_tokens)
    ids, _, _ = gathered(device, words, which, None, model, rows)
    ids[rows[first]] = token[added].astype(xp.uint32)
    return ids, rows[of_piece]


def encode_documents(
    device: Device,
    data: np.ndarray,
    offsets: np.ndarray,
    token: np.ndarray | None,
    rows: np.ndarray,
    around: tuple[Sequence[int], Sequence[int]],
    automaton: split.Tables,
    model: Model,
) -> tuple[Any, Any]:
    """Encodes documents, and leaves the ids on the device, in memory that other libraries may use.

    Args:
        device: As for `encode_text`, and so are `data`, `offsets`, `token`, `automaton` and `model`.
        data: The text.
        offsets: Of its pieces.
        token: The ids of pieces that are added tokens.
        rows: int64[documents + 1], the first piece of each document, and the number of pieces.
        around: The ids before and after each document.
        automaton: Splits text into words.
        model: Encodes words.

    Returns:
        int32[ids] and int32[documents + 1]: where the ids of each document begin.

    Raises:
        MemoryError: The device does not have the memory.
        split.TooLong: As for `encode_text`.
    """
    token = np.full(len(offsets) - 1, -1, np.int64) if token is None else np.asarray(token, np.int64)
    if offsets[-1] - offsets[0] > split.MAX_BYTES:
        raise MemoryError(
            f"{offsets[-1] - offsets[0]:,} bytes of text are too many for a GPU: encode fewer at a time"
        )
    with device.active():
        arrays = data[offsets[0] : offsets[-1]], offsets - offsets[0], token, np.asarray(rows, np.int64)
        text, of_pieces, tokens, documents = device.upload(arrays)()
        ids, ends = encode_on_device(device, text, of_pieces, tokens, automaton, model)
        ids, ends = _surrounded(device.xp, ids, ends[documents], *around)
        return device.lasting(ids.astype(np.int32)), device.lasting(ends.astype(np.int32))


def _surrounded(xp: Any, ids: Any, rows: Any, before: Sequence[int], after: Sequence[int]) -> tuple[Any, Any]:
    """Puts ids before and after each row."""
    n_fixed, n_ids = len(before) + len(after), len(ids)
    if n_fixed == 0:
        return ids, rows
    number = xp.arange(len(rows))
    wider = rows + number * n_fixed
    whole = xp.empty(n_ids + n_fixed * (len(rows) - 1), xp.uint32)
    row = xp.searchsorted(rows, xp.arange(n_ids), side="right") - 1
    whole[xp.arange(n_ids) + row * n_fixed + len(before)] = ids
    for i, token in enumerate(before):
        whole[wider[:-1] + i] = token
    for i, token in enumerate(after):
        whole[wider[1:] + (i - len(after))] = token
    return whole, wider


def _distinct(device: Device, text: Any, starts: Any) -> tuple[Any, Any, Any]:
    """Finds the distinct words among those that begin at starts, uint32[n + 1].

    Returns int64[u], where each distinct word begins; int64[u], where it ends; int64[n], the number of the distinct word that
    each word is equal to.
    """
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
