"""From unique words to seed pieces and tries: everything of Unigram training that happens once."""

from __future__ import annotations

import itertools
import threading
from typing import NamedTuple

import numpy as np

from ... import threads as pool
from ...kernels.cpu import suffixes, unigram
from ...kernels.cpu.unigram import Trie

_GROUPS = 256  # sorted suffixes are worked on in about so many parts; no result depends on it
_SHARE = 1 << 18  # places that are dealt to buckets in one task
_CHUNK = 1 << 16  # characters of words that share a trie: its arrays stay in the second-level cache


class Text(NamedTuple):
    """The unique words as dense character ids (1 is the commonest), each word followed by 0."""

    ids: np.ndarray  # uint32[n]
    words: np.ndarray  # int64[words], where each begins
    counts: np.ndarray  # int64[words], how often each occurs
    code_points: np.ndarray  # uint32[characters + 1], of each dense id; [0] is unused
    occurrences: np.ndarray  # int64[characters + 1]
    bits: int  # of a character within a key, at least 8: what two buckets have in common is one character at most

    @property
    def key_format(self) -> tuple[int, np.uint64]:
        """(characters of a key, the bits of its last character)."""
        return 64 // self.bits, np.uint64((1 << self.bits) - 1 << 64 - 64 // self.bits * self.bits)


class Places(NamedTuple):
    """Places in a text, sorted by the characters that follow them up to some limit."""

    order: np.ndarray  # int64[m]
    groups: list[tuple[int, int]]  # ranges of order that share no two characters: units of work


class SortedWords(NamedTuple):
    """Words in sorted order, cut into chunks whose first word shares nothing with the one before."""

    order: np.ndarray  # int64[words], where each begins
    counts: np.ndarray  # int64[words], how often each occurs
    lcp: np.ndarray  # int32[words], characters in common with the word before
    n_chars: np.ndarray  # int64[words]
    node: np.ndarray  # int64[words + 1], running sum of n_chars - lcp
    chunks: list[tuple[int, int]]


class Seeds(NamedTuple):
    """Candidate pieces of two and more characters, by falling score."""

    place: np.ndarray  # int64[k], where in the text one occurrence stands
    length: np.ndarray  # int64[k], characters
    score: np.ndarray  # int64[k], occurrences times length
    parent: np.ndarray  # uint32[k], the longest other piece that is a prefix, as an arc, or NO_ARC
    arc_at: np.ndarray  # uint32[n], the longest piece that begins at each character of the text, likewise
    shift: int  # an arc is piece << shift | length - 1


class Words(NamedTuple):
    """All words as tries."""

    tries: list[Trie]
    shift: int  # of their arcs
    n_words: int  # occurrences of words
    n_characters: int  # and of their characters


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
    shares = [parts[i::threads] for i in range(threads)]
    histograms = np.zeros((threads, 0x110000), np.int64)

    def decode(thread: int) -> None:
        for a, b in shares[thread]:
            suffixes.decode_words(data, offsets, a, b, counts, place, ids, histograms[thread])

    list(pool.run(decode, ((i,) for i in range(threads)), threads))
    histogram = histograms.sum(axis=0)
    found = np.flatnonzero(histogram)
    found = found[np.argsort(-histogram[found], kind="stable")]
    dense = np.zeros(0x110001, np.uint32)
    dense[found + 1] = np.arange(1, len(found) + 1)

    def renumber(first: int, last: int) -> None:
        part = ids[place[first] : place[last]]
        part[:] = dense[part]

    list(pool.run(renumber, parts, threads))
    bits = max(8, len(found).bit_length())
    code_points = np.concatenate([[0], found]).astype(np.uint32)
    return Text(ids, place[:-1], counts, code_points, np.concatenate([[0], histogram[found]]), bits)


def pack_keys(text: Text, ids: np.ndarray, words: np.ndarray, threads: int) -> np.ndarray:
    """uint64[n]: for each place in ids, the characters that follow; `words` are where words begin, in order."""
    keys = np.empty(len(ids), np.uint64)
    edges = [0, *words[:: max(1, len(words) // _GROUPS)][1:].tolist(), len(ids)]
    per_key, _ = text.key_format
    tasks = (
        (ids, a, b, np.uint64(text.bits), np.uint64(per_key), keys) for a, b in itertools.pairwise(edges)
    )
    list(pool.run(suffixes.pack_keys, tasks, threads))
    return keys


def sort_places(text: Text, keys: np.ndarray, places: np.ndarray, limit: int, threads: int) -> Places:
    """Sorts places in a text by the `limit` characters that follow them; equal ones stay in no certain order."""
    shares = [(a, min(a + _SHARE, len(places))) for a in range(0, len(places), _SHARE)]
    buckets = np.zeros((len(shares), suffixes.BUCKETS), np.int64)
    tasks = ((keys, places, a, b, buckets[i]) for i, (a, b) in enumerate(shares))
    list(pool.run(suffixes.count_buckets, tasks, threads))
    sizes = buckets.sum(axis=0)
    ends = np.cumsum(sizes)
    at = ends - sizes + np.cumsum(buckets, axis=0) - buckets  # where each share writes into each bucket
    order, cache = np.empty(len(places), np.int64), np.empty(len(places), np.uint64)
    tasks = ((keys, places, a, b, at[i], order, cache) for i, (a, b) in enumerate(shares))
    list(pool.run(suffixes.deal_places, tasks, threads))

    parts = _ranges(ends, max(1 << 12, len(places) // _GROUPS))
    edges = np.append(0, ends)
    tasks = ((keys, order, cache, edges[a : b + 1], limit, *text.key_format) for a, b in parts)
    list(pool.run(suffixes.sort_suffixes, tasks, threads))
    groups = [(int(edges[a]), int(edges[b])) for a, b in parts]
    return Places(order, [(a, b) for a, b in groups if a < b])


def sort_words(
    text: Text, keys: np.ndarray, words: np.ndarray, counts: np.ndarray, threads: int
) -> SortedWords:
    """Sorts the words that begin at `words` and occur so often."""
    order = sort_places(text, keys, words, len(keys), threads).order
    count_at = np.empty(len(keys), np.int64)
    count_at[words] = counts
    lcp, n_chars = np.empty(len(words), np.int32), np.empty(len(words), np.int64)
    per_key, low = text.key_format
    tasks = (
        (keys, order, a, min(a + 4096, len(words)), np.uint64(text.bits), per_key, low, lcp, n_chars)
        for a in range(0, len(words), 4096)
    )
    list(pool.run(suffixes.measure_words, tasks, threads))
    chunks = _ranges(np.cumsum(n_chars), _CHUNK)
    lcp[[a for a, _ in chunks]] = 0
    node = np.zeros(len(words) + 1, np.int64)
    np.cumsum(n_chars - lcp, out=node[1:])
    return SortedWords(order, count_at[order], lcp, n_chars, node, chunks)


def distinct_suffixes(text: Text, threads: int) -> tuple[np.ndarray, np.ndarray, SortedWords]:
    """The suffixes of all words, each once: words that end alike share some, and are neighbours when sorted backwards.

    -> a place for each (int64[m]); for these places, how often the suffix occurs (int64[n]); and the words of the
    mirrored text. A suffix comes twice where chunks meet: no result depends on it.
    """
    n = len(text.ids)
    mirrored = np.append(text.ids[-2::-1], np.uint32(0))  # ids[i] is mirrored[n - 2 - i]
    starts = n - np.append(text.words[1:], n)[::-1]
    keys = pack_keys(text, mirrored, starts, threads)
    words = sort_words(text, keys, starts, text.counts[::-1], threads)
    places, weight = np.empty(words.node[-1], np.int64), np.empty(n, np.int64)
    tasks = (
        (n, words.order, words.counts, words.lcp, words.n_chars, words.node, a, b, places, weight)
        for a, b in words.chunks
    )
    list(pool.run(suffixes.distinct_suffixes, tasks, threads))
    return places, weight, words


def find_seeds(text: Text, keys: np.ndarray, longest: int, size: int, threads: int) -> Seeds:
    """The `size` candidates with the highest score; among equals, the first in sorted order, then the shorter."""
    n = len(text.ids)
    places, weight, backwards = distinct_suffixes(text, threads)  # six in ten of all suffixes
    order, groups = sort_places(text, keys, places, longest + 1, threads)
    begin, end, length, score = _candidates(text, keys, weight, order, groups, longest, size, threads)

    by_place = np.argsort(begin * (longest + 1) + length)
    deepest = np.empty(len(order), np.uint32)
    shift = max(1, (longest - 1).bit_length())
    if len(begin) << shift >= 1 << 32:
        raise ValueError(
            f"{len(begin)} seed pieces of up to {longest} characters are too many for 32-bit arcs: "
            "lower max_piece_length or seed_size"
        )
    parent, arc_at = np.empty(len(begin), np.uint32), np.empty(n, np.uint32)
    edges = np.searchsorted(begin[by_place], [a for a, _ in groups] + [len(order)]).tolist()
    tasks = (
        (order, a, b, begin, end, length, by_place[p:q], shift, deepest, parent, arc_at)
        for (a, b), (p, q) in zip(groups, itertools.pairwise(edges), strict=True)
    )
    list(pool.run(suffixes.place_pieces, tasks, threads))
    tasks = ((n, backwards.order, backwards.lcp, a, b, arc_at) for a, b in backwards.chunks)
    list(pool.run(suffixes.spread_arcs, tasks, threads))
    return Seeds(order[begin], length, score, parent, arc_at, shift)


def _candidates(
    text: Text,
    keys: np.ndarray,
    weight: np.ndarray,
    order: np.ndarray,
    groups: list[tuple[int, int]],
    longest: int,
    size: int,
    threads: int,
) -> np.ndarray:
    """int64[4, k]: begin and end in `order`, length and score of the best candidates, by falling score."""
    lock, classes, least = threading.Lock(), np.zeros(suffixes.CLASSES, np.int64), 2

    def collect(first: int, last: int) -> np.ndarray:
        """Those of a group, but for those that `size` others are known to beat: a bound that only rises."""
        nonlocal least
        found, own = suffixes.seed_candidates(
            text.ids, keys, weight, order, first, last, longest, np.uint64(text.bits), *text.key_format, least
        )
        with lock:
            np.add(classes, own, out=classes)
            enough = np.flatnonzero(np.cumsum(classes[::-1])[::-1] >= size)
            least = max(least, int(enough[-1]) if len(enough) else 0)
        return found

    found = np.concatenate([np.empty((4, 0), np.int64), *pool.run(collect, groups, threads)], axis=1)
    if found.shape[1] > size:  # most of them are not sorted
        found = found[:, found[3] >= np.partition(found[3], -size)[-size]]
    begin, _, length, _ = found
    found = found[:, np.argsort(begin * (longest + 1) + length)]
    return found[:, np.argsort(-found[3], kind="stable")[:size]]


def build_tries(text: Text, keys: np.ndarray, seeds: Seeds, longest: int, threads: int) -> Words:
    """Sorts the words and lays out their tries, with the seeds that end at each node."""
    words = sort_words(text, keys, text.words, text.counts, threads)

    def trie(first: int, last: int) -> Trie:
        node = words.node[first : last + 1] - words.node[first]
        pieces = seeds.arc_at, seeds.parent, longest, seeds.shift
        filled = unigram.fill_trie(
            text.ids, words.order, words.lcp, words.n_chars, node, first, last, *pieces
        )
        return Trie(words.lcp[first:last], node, words.counts[first:last], *filled)

    tries = list(pool.run(trie, words.chunks, threads))
    n_characters = int((words.counts * words.n_chars).sum())
    return Words(tries, seeds.shift, int(text.counts.sum()), n_characters)
