"""Launches the training of BPE on a CUDA device; train_bpe.cu says what a round does.

Memory: 10 bytes for each symbol (4 for itself, 4 for a copy while gaps are closed, 2 for matches), and 12 bytes for
each distinct word, which also has a symbol for its end. Indexes of symbols have 32 bits: 43 GB hold all of the 2**32 -
1 symbols. So text that is not cut into words takes 10 bytes a symbol, and 80 GB hold the largest number of symbols,
4.29 billion. Words of six symbols take (7 * 10 + 12) / 6 = 13.7 bytes a symbol; 80 GB hold 3.7 billion symbols of such
words (by their indexes), and a T4 (15 GB) holds 1.1 billion.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from gputok.kernels import BpeLimits, BpeMerges, Veto
from gputok.kernels.cuda.bits import offsets_of, ranked
from gputok.kernels.cuda.device import Device, launch, number, packed, structs_of

_CHOOSERS, _SLOTS, _STRETCH, _TALLIES = 256, 1024, 256, 512  # these and the next two lines are as in train_bpe.cu
_END = 0xFFFFFFFF
_TRAINED, _FULL, _LOW, _CROWDED = 1, 2, 3, 4  # values of _DONE: why rounds have stopped; 0: they go on

_MOST_SYMBOLS = 2**32 - 1
_MOST_ROWS = 2**31

# Fields of state
(
    _N_TOKENS, _N_MERGES, _DONE, _N_BATCH, _THRESHOLD, _N_CANDIDATES, _SIDE, _N_MATCHES, _N_ROWS, _ROWS_BEFORE, _N_BORN,
    _N_GONE, _OVERFLOWED, _N_ROUNDS, _N_PASSES, _N_READ, _STATE_SIZE,
) = range(17)  # fmt: skip
Training, Corpus, Stretches, Tally, Gaps = structs_of("train_bpe.cu", "Training Corpus Stretches Tally Gaps")


class _ByCpu(Exception):
    """The CPU has to learn the merges; the message says why."""


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
    """Learns the merges that `reference.train_bpe` learns, of the same arguments.

    A word may be any text: a document or a run of words, if tokens may span words (`limits.veto`), or Chinese.

    The CPU learns all merges, with a warning, if tokens have a prefix, if shorter pairs come first, or if a merge makes
    a token that exists already (a special token): such a token has a smaller id than others, which the proof that pairs
    may be merged in batches excludes.
    """
    try:
        if limits.prefix or limits.shorter_first:
            raise _ByCpu("tokens have a prefix" if limits.prefix else "shorter pairs come first")
        with device.in_use(), device.active():
            return _trained(device, (symbols, offsets, counts), tokens, token_offsets, limits, progress)
    except MemoryError as error:
        raise MemoryError(
            f"the memory of {device.name} does not hold the {len(symbols):,} symbols of {len(counts):,} distinct words "
            f"and their pairs ({error}): use device='cpu', or leave out rare words"
        ) from error
    except _ByCpu as error:
        from gputok.kernels.cpu.train_bpe import train_bpe

        warnings.warn(f"merges are learnt on the CPU: {error}", stacklevel=2)
        return train_bpe(symbols, offsets, counts, tokens, token_offsets, limits, progress)


def _trained(
    device: Device,
    words: tuple[np.ndarray, ...],
    tokens: np.ndarray,
    token_offsets: np.ndarray,
    limits: BpeLimits,
    progress: Callable[[int, int], None] | None,
) -> BpeMerges:
    names = _Names([tokens[a:b].tobytes() for a, b in itertools.pairwise(token_offsets)])
    n_tokens = len(token_offsets) - 1
    training = _started(device, words, n_tokens, limits)
    training = _with_veto(device, training, tokens, token_offsets, limits.veto)
    training = _counted(device, training)
    training = _with_candidates(device, training)
    rounds, n_seen = _rounds(device, training), 0
    while True:
        rounds()
        state = device.download(training.state)
        done, n_merges = int(state[_DONE]), int(state[_N_MERGES])
        names.add(device.download(training.log[n_seen:n_merges]), device.download(training.log_counts[n_seen:n_merges]))
        n_seen = n_merges
        if progress is not None:
            progress(n_merges, max(limits.vocab_size, n_tokens) - n_tokens)
        if done == _TRAINED:
            return names.merges(n_tokens)
        before = training
        if done == _FULL:
            training = _enlarged(device, training)
            for kernel in ("change_counts", "write_tokens"):  # the rest of the round
                launch(device, "train_bpe.cu", kernel, training)
        elif done:
            training = _with_candidates(device, training)
        elif 4 * int(state[_N_GONE]) > training.n_symbols:
            training = _closed(device, training)
        if training is not before:
            rounds = _rounds(device, training)


class _Names:
    """The strings of tokens, and the merges that made them."""

    def __init__(self, strings: list[bytes]) -> None:
        self._strings, self._known = strings, {*strings}
        self._log, self._counts = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]

    def add(self, log: np.ndarray, counts: np.ndarray) -> None:
        """Adds merges, uint64[n]: left << 32 | right, with counts, int64[n]. _ByCpu: one spells a token that exists."""
        self._log.append(log)
        self._counts.append(counts)
        for a, b in zip((log >> np.uint64(32)).tolist(), (log & np.uint64(_END)).tolist(), strict=True):
            string = self._strings[a] + self._strings[b]
            if string in self._known:
                raise _ByCpu(f"a merge spells {string.decode(errors='replace')!r}, which is a token already")
            self._strings.append(string)
            self._known.add(string)

    def merges(self, n_tokens: int) -> BpeMerges:
        log, counts = np.concatenate(self._log), np.concatenate(self._counts)
        left, right = (log >> np.uint64(32)).astype(np.uint32), log.astype(np.uint32)
        merged = np.arange(n_tokens, len(self._strings), dtype=np.uint32)
        ends = np.cumsum([0, *map(len, self._strings)], dtype=np.int64)
        return BpeMerges(left, right, merged, counts, np.frombuffer(b"".join(self._strings), np.uint8), ends)


def _rounds(device: Device, training: Training) -> Callable[[], None]:
    """Returns a function that launches the rounds between two looks of the host at the state."""
    struct = packed(training)

    def rounds() -> None:
        for _ in range(device.sizes.rounds_per_look):
            device.launch("train_bpe.cu", "choose_batch", 1, _CHOOSERS, (struct,))
            for kernel in ("find_matches", "change_counts", "write_tokens"):
                launch(device, "train_bpe.cu", kernel, struct)

    return rounds


def _started(device: Device, words: tuple[np.ndarray, ...], n_tokens: int, limits: BpeLimits) -> Training:
    """Lays out the words; no pairs are counted yet. `state` is on the host."""
    xp, vocab_size = device.xp, max(limits.vocab_size, n_tokens)
    symbols, offsets, counts = words
    laid_out, begin, weight = _laid_out(device, symbols[offsets[0] : offsets[-1]], offsets - offsets[0], counts)
    state = np.zeros(_STATE_SIZE, np.int64)
    state[_N_TOKENS] = n_tokens
    ones = np.zeros(vocab_size, np.uint32)
    ones[:n_tokens] = 1
    bits = vocab_size // 32 + 1
    return Training(
        symbols=laid_out,
        begin=begin,
        weight=weight,
        first_word=_first_words(device, begin, len(begin), len(laid_out)),
        length=xp.asarray(ones),
        width=xp.asarray(ones.copy()),
        candidates=xp.empty(2 * device.sizes.candidate_room, xp.uint32),
        matches=xp.empty(len(laid_out) // 2 + 1, xp.uint32),
        is_left=xp.zeros(bits, xp.uint32),
        is_right=xp.zeros(bits, xp.uint32),
        batch_keys=xp.empty(_SLOTS, xp.uint64),
        batch_tokens=xp.empty(_SLOTS, xp.uint32),
        log=xp.empty(vocab_size, xp.uint64),
        log_counts=xp.empty(vocab_size, xp.int64),
        state=state,
        n_words=len(begin),
        n_symbols=len(laid_out),
        room=device.sizes.candidate_room,
        vocab_size=limits.vocab_size,
        least=max(1, limits.min_frequency),
        max_length=limits.max_token_length,
    )


def _with_veto(
    device: Device, training: Training, tokens: np.ndarray, token_offsets: np.ndarray, veto: Veto | None
) -> Training:
    """Adds the limits of a veto, and the traits of the first tokens."""
    if veto is None:
        return training
    from gputok.kernels.cpu.veto import token_traits, veto_limits

    max_words, max_characters, colons = veto_limits(veto).tolist()
    traits, first = np.zeros(len(training.length), np.uint64), token_traits(tokens, token_offsets, veto)
    traits[: len(first)] = first
    limits = {"max_words": max_words, "max_characters": max_characters, "colons": colons}
    return training._replace(traits=device.xp.asarray(traits), has_veto=1, **limits)


def _counted(device: Device, training: Training) -> Training:
    """Counts the pairs of all words, in a table that is large enough."""
    xp, state = device.xp, training.state
    capacity = device.sizes.pair_slots
    while True:
        training = training._replace(**_table(device, capacity), state=xp.asarray(state.copy()))
        launch(device, "train_bpe.cu", "count_pairs", training)
        if number(device, training.state, _DONE) != _FULL:
            return training
        capacity *= 4


def _laid_out(device: Device, symbols: np.ndarray, offsets: np.ndarray, counts: np.ndarray) -> tuple[Any, Any, Any]:
    """Lays out the words that have pairs, with END before, between and after them.

    Returns the symbols, uint32[symbols], where each word begins, uint32[words], and how often it occurs, int64[words].
    """
    xp, n, n_words = device.xp, len(symbols), len(counts)
    if n + n_words + 1 > _MOST_SYMBOLS:
        raise MemoryError(
            f"the distinct words have {n:,} symbols, and their indexes on a GPU have 32 bits: use device='cpu', or "
            "leave out rare words"
        )
    is_narrow = symbols.dtype.itemsize <= 2
    arrays = (symbols.astype(np.uint16 if is_narrow else np.uint32, copy=False), np.asarray(offsets).astype(np.uint32))
    given, starts, weight = device.upload((*arrays, np.asarray(counts, np.int64)))()
    corpus = Corpus(
        **{"narrow" if is_narrow else "wide": given},
        offsets=starts,
        counts=weight,
        sizes=xp.empty(n_words, xp.uint32),
        kept=xp.zeros(n_words // 32 + 1, xp.uint32),
        first_word=_first_words(device, starts, n_words, n),
        n=n,
        n_words=n_words,
    )
    launch(device, "train_bpe.cu", "measure_words", corpus)
    ranks, n_kept = ranked(device, corpus.kept)
    corpus = corpus._replace(to=offsets_of(device, corpus.sizes), sizes=None, ranks=ranks)
    n_words = number(device, n_kept)
    corpus = corpus._replace(
        symbols=device.all_ones(1 + number(device, corpus.to), xp.uint32),  # END
        begin=xp.empty(n_words, xp.uint32),
        weight=xp.empty(n_words, xp.int64),
    )
    launch(device, "train_bpe.cu", "lay_out", corpus)
    launch(device, "train_bpe.cu", "list_words", corpus)
    return corpus.symbols, corpus.begin, corpus.weight


def _first_words(device: Device, begin: Any, n_words: int, n_symbols: int) -> Any:
    """Returns uint32[n_symbols / STRETCH + 2]: the word of the first symbol of each stretch, or the one before it."""
    n = n_symbols // _STRETCH + 2
    found = Stretches(begin, device.xp.empty(n, device.xp.uint32), n_words, n)
    launch(device, "train_bpe.cu", "find_stretches", found)
    return found.first_word


def _table(device: Device, capacity: int) -> dict[str, Any]:
    """Returns an empty table of pairs."""
    if capacity > _MOST_ROWS:
        raise MemoryError(f"a table of {capacity:,} pairs")
    return {
        "keys": device.all_ones(capacity, device.xp.uint64),
        "counts": device.xp.zeros(capacity, device.xp.int64),
        "born": device.xp.empty(capacity, device.xp.uint32),
        "mask": capacity - 1,
    }


def _changed(device: Device, training: Training, fields: dict[int, int]) -> Training:
    """Changes fields of a copy of the state: `training` keeps its own."""
    state = device.download(training.state)
    for field, value in fields.items():
        state[field] = value
    return training._replace(state=device.xp.asarray(state))


def _enlarged(device: Device, training: Training) -> Training:
    """Moves the pairs that still occur to a table that is four times as large, and gathers the candidates anew."""
    larger = training._replace(**_table(device, 4 * (training.mask + 1)))
    larger = _changed(device, larger, {_DONE: 0, _N_ROWS: 0, _N_BORN: 0})
    launch(device, "train_bpe.cu", "move_rows", training, larger)
    n_rows = number(device, larger.state, _N_ROWS)
    return _gathered(device, larger, {_ROWS_BEFORE: n_rows, _N_BORN: 0})


def _with_candidates(device: Device, training: Training) -> Training:
    """Chooses a threshold that some thousand pairs reach, or else all frequent pairs, and gathers the candidates."""
    xp = device.xp
    tally = xp.zeros(_TALLIES, xp.uint64)
    launch(device, "train_bpe.cu", "tally_counts", training, Tally(tally))
    # The number of pairs of this kind or a larger one.
    reached = np.cumsum(device.download(tally)[::-1].astype(np.int64))
    kind = _TALLIES - 1 - int(np.searchsorted(reached, device.sizes.candidates))
    n = int(reached[min(_TALLIES - 1 - kind, _TALLIES - 1)])
    room = max(device.sizes.candidate_room, 2 * n)
    if room > training.room:
        training = training._replace(candidates=xp.empty(2 * room, xp.uint32), room=room)
    return _gathered(device, training, {_THRESHOLD: max(training.least, _least_of(max(kind, 1)))})


def _least_of(kind: int) -> int:
    """Returns the smallest count of a kind (`kind_of` of train_bpe.cu).

    >>> _least_of(7), _least_of(24), _least_of(25), _least_of(32)
    (7, 8, 9, 16)
    """
    return kind if kind < 8 else (8 + kind % 8) << max(0, kind // 8 - 3)


def _gathered(device: Device, training: Training, fields: dict[int, int]) -> Training:
    """Changes fields of the state, and gathers all pairs that reach the threshold."""
    fields = {_DONE: 0, _OVERFLOWED: 0, _N_CANDIDATES: 0, _SIDE: 0} | fields
    training = _changed(device, training, fields)
    launch(device, "train_bpe.cu", "gather_candidates", training)
    return training


def _closed(device: Device, training: Training) -> Training:
    """Closes gaps, so that each token takes one symbol."""
    xp = device.xp
    gaps = Gaps(xp.empty(-(-training.n_symbols // 32), xp.uint32), None, None, None)
    launch(device, "train_bpe.cu", "mark_live", training, gaps)
    ranks, n_live = ranked(device, gaps.live)
    symbols, begin = xp.empty(number(device, n_live), xp.uint32), xp.empty(training.n_words, xp.uint32)
    gaps = gaps._replace(ranks=ranks, symbols=symbols, begin=begin)
    launch(device, "train_bpe.cu", "close_gaps", training, gaps)
    launch(device, "train_bpe.cu", "move_words", training, gaps)
    first_word = _first_words(device, begin, len(begin), len(symbols))
    return training._replace(symbols=symbols, begin=begin, first_word=first_word, n_symbols=len(symbols))
