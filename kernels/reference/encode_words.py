"""Words to tokens, in plain Python."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

from gputok.kernels.reference.strings import byte_strings, strings_of, tokens_of


def encode_words(data, start, end, tables):
    """Finds the tokens of words by BPE, without dropout; kernels/cpu/encode_words explains the arguments and the result."""
    rank_bits = 64 - 2 * tables.pairs.bits
    ranks = {}
    for slot in tables.pairs.slots.tolist():
        if slot != 2**64 - 1:
            ranks[divmod(slot >> rank_bits, 1 << tables.pairs.bits)] = slot & ((1 << rank_bits) - 1)
    whole = set(strings_of(tables.whole))
    found = []
    for word in byte_strings(data, start, end):
        if word in whole:
            found.append([(strings_of(tables.whole).index(word), 0, len(word))])
            continue
        symbols, lengths = _first_symbols(word, tables)
        merge_symbols(symbols, lengths, ranks.get, tables.merged.tolist())
        stops = list(itertools.accumulate(lengths))
        found.append(list(zip(symbols, [0, *stops], stops, strict=False)))
    ids = [*tables.ids.tolist(), *[2**32 - 1] * (2**32 - 1 in tables.unk)]
    return tokens_of([[(ids[min(i, len(ids) - 1)], a, b) for i, a, b in word] for word in found], start)


def merge_symbols(symbols: list[int], lengths: list[int], rank_of: Callable, merged: list[int]) -> None:
    """Merges the pair of lowest rank, and of these the leftmost, until no pair is left.

    A heap entry counts as long as merging the symbols at its place gives the same token. `rank_of` is called at most five
    times a symbol.
    """
    n = len(symbols)
    before, after = list(range(-1, n)), list(range(1, n + 2))
    heap: list[tuple[int, int]] = []

    def offer(left: int) -> None:
        if (
            left >= 0
            and after[left] < n
            and (rank := rank_of((symbols[left], symbols[after[left]]))) is not None
        ):
            heapq.heappush(heap, (rank, left))

    for i in range(n):
        offer(i)
    while heap:
        rank, at = heapq.heappop(heap)
        right = after[at]
        if lengths[at] == 0 or right >= n:
            continue
        now = rank_of((symbols[at], symbols[right]))
        if now is None or merged[now] != merged[rank]:
            continue
        symbols[at] = merged[now]
        lengths[at], lengths[right] = lengths[at] + lengths[right], 0
        after[at] = after[right]
        before[after[at]] = at
        offer(before[at])
        offer(at)
    symbols[:], lengths[:] = (
        [s for s, n in zip(symbols, lengths, strict=True) if n],
        [n for n in lengths if n],
    )


def _first_symbols(word: bytes, tables) -> tuple[list[int], list[int]]:
    by_byte = tables.symbols.shape[1] == 256
    characters = [bytes([b]) for b in word] if by_byte else [c.encode() for c in word.decode()]
    symbols, waiting = [], []
    for i, character in enumerate(characters):
        code = character[0] if by_byte else ord(character.decode())
        last = i == len(characters) - 1
        symbol = int(tables.symbols[tables.variant[(i > 0) + 2 * last], code])
        if symbol:
            symbols += [*waiting, (symbol - 1, len(character))]
            waiting = []
            continue
        if len(tables.fallback):
            spelled = tables.prefix.tobytes() * (i > 0) + character + tables.suffix.tobytes() * last
            byte_tokens = [int(tables.fallback[byte]) for byte in spelled]
            if 2**32 - 1 not in byte_tokens:
                symbols += [(token, 1) for token in byte_tokens]
                continue
        if len(tables.unk):
            if waiting and tables.fuse_unk:
                waiting = [(waiting[0][0], waiting[0][1] + len(character))]
            else:
                symbols += waiting
                waiting = [(int(tables.unk[0]), len(character))]
    symbols += waiting
    return [symbol for symbol, _ in symbols], [length for _, length in symbols]
