"""Launching the training of BPE on a CUDA device."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from gputok.kernels import BpeLimits, BpeMerges
from gputok.kernels.cuda.device import Device

_TILE = 256  # as in train_bpe.cu
_MERGES_PER_LOOK = 256  # launched before the host looks whether training is done
_LEAST_CAPACITY = 1 << 16  # of the table of pairs
_POOL_PER_SYMBOL = 3  # entries of lists; more are made room for when they are needed
_END = 0xFFFFFFFF
_TRAINED, _FULL = 1, 2


class Training(NamedTuple):
    """The arrays of train_bpe.cu's struct of the same name, in its order."""

    symbols: Any  # uint32[n]
    begin: Any  # int64[words + 1]
    weight: Any  # int64[words]
    stamp: Any  # uint32[words]
    length: Any  # uint32[vocab_size]
    keys: Any  # uint64[capacity]
    counts: Any  # int64[capacity]
    list_begin: Any  # int64[capacity]
    list_size: Any  # int64[capacity]
    dirty: Any  # uint32[capacity / TILE]
    best: Any  # uint32[capacity / TILE]
    best_count: Any  # int64[capacity / TILE]
    best_key: Any  # uint64[capacity / TILE]
    pool: Any  # uint32[pool size]
    born: Any  # uint32[capacity]
    record_rows: Any  # uint32[records]
    record_words: Any  # uint32[records]
    log: Any  # uint64[vocab_size]
    state: Any  # int64[15]


# fields of state
(
    _N_WORDS, _CAPACITY, _POOL_SIZE, _RECORDS_SIZE, _VOCAB_SIZE, _LEAST, _MAX_LENGTH, _N_TOKENS, _N_MERGES, _DONE, _ROW,
    _N_ROWS, _POOL_USED, _N_BORN, _N_RECORDS, _STATE_SIZE,
) = range(16)  # fmt: skip


def train_bpe(
    device: Device,
    symbols: np.ndarray,
    offsets: np.ndarray,
    counts: np.ndarray,
    tokens: np.ndarray,
    token_offsets: np.ndarray,
    limits: BpeLimits,
    progress: Callable[[int, int], None] | None = None,
) -> BpeMerges:
    """All merges of the words symbols[offsets[i]:offsets[i + 1]], as `reference.train_bpe` finds them."""
    n_tokens = len(token_offsets) - 1
    vocab_size = max(limits.vocab_size, n_tokens)
    with device.active():
        training = _start(device, symbols, offsets, counts, n_tokens, vocab_size, limits)
        merge = _steps(device, training)
        while (done := int(training.state[_DONE])) != _TRAINED:
            if done == _FULL:
                training = _enlarged(device, training)
                merge = _steps(device, training)
            merge()
            if progress is not None:
                progress(int(training.state[_N_MERGES]), vocab_size - n_tokens)
        log = device.download(training.log[: int(training.state[_N_MERGES])])
    return _named(log, tokens, token_offsets)


def _steps(device: Device, training: Training) -> Callable[[], None]:
    """What does the next merges, as many as there are between two looks of the host."""
    handle = device.pointers(training)

    def merge() -> None:
        for _ in range(_MERGES_PER_LOOK):
            _launch(device, "refresh_tiles", handle, _TILE)
            device.launch("train_bpe.cu", "choose_pair", 1, _TILE, (handle,))
            for kernel in ("merge_words", "place_lists", "fill_lists"):
                _launch(device, kernel, handle, 128)

    return device.graph(merge) if device.by_graph else merge


def _launch(device: Device, kernel: str, handle: Any, threads: int) -> None:
    device.launch("train_bpe.cu", kernel, device.blocks, threads, (handle,))


def _start(
    device: Device,
    symbols: np.ndarray,
    offsets: np.ndarray,
    counts: np.ndarray,
    n_tokens: int,
    vocab_size: int,
    limits: BpeLimits,
) -> Training:
    """The words laid out, and the pairs of their symbols with counts and lists."""
    xp = device.xp
    sizes = np.diff(offsets)
    paired = sizes > 1  # words of one symbol have no pairs
    symbols = symbols[offsets[0] : offsets[-1]][np.repeat(paired, sizes)]
    sizes, counts = sizes[paired], counts[paired]
    begin = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes + 1, out=begin[1:])
    n_symbols = int(begin[-1])
    places = np.full(n_symbols, _END, np.uint32)
    places[np.arange(len(symbols)) + np.repeat(np.arange(len(counts)), sizes)] = symbols
    capacity = _LEAST_CAPACITY
    state = np.zeros(_STATE_SIZE, np.int64)
    state[_N_WORDS], state[_POOL_SIZE], state[_RECORDS_SIZE] = (
        len(counts),
        _POOL_PER_SYMBOL * n_symbols,
        n_symbols,
    )
    state[_VOCAB_SIZE], state[_LEAST] = limits.vocab_size, max(1, limits.min_frequency)
    state[_MAX_LENGTH], state[_N_TOKENS] = limits.max_token_length, n_tokens
    length = xp.zeros(vocab_size, xp.uint32)
    length[:n_tokens] = 1
    common = (
        xp.asarray(places),
        xp.asarray(begin),
        xp.asarray(counts),
        xp.full(len(counts), _END, xp.uint32),
        length,
    )
    while True:
        state[_CAPACITY] = capacity
        training = Training(
            *common,
            *_rows(device, capacity),
            xp.empty(_POOL_PER_SYMBOL * n_symbols, xp.uint32),
            xp.empty(max(capacity, 2 * vocab_size), xp.uint32),
            xp.empty(n_symbols, xp.uint32),
            xp.empty(n_symbols, xp.uint32),
            xp.empty(vocab_size, xp.uint64),
            xp.asarray(state.copy()),
        )
        handle = device.pointers(training)
        for kernel in ("count_pairs", "place_lists", "fill_lists"):
            _launch(device, kernel, handle, 128)
        if int(training.state[_DONE]) != _FULL:
            return training
        capacity *= 4


def _rows(device: Device, capacity: int) -> tuple:
    """Free rows: keys to best_key."""
    xp = device.xp
    return (
        xp.full(capacity, 2**64 - 1, xp.uint64),
        *(xp.zeros(capacity, xp.int64) for _ in range(3)),
        xp.ones(capacity // _TILE, xp.uint32),
        *(xp.empty(capacity // _TILE, kind) for kind in (xp.uint32, xp.int64, xp.uint64)),  # all are dirty
    )


def _enlarged(device: Device, training: Training) -> Training:
    """The same training with a table of pairs and a pool of lists twice as large."""
    xp = device.xp
    state = training.state.copy()
    capacity, pool_size = 2 * int(state[_CAPACITY]), 2 * int(state[_POOL_SIZE])
    state[_CAPACITY], state[_POOL_SIZE], state[_DONE], state[_N_ROWS] = capacity, pool_size, 0, 0
    pool = xp.empty(pool_size, xp.uint32)
    pool[: len(training.pool)] = training.pool
    rows = dict(zip(Training._fields[5:13], _rows(device, capacity), strict=True))
    born = xp.empty(max(capacity, len(training.born)), xp.uint32)
    larger = training._replace(**rows, pool=pool, born=born, state=state)
    device.launch(
        "train_bpe.cu", "move_rows", device.blocks, 128, (device.pointers(training), device.pointers(larger))
    )
    return larger


def _named(log: np.ndarray, tokens: np.ndarray, token_offsets: np.ndarray) -> BpeMerges:
    """Merges with the strings of their tokens; each merge makes a new token."""
    strings = [tokens[a:b].tobytes() for a, b in itertools.pairwise(token_offsets)]
    left, right = (log >> np.uint64(32)).astype(np.uint32), log.astype(np.uint32)
    n_tokens = len(strings)
    for a, b in zip(left.tolist(), right.tolist(), strict=True):
        strings.append(strings[a] + strings[b])
    ends = np.zeros(len(strings) + 1, np.int64)
    np.cumsum([len(string) for string in strings], out=ends[1:])
    merged = np.arange(n_tokens, len(strings), dtype=np.uint32)
    return BpeMerges(left, right, merged, np.frombuffer(b"".join(strings), np.uint8), ends)
