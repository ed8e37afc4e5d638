"""Launches the training of BPE on a CUDA device; train_bpe.cu says what a round does.

Memory: 10 bytes for each place (4 for its symbol, 4 for a copy while gaps are closed, 2 for matches), and 16 bytes for each
distinct word. A symbol takes a place, and so does the end of each word. Places are numbered with 32 bits: 43 GB hold all of
the 2**32 - 1 places. So text that is not cut into words takes 10 bytes a symbol, and 80 GB hold the largest number of symbols,
4.29 billion. Words of six symbols take (7 * 10 + 16) / 6 = 14.3 bytes a symbol; 80 GB hold 3.7 billion symbols of such words (by
the number of places), and a T4 (15 GB) holds 1.0 billion.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from gputok.kernels import BpeLimits, BpeMerges, Veto
from gputok.kernels.cuda.bits import ranked
from gputok.kernels.cuda.device import Device, offsets_of

# as in train_bpe.cu
_CHOOSERS, _SLOTS, _STRETCH, _TALLIES = 256, 1024, 256, 512
_END = 0xFFFFFFFF
_FREE = 2**64 - 1
_TRAINED, _FULL, _LOW, _CROWDED = 1, 2, 3, 4

_MOST_PLACES = 2**32 - 1


class Sizes(NamedTuple):
    """Sizes that decide about time and memory, and never about the result."""

    rounds_per_look: int = 16  # launched before the host looks what is wanted
    least_capacity: int = 1 << 16  # of the table of pairs
    candidates: int = 4096  # wanted, if there are so many pairs
    # For candidates. Pairs are born until there is no room, and each round reads all candidates: with 1 << 16, a round on 20 MB
    # of English read 20,900 of them, not 3,900
    least_room: int = 1 << 13


SIZES = Sizes()


class Training(NamedTuple):
    """The fields of the struct `Training` of train_bpe.cu, in its order."""

    symbols: Any  # uint32[n_places]
    begin: Any  # int64[n_words]
    weight: Any  # int64[n_words]
    first_word: Any  # int64[n_places / STRETCH + 2]
    length: Any  # uint32[vocab_size]
    places: Any  # uint32[vocab_size]
    keys: Any  # uint64[capacity]
    counts: Any  # int64[capacity]
    born: Any  # uint32[capacity]
    candidates: Any  # uint32[2 * room]
    matches: Any  # uint32[n_places / 2 + 1]
    is_left: Any  # uint32[vocab_size / 32 + 1]
    is_right: Any  # uint32[vocab_size / 32 + 1]
    batch_keys: Any  # uint64[SLOTS]
    batch_tokens: Any  # uint32[SLOTS]
    log: Any  # uint64[vocab_size]
    log_counts: Any  # int64[vocab_size]
    traits: Any  # uint64[vocab_size], or None
    state: Any  # int64[STATE_SIZE]
    n_words: int
    n_places: int
    capacity: int
    room: int
    vocab_size: int
    least: int
    max_length: int
    max_words: int
    max_characters: int
    colons: int


# fields of state
(
    _N_TOKENS, _N_MERGES, _DONE, _N_BATCH, _THRESHOLD, _N_CANDIDATES, _SIDE, _N_MATCHES, _N_ROWS, _ROWS_BEFORE, _N_BORN,
    _N_GONE, _OVERFLOWED, _N_ROUNDS, _N_PASSES, _N_READ, _STATE_SIZE,
) = range(17)  # fmt: skip


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
    sizes: Sizes | None = None,
) -> BpeMerges:
    """Learns the merges of the words symbols[offsets[i]:offsets[i + 1]], those that `reference.train_bpe` learns.

    A word may be any text: a document or a run of words, if tokens may span words (`limits.veto`), or Chinese.

    If a merge spells a token that exists already (a special token), the CPU learns all merges, with a warning: such a merge
    makes a token whose id is smaller than others, which the proof of batches excludes. So it does with a prefix, or if
    shorter pairs come first.

    Args:
        device: Where merges are learned.
        symbols: As for `reference.train_bpe`, and so are the arguments up to `progress`.
        offsets: int64[words + 1], into `symbols`.
        counts: int64[words].
        tokens: uint8[bytes], the tokens that exist already, one after the other.
        token_offsets: int64[tokens + 1], into `tokens`.
        limits: Where learning stops.
        progress: Is called with the number of merges, and with the number wanted.
        sizes: Of memory and of rounds. None: SIZES.

    Raises:
        MemoryError: The device does not have the memory.
    """
    try:
        if limits.prefix or limits.shorter_first:
            raise _ByCpu("tokens have a prefix" if limits.prefix else "shorter pairs come first")
        with device.in_use():
            return _trained(
                device, symbols, offsets, counts, tokens, token_offsets, limits, progress, sizes or SIZES
            )
    except MemoryError as error:
        raise MemoryError(
            f"the memory of {device.name} does not hold the {len(symbols):,} symbols of {len(counts):,} distinct words and "
            f"their pairs ({error}): use device='cpu', or leave out rare words"
        ) from error
    except _ByCpu as error:
        from gputok.kernels.cpu.train_bpe import train_bpe

        warnings.warn(f"merges are learnt on the CPU: {error}", stacklevel=2)
        return train_bpe(symbols, offsets, counts, tokens, token_offsets, limits, progress)


def _trained(
    device: Device,
    symbols: np.ndarray,
    offsets: np.ndarray,
    counts: np.ndarray,
    tokens: np.ndarray,
    token_offsets: np.ndarray,
    limits: BpeLimits,
    progress: Callable[[int, int], None] | None,
    sizes: Sizes,
) -> BpeMerges:
    names = _Names([tokens[a:b].tobytes() for a, b in itertools.pairwise(token_offsets)])
    n_tokens = len(token_offsets) - 1
    with device.active():
        training = _started(device, symbols, offsets, counts, n_tokens, limits, sizes)
        training = _with_veto(device, training, tokens, token_offsets, limits.veto)
        training = _counted(device, training, sizes)
        training = _with_candidates(device, training, sizes)
        rounds, n_seen = _rounds(device, training, sizes.rounds_per_look), 0
        while True:
            rounds()
            state = device.download(training.state)
            done, n_merges = int(state[_DONE]), int(state[_N_MERGES])
            names.add(
                device.download(training.log[n_seen:n_merges]),
                device.download(training.log_counts[n_seen:n_merges]),
            )
            n_seen = n_merges
            if progress is not None:
                progress(n_merges, max(limits.vocab_size, n_tokens) - n_tokens)
            if done == _TRAINED:
                return names.merges(n_tokens)
            before = training
            if done == _FULL:
                training = _enlarged(device, training)
                for kernel in ("change_counts", "write_tokens"):  # the rest of the round
                    _launch(device, kernel, training)
            elif done:
                training = _with_candidates(device, training, sizes)
            elif 4 * int(state[_N_GONE]) > training.n_places:
                training = _closed(device, training)
            if training is not before:
                rounds = _rounds(device, training, sizes.rounds_per_look)


class _Names:
    """The strings of tokens, and the merges that made them."""

    def __init__(self, strings: list[bytes]) -> None:
        self._strings, self._known = strings, {*strings}
        self._log, self._counts = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]

    def add(self, log: np.ndarray, counts: np.ndarray) -> None:
        """Adds merges, uint64[n]: left << 32 | right, with their counts, int64[n]. Raises _ByCpu if a merge spells a token that exists."""
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


def _rounds(device: Device, training: Training, n: int) -> Callable[[], None]:
    """Returns a function that launches the `n` rounds between two looks of the host at the state."""
    struct = device.struct(training)

    def rounds() -> None:
        for _ in range(n):
            device.launch("train_bpe.cu", "choose_batch", 1, _CHOOSERS, (struct,))
            for kernel in ("find_matches", "change_counts", "write_tokens"):
                device.launch("train_bpe.cu", kernel, device.blocks, 128, (struct,))

    return device.graph(rounds) if device.by_graph else rounds


def _launch(device: Device, kernel: str, training: Training, *arguments: Any) -> None:
    device.launch("train_bpe.cu", kernel, device.blocks, 128, (device.struct(training), *arguments))


def _started(
    device: Device,
    symbols: np.ndarray,
    offsets: np.ndarray,
    counts: np.ndarray,
    n_tokens: int,
    limits: BpeLimits,
    sizes: Sizes,
) -> Training:
    """Lays out the words; no pairs are counted yet. `state` is on the host."""
    xp, vocab_size = device.xp, max(limits.vocab_size, n_tokens)
    places, begin, weight = _laid_out(device, symbols[offsets[0] : offsets[-1]], offsets - offsets[0], counts)
    n_places = len(places)
    state = np.zeros(_STATE_SIZE, np.int64)
    state[_N_TOKENS] = n_tokens
    ones = xp.zeros(vocab_size, xp.uint32)
    ones[:n_tokens] = 1
    bits = vocab_size // 32 + 1
    return Training(
        symbols=places,
        begin=begin,
        weight=weight,
        first_word=_first_words(xp, begin, n_places),
        length=ones,
        places=ones.copy(),
        keys=None,
        counts=None,
        born=None,
        candidates=xp.empty(2 * sizes.least_room, xp.uint32),
        matches=xp.empty(n_places // 2 + 1, xp.uint32),
        is_left=xp.zeros(bits, xp.uint32),
        is_right=xp.zeros(bits, xp.uint32),
        batch_keys=xp.empty(_SLOTS, xp.uint64),
        batch_tokens=xp.empty(_SLOTS, xp.uint32),
        log=xp.empty(vocab_size, xp.uint64),
        log_counts=xp.empty(vocab_size, xp.int64),
        traits=None,
        state=state,
        n_words=len(begin),
        n_places=n_places,
        capacity=0,
        room=sizes.least_room,
        vocab_size=limits.vocab_size,
        least=max(1, limits.min_frequency),
        max_length=limits.max_token_length,
        max_words=0,
        max_characters=0,
        colons=0,
    )


def _with_veto(
    device: Device, training: Training, tokens: np.ndarray, token_offsets: np.ndarray, veto: Veto | None
) -> Training:
    """Adds the limits of a veto, and the traits of the first tokens."""
    if veto is None:
        return training
    from gputok.kernels.cpu.train_bpe.veto import token_traits, veto_limits

    max_words, max_characters, colons = veto_limits(veto).tolist()
    traits, first = (
        device.xp.zeros(len(training.length), device.xp.uint64),
        token_traits(tokens, token_offsets, veto),
    )
    traits[: len(first)] = device.xp.asarray(first)
    return training._replace(traits=traits, max_words=max_words, max_characters=max_characters, colons=colons)


def _counted(device: Device, training: Training, sizes: Sizes) -> Training:
    """Counts the pairs of all words, in a table that is large enough."""
    xp, state = device.xp, training.state
    capacity = sizes.least_capacity
    while True:
        training = training._replace(**_table(xp, capacity), state=xp.asarray(state.copy()))
        _launch(device, "count_pairs", training)
        if int(training.state[_DONE]) != _FULL:
            return training
        capacity *= 4


def _laid_out(
    device: Device, symbols: np.ndarray, offsets: np.ndarray, counts: np.ndarray
) -> tuple[Any, Any, Any]:
    """Lays out the words that have pairs, with END before, between and behind them.

    Returns the symbols, uint32[places], where each word begins, int64[words], and how often it occurs, int64[words].
    """
    xp, n = device.xp, len(symbols)
    if n + len(counts) + 1 > _MOST_PLACES:
        raise MemoryError(
            f"the distinct words have {n:,} symbols, and places on a GPU have 32 bits: use device='cpu', or leave out rare words"
        )
    given, starts, weight = device.upload(
        (symbols, np.asarray(offsets, np.int64), np.asarray(counts, np.int64))
    )()
    given = given.astype(xp.uint32)  # before more is allocated: also here, a symbol takes 16 bytes at most
    sizes = starts[1:] - starts[:-1]
    to = offsets_of(xp, xp.where(sizes > 1, sizes + 1, 0))
    to += 1
    del sizes
    places = xp.full(int(to[-1]), _END, xp.uint32)
    if n:
        stretches = xp.arange(-(-n // _STRETCH)) * _STRETCH
        words = xp.searchsorted(starts, stretches, side="right") - 1
        arguments = (given, n, starts, len(counts), to, words, places)
        device.launch("train_bpe.cu", "lay_out", device.blocks, 128, arguments)
    kept = xp.flatnonzero(starts[1:] - starts[:-1] > 1)
    return places, to[kept], weight[kept]


def _first_words(xp: Any, begin: Any, n_places: int) -> Any:
    """Returns int64[n_places / STRETCH + 2]: the word of the first place of each stretch."""
    marks = xp.arange(n_places // _STRETCH + 2) * _STRETCH
    words = xp.searchsorted(begin, marks, side="right") - 1
    return xp.where(words < 0, 0, words)


def _table(xp: Any, capacity: int) -> dict[str, Any]:
    """Returns an empty table of pairs."""
    return {
        "keys": xp.full(capacity, _FREE, xp.uint64),
        "counts": xp.zeros(capacity, xp.int64),
        "born": xp.empty(capacity, xp.uint32),
        "capacity": capacity,
    }


def _enlarged(device: Device, training: Training) -> Training:
    """Moves the pairs that still occur to a table that is four times as large, and gathers the candidates anew."""
    xp = device.xp
    state = training.state.copy()
    state[_DONE], state[_N_ROWS], state[_N_BORN] = 0, 0, 0
    larger = training._replace(**_table(xp, 4 * training.capacity), state=state)
    device.launch(
        "train_bpe.cu", "move_rows", device.blocks, 128, (device.struct(training), device.struct(larger))
    )
    state[_ROWS_BEFORE], state[_N_BORN] = int(state[_N_ROWS]), 0
    return _gathered(device, larger)


def _with_candidates(device: Device, training: Training, sizes: Sizes) -> Training:
    """Chooses a threshold that some thousand pairs reach, or else all frequent pairs, and gathers the candidates."""
    xp = device.xp
    tally = xp.zeros(_TALLIES, xp.int64)
    _launch(device, "tally_counts", training, tally)
    reached = np.cumsum(device.download(tally)[::-1])  # the number of pairs of this kind or a larger one
    kind = _TALLIES - 1 - int(np.searchsorted(reached, sizes.candidates))
    n = int(reached[min(_TALLIES - 1 - kind, _TALLIES - 1)])
    training.state[_THRESHOLD] = max(training.least, _least_of(max(kind, 1)))
    room = max(sizes.least_room, 2 * n)
    if room > training.room:
        training = training._replace(candidates=xp.empty(2 * room, xp.uint32), room=room)
    return _gathered(device, training)


def _least_of(kind: int) -> int:
    """Returns the smallest count of a kind (`kind_of` of train_bpe.cu).

    >>> _least_of(7), _least_of(24), _least_of(25), _least_of(32)
    (7, 8, 9, 16)
    """
    return kind if kind < 8 else (8 + kind % 8) << max(0, kind // 8 - 3)


def _gathered(device: Device, training: Training) -> Training:
    """Gathers all pairs that reach the threshold."""
    for field in (_DONE, _OVERFLOWED, _N_CANDIDATES, _SIDE):
        training.state[field] = 0
    _launch(device, "gather_candidates", training)
    return training


def _closed(device: Device, training: Training) -> Training:
    """Closes gaps, so that each token takes one place."""
    xp, n_places = device.xp, training.n_places
    live = xp.empty(-(-n_places // 32), xp.uint32)
    device.launch("train_bpe.cu", "mark_live", device.blocks, 128, (training.symbols, n_places, live))
    before, n_live = ranked(device, live)
    symbols = xp.empty(n_live, xp.uint32)
    arguments = (training.symbols, n_places, live, before, symbols)
    device.launch("train_bpe.cu", "close_gaps", device.blocks, 128, arguments)
    begin = xp.empty(training.n_words, xp.int64)
    device.launch(
        "train_bpe.cu",
        "move_words",
        device.blocks,
        128,
        (training.begin, training.n_words, live, before, begin),
    )
    training.state[_N_GONE] = 0
    training.places[:] = 1
    first_word = _first_words(xp, begin, len(symbols))
    return training._replace(symbols=symbols, begin=begin, first_word=first_word, n_places=len(symbols))
