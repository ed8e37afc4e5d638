"""Words to tokens, in plain Python."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Sequence

import numpy as np

from tests.reference.strings import byte_strings, strings_of, tokens_of


def encode_words(data, start, end, tables):
    """Finds the tokens of words by BPE, without dropout; kernels/cpu/encode_words explains arguments and result."""
    ranks = _ranks(tables.pairs)
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


MOST_BYTES = 62


def encode_short_words(data, start, end, model, longer):
    """Finds the ids of words by a BPE model, `ShortWords`, in which each byte, or each character, is a symbol at first.

    longer: the ids and rows of the words of more than MOST_BYTES, in order. -> ids uint32[t], rows int64[n_words + 1].
    """
    ranks = _ranks(model.pairs)
    merged = model.merged.tolist() or range(model.first, model.n)
    whole = {token: i for i, token in enumerate(strings_of(model.whole))}
    id_of = model.ids.tolist() or range(model.n)
    rows_of_longer = itertools.pairwise(longer[1].tolist())
    found = []
    for word in byte_strings(data, start, end):
        if len(word) > MOST_BYTES:
            first, last = next(rows_of_longer)
            found.append(longer[0][first:last].tolist())
            continue
        symbols = [whole[word]] if word in whole else _first_of_short(word, model)
        if word not in whole:
            merge_symbols(symbols, [1] * len(symbols), ranks.get, merged)
        found.append([id_of[symbol] for symbol in symbols])
    return np.array([*itertools.chain(*found)], np.uint32), np.cumsum([0, *map(len, found)])


def _first_of_short(word: bytes, model) -> list[int]:
    if not len(model.wide):
        return model.symbols[[*word]].tolist()
    symbols: list[int] = []
    for character in word.decode():
        symbol = int(model.wide[ord(character)]) if ord(character) >= 0x80 else 0
        symbols += [symbol - 1] if symbol else model.symbols[[*character.encode()]].tolist()
    return symbols


def _ranks(pairs) -> dict[tuple[int, int], int]:
    """The rank of each pair of symbols."""
    rank_bits, ranks = 64 - 2 * pairs.bits, {}
    for slot in pairs.slots.tolist():
        if slot != 2**64 - 1:
            ranks[divmod(slot >> rank_bits, 1 << pairs.bits)] = slot & ((1 << rank_bits) - 1)
    return ranks


def merge_symbols(symbols: list[int], lengths: list[int], rank_of: Callable, merged: Sequence[int]) -> None:
    """Merges the pair of lowest rank, and of these the leftmost, until no pair is left.

    A heap entry is valid as long as merging the symbols at its index gives the same token. `rank_of` is called at most
    five times a symbol.
    """
    n = len(symbols)
    before, after = list(range(-1, n)), list(range(1, n + 2))
    heap: list[tuple[int, int]] = []

    def offer(left: int) -> None:
        if left >= 0 and after[left] < n and (rank := rank_of((symbols[left], symbols[after[left]]))) is not None:
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
    symbols[:], lengths[:] = ([s for s, n in zip(symbols, lengths, strict=True) if n], [n for n in lengths if n])


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
