"""From unique words to seed pieces and a trie: everything of Unigram training that happens once."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

from ... import threads as pool
from ...kernels.cpu import suffixes, unigram
from ...kernels.cpu.unigram import Trie

_GROUPS = 256  # sorted suffixes are worked on in about so many parts; no result depends on it
_CHUNK = 1 << 15  # characters of words that share a trie: its arrays stay in the second-level cache


class Text(NamedTuple):
    """The unique words as dense character ids (1 is the commonest), each word followed by 0."""

    ids: np.ndarray  # uint32[n]
    weight: np.ndarray  # int64[n], how often the word at each position occurs
    code_points: np.ndarray  # uint32[characters + 1], of each dense id; [0] is unused
    occurrences: np.ndarray  # int64[characters + 1]
    keys: np.ndarray  # uint64[n], the next characters of each position
    buckets: np.ndarray  # int64[65536], positions by the top 16 bits of their key
    bits: int  # of a character within a key


class Suffixes(NamedTuple):
    """All positions of a text, sorted by the characters that follow them up to `limit`."""

    order: np.ndarray  # int64[m]
    lcp: np.ndarray  # uint16[m], characters in common with the suffix before, at most `limit`
    groups: list[tuple[int, int]]  # ranges of order that share no two characters: units of work
    limit: int


class Seeds(NamedTuple):
    """Candidate pieces of two and more characters, sorted: a piece stands behind its prefixes."""

    place: np.ndarray  # int64[k], where in the text one occurrence stands
    length: np.ndarray  # int64[k], characters
    score: np.ndarray  # int64[k], occurrences times length
    parent: np.ndarray  # int64[k], the longest other piece that is a prefix, or -1
    piece_at: np.ndarray  # int32[n], the longest piece that begins at each position of the text, or -1


class Words(NamedTuple):
    """The trie of all words, and its chunks as ranges of words."""

    trie: Trie
    chunks: list[tuple[int, int]]
    shift: int  # an arc is piece << shift | length - 1


def _ranges(ends: np.ndarray, size: int) -> list[tuple[int, int]]:
    """Cuts 0..len(ends) into ranges of about `size`, where ends[i] is the running size up to and with item i."""
    if len(ends) == 0:
        return []
    part = (np.maximum(ends, 1) - 1) // size
    cuts = np.flatnonzero(np.diff(part)) + 1
    edges = [0, *cuts.tolist(), len(ends)]
    return list(itertools.pairwise(edges))


def make_text(data: np.ndarray, offsets: np.ndarray, counts: np.ndarray, threads: int) -> Text:
    """Decodes words (uint8[n] and int64[words + 1]) and numbers their characters by falling count, then code point."""
    parts = _ranges(offsets[1:], 1 << 20)
    n_chars = np.empty(len(counts), np.int64)
    list(pool.run(suffixes.count_characters, ((data, offsets, a, b, n_chars) for a, b in parts), threads))
    place = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(n_chars + 1, out=place[1:])
    ids = np.empty(place[-1], np.uint32)
    weight = np.zeros(place[-1], np.int64)

    shares = [parts[i::threads] for i in range(threads)]
    histograms = np.zeros((threads, 0x110000), np.int64)

    def decode(thread: int) -> None:
        for a, b in shares[thread]:
            suffixes.decode_words(data, offsets, a, b, counts, place, ids, weight, histograms[thread])

    list(pool.run(decode, ((i,) for i in range(threads)), threads))
    histogram = histograms.sum(axis=0)
    found = np.flatnonzero(histogram)
    found = found[np.argsort(-histogram[found], kind="stable")]
    dense = np.zeros(0x110001, np.uint32)
    dense[found + 1] = np.arange(1, len(found) + 1)
    bits = 8 if len(found) < 1 << 8 else 16 if len(found) < 1 << 16 else 21

    keys = np.empty(len(ids), np.uint64)
    buckets = np.zeros((threads, suffixes.BUCKETS), np.int64)

    def pack(thread: int) -> None:
        for a, b in shares[thread]:
            suffixes.pack_keys(
                ids, place[a], place[b], dense, np.uint64(bits), np.uint64(64 // bits), keys, buckets[thread]
            )

    list(pool.run(pack, ((i,) for i in range(threads)), threads))
    code_points = np.concatenate([[0], found]).astype(np.uint32)
    occurrences = np.concatenate([[0], histogram[found]])
    return Text(ids, weight, code_points, occurrences, keys, buckets.sum(axis=0), bits)


def sort_suffixes(text: Text, longest: int, threads: int) -> Suffixes:
    """Sorts the suffixes of all words as far as a piece can reach, and one character more."""
    limit = longest + 1
    ends = np.cumsum(text.buckets)
    total = int(ends[-1])
    order = np.empty(total, np.int64)
    place = ends - text.buckets
    # Each thread deals to the buckets of its share of the suffixes, reading all keys.
    shares = _ranges(ends, max(1, -(-total // threads)))
    list(pool.run(suffixes.deal_suffixes, ((text.keys, a, b, place, order) for a, b in shares), threads))

    parts = _ranges(ends, max(1 << 12, total // _GROUPS))
    groups = [(int(ends[a] - text.buckets[a]), int(ends[b - 1])) for a, b in parts]
    groups = [(a, b) for a, b in groups if a < b]
    cache = np.empty(total, np.uint64)
    lcp = np.empty(total, np.uint16)
    bits, per_key, low = np.uint64(text.bits), 64 // text.bits, _low_mask(text.bits)

    def sort(first: int, last: int) -> None:
        suffixes.sort_suffixes(text.keys, order, cache, first, last, 0, limit, per_key, low)
        suffixes.sorted_prefixes(text.keys, order, first, last, limit, bits, per_key, low, lcp)

    list(pool.run(sort, groups, threads))
    return Suffixes(order, lcp, groups, limit)


def _low_mask(bits: int) -> np.uint64:
    """The bits of a key's last character."""
    return np.uint64((1 << bits) - 1 << 64 - 64 // bits * bits)


def choose_seeds(text: Text, ordered: Suffixes, longest: int, size: int, threads: int) -> Seeds:
    """The `size` candidates with the highest score; among equals, the first in sorted order, then the shorter."""
    order, lcp, groups, _ = ordered
    none = np.empty(0, np.int64)
    histograms = np.zeros((len(groups), 64 * 32), np.int64)

    def count(group: int) -> int:
        first, last = groups[group]
        return suffixes.seed_candidates(
            text.ids,
            order,
            lcp,
            text.weight,
            first,
            last,
            longest,
            2,
            histograms[group],
            none,
            none,
            none,
            none,
        )

    list(pool.run(count, ((i,) for i in range(len(groups))), threads))
    at_least = np.cumsum(histograms.sum(axis=0)[::-1])[::-1]
    enough = np.flatnonzero(at_least >= size)
    least = int(enough[-1]) if len(enough) else 2
    rooms = histograms[:, least:].sum(axis=1)

    def collect(group: int) -> np.ndarray:
        first, last = groups[group]
        found = np.empty((4, rooms[group]), np.int64)
        suffixes.seed_candidates(
            text.ids, order, lcp, text.weight, first, last, longest, least, histograms[group], *found
        )
        return found

    found = list(pool.run(collect, ((i,) for i in range(len(groups))), threads))
    begin, end, length, score = np.concatenate(found, axis=1) if found else np.empty((4, 0), np.int64)
    if len(begin) > size:
        best = np.lexsort((length, begin, -score))[:size]
        begin, end, length, score = begin[best], end[best], length[best], score[best]
    by_place = np.lexsort((length, begin))
    begin, end, length, score = begin[by_place], end[by_place], length[by_place], score[by_place]

    deepest = np.empty(len(order), np.int32)
    parent = np.empty(len(begin), np.int64)
    piece_at = np.full(len(text.ids), -1, np.int32)
    pieces = [np.searchsorted(begin, group).tolist() for group in groups]
    tasks = (
        (order, a, b, begin, end, p, q, deepest, parent, piece_at)
        for (a, b), (p, q) in zip(groups, pieces, strict=True)
    )
    list(pool.run(suffixes.place_pieces, tasks, threads))
    return Seeds(order[begin], length, score, parent, piece_at)


def build_trie(text: Text, ordered: Suffixes, seeds: Seeds, longest: int, threads: int) -> Words:
    """Sorts the words and lays out their tries, with the seeds that end at each node."""
    order, lcp, groups, limit = ordered
    per_key, low = 64 // text.bits, _low_mask(text.bits)

    def sort(first: int, last: int) -> np.ndarray:
        words, cache = np.empty(last - first, np.int64), np.empty(last - first, np.uint64)
        n = suffixes.word_order(
            text.ids, text.keys, order, lcp, first, last, limit, per_key, low, words, cache
        )
        return words[:n].copy()

    words = np.concatenate([np.empty(0, np.int64), *pool.run(sort, groups, threads)])
    own_lcp, n_chars = np.empty(len(words), np.int32), np.empty(len(words), np.int64)
    fresh = np.zeros(len(words), bool)
    parts = [(a, min(a + 4096, len(words))) for a in range(0, len(words), 4096)]

    def measure() -> None:
        tasks = ((text.ids, words, a, b, fresh, own_lcp, n_chars) for a, b in parts)
        list(pool.run(unigram.measure_words, tasks, threads))

    fresh[:1] = True
    measure()
    chunks = _ranges(np.cumsum(n_chars), _CHUNK)
    fresh[[a for a, _ in chunks]] = True
    own_lcp[fresh] = 0
    node = np.zeros(len(words) + 1, np.int64)
    np.cumsum(n_chars - own_lcp, out=node[1:])

    arc = np.zeros(node[-1] + 1, np.int64)
    tasks = (
        (words, n_chars, own_lcp, node, a, b, seeds.piece_at, seeds.parent, seeds.length, longest, arc[1:])
        for a, b in chunks
    )
    list(pool.run(unigram.count_arcs, tasks, threads))
    np.cumsum(arc, out=arc)
    shift = max(1, (longest - 1).bit_length())
    if len(seeds.place) << shift >= 1 << 32:
        raise ValueError(
            f"{len(seeds.place)} seed pieces of up to {longest} characters are too many for 32-bit arcs: "
            "lower max_piece_length or seed_size"
        )
    trie = Trie(
        own_lcp,
        node,
        text.weight[words],
        np.empty(node[-1], np.uint32),
        np.empty(node[-1], np.int32),
        arc,
        np.empty(arc[-1], np.uint32),
    )
    place = arc[:-1].copy()

    def fill(first: int, last: int) -> None:
        path = np.zeros(n_chars[first:last].max() + 1, np.int64)
        unigram.fill_trie(
            trie, words, n_chars, text.ids, first, last, seeds.piece_at, seeds.parent, seeds.length, longest, shift, place, path
        )  # fmt: skip

    list(pool.run(fill, chunks, threads))
    return Words(trie, chunks, shift)
