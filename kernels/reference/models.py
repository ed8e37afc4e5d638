"""Words to tokens, in plain Python."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

import numpy as np


def encode_words(data, start, end, tables, cache=None, random=None):
    """kernels.cpu.merge.encode_words without its cache and without dropout."""
    rank_bits = 64 - 2 * tables.pairs.bits
    ranks = {}
    for slot in tables.pairs.slots.tolist():
        if slot != 2**64 - 1:
            ranks[divmod(slot >> rank_bits, 1 << tables.pairs.bits)] = slot & ((1 << rank_bits) - 1)
    whole = set(_strings_of(tables.whole))
    found = []
    for word in _byte_strings(data, start, end):
        if word in whole:
            found.append([(_strings_of(tables.whole).index(word), 0, len(word))])
            continue
        symbols, lengths = _first_symbols(word, tables)
        merge_symbols(symbols, lengths, ranks.get, tables.merged.tolist())
        stops = list(itertools.accumulate(lengths))
        found.append(list(zip(symbols, [0, *stops], stops, strict=False)))
    ids = [*tables.ids.tolist(), *[2**32 - 1] * (2**32 - 1 in tables.unk)]
    return _tokens([[(ids[min(i, len(ids) - 1)], a, b) for i, a, b in word] for word in found], start)


def merge_symbols(symbols: list[int], lengths: list[int], rank_of: Callable, merged: list[int]) -> None:
    """Merges the pair of lowest rank, then the leftmost, until none is left; asks `rank_of` five times a symbol at most.

    A heap entry counts for as long as merging what is at its place gives the token that it promised.
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


def viterbi(data, start, end, tables):
    """kernels.cpu.lattice.viterbi."""
    longest = _trie_strings(tables.edges)
    found = []
    for number, word in enumerate(_byte_strings(data, start, end)):
        text = word.decode()
        places = [0, *itertools.accumulate(len(character.encode()) for character in text)]
        best = {0: (0.0, 0, -1)}  # end of a path -> its score, where its last token begins, that token
        for i, p in enumerate(places[:-1]):
            arcs = [(q, longest[word[p:q]]) for q in places[i + 1 :] if word[p:q] in longest]
            scored = [(q, tables.scores[token], token) for q, token in arcs]
            if not arcs or arcs[0][0] != places[i + 1]:
                scored.append((places[i + 1], tables.unk_score, tables.unk))
            for q, score, token in scored:
                total = score + best[p][0]
                total = float(np.float32(total)) if tables.single else total
                if q not in best or total > best[q][0]:
                    if token < 0:
                        return -1 - number, *_tokens([], start)[:3], np.zeros(len(start) + 1, np.int64)
                    best[q] = total, p, token
        path, q = [], len(word)
        while q > 0:
            _, p, token = best[q]
            if token == tables.unk and path and path[-1][0] == tables.unk:
                path[-1] = token, p, path[-1][2]
            else:
                path.append((token, p, q))
            q = p
        found.append([])
        for token, p, q in reversed(path):
            byte_tokens = (
                [int(tables.fallback[byte]) for byte in word[p:q]] if len(tables.fallback) else [2**32 - 1]
            )
            if token == tables.unk and not tables.single:
                token = longest.get(word[p:q], token)  # several unknown characters may spell a known token
            if token == tables.unk and word[p:q] not in longest and 2**32 - 1 not in byte_tokens:
                found[-1] += [(byte_token, p, q) for byte_token in byte_tokens]
            else:
                found[-1].append((token, p, q))
    ids, begins, stops, rows = _tokens(found, start)
    return len(ids), ids, begins, stops, rows


def match_longest(data, start, end, tables):
    """kernels.cpu.trie.match_longest."""
    tokens = _trie_strings(tables.edges)
    found = []
    for word in _byte_strings(data, start, end):
        pieces, at = [], 0
        while at < len(word) and len(word.decode()) <= tables.max_chars:
            prefix = tables.prefix.tobytes() if at else b""
            fits = [stop for stop in range(at + 1, len(word) + 1) if prefix + word[at:stop] in tokens]
            if not fits:
                break
            pieces.append((tokens[prefix + word[at : fits[-1]]], at, fits[-1]))
            at = fits[-1]
        found.append(pieces if at == len(word) else [(tables.unk, 0, len(word))])
    return _tokens(found, start)


def _byte_strings(data, start, end) -> list[bytes]:
    raw = data.tobytes()
    return [raw[a:b] for a, b in zip(start.tolist(), end.tolist(), strict=True)]


def _strings_of(strings) -> list[bytes]:
    raw = strings.data.tobytes()
    return [raw[a:b] for a, b in itertools.pairwise(strings.offsets.tolist())]


def _trie_strings(edges) -> dict[bytes, int]:
    """The strings of a trie and their ids; a child's number is larger than its parent's."""
    spelled, found = {1: b""}, {}
    for key, value in sorted((row for row in edges.tolist() if row[0]), key=lambda row: row[1] & 0xFFFFFFFF):
        node = value & 0xFFFFFFFF
        spelled[node] = spelled[key >> 8] + bytes([key & 255])
        if value >> 32:
            found[spelled[node]] = (value >> 32) - 1
    return found


def _tokens(found, start):
    """Tokens of each word as (id, first, last + 1) to columns, with positions in the text."""
    flat = [
        (id, at + a, at + b) for word, at in zip(found, start.tolist(), strict=False) for id, a, b in word
    ]
    ids, begins, stops = np.array(flat, np.int64).reshape(-1, 3).T
    rows = np.cumsum([0, *map(len, found)])
    return ids.astype(np.uint32), begins.copy(), stops.copy(), rows
