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
_LEAST_GROUP = 1 << 12  # but of no fewer places each
_SAMPLE = 16  # one group in so many is sorted first, to guess the score that seeds need
_CAUTION = 1.5  # times the share of candidates that the guess should let through
_PART = 1 << 20  # bytes of words that are decoded in one task
_SHARE = 1 << 18  # places that are dealt to buckets in one task
_CHUNK = 1 << 16  # characters of words that share a trie: its arrays stay in the second-level cache


class Text(NamedTuple):
    """The unique words as dense character ids (1 is the commonest), each word followed by 0."""

    ids: np.ndarray  # uint32[n]
    words: np.ndarray  # int64[words], where each begins
    counts: np.ndarray  # int64[words], how often each occurs
    n_chars: np.ndarray  # int64[words]
    code_points: np.ndarray  # uint32[characters + 1], of each dense id; [0] is unused
    occurrences: np.ndarray  # int64[characters + 1]
    bits: int  # of a character within a key, at least 8: what two buckets have in common is one character at most

    @property
    def key_format(self) -> tuple[int, np.uint64]:
        """(characters of a key, the bits of its last character)."""
        return 64 // self.bits, np.uint64((1 << self.bits) - 1 << 64 - 64 // self.bits * self.bits)


class Groups(NamedTuple):
    """Places in a text, dealt by the beginnings of their suffixes: a group is a unit of work."""

    order: np.ndarray  # int64[m], places; within each group in sorted order when it has been sorted
    cache: np.ndarray  # uint64[m], their keys, before
    weight: np.ndarray  # int64[m], a number for each
    parts: list[slice]  # of these arrays; two groups share one character at most


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


def greatest(values: np.ndarray, n: int) -> np.ndarray:
    """bool[len(values)]: which are the n greatest; of equal ones, the first."""
    if n >= len(values):
        return np.ones(len(values), bool)
    if n <= 0:
        return np.zeros(len(values), bool)
    last = np.partition(values, -n)[-n]
    found = values > last
    found[np.flatnonzero(values == last)[: n - np.count_nonzero(found)]] = True
    return found


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
    parts = _ranges(offsets[1:], _PART)
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
    return Text(ids, place[:-1], counts, n_chars, code_points, np.concatenate([[0], histogram[found]]), bits)


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


def deal_places(
    text: Text, keys: np.ndarray, places: np.ndarray, weights: np.ndarray, threads: int
) -> Groups:
    """Deals places in a text to groups that come one after the other in sorted order."""
    shares = [(a, min(a + _SHARE, len(places))) for a in range(0, max(1, len(places)), _SHARE)]
    buckets = np.zeros((len(shares), suffixes.BUCKETS), np.int64)
    tasks = ((keys, places, a, b, buckets[i]) for i, (a, b) in enumerate(shares))
    list(pool.run(suffixes.count_buckets, tasks, threads))
    ends = np.cumsum(buckets.sum(axis=0))
    parts = [part for part in _ranges(ends, max(_LEAST_GROUP, len(places) // _GROUPS)) if ends[part[1] - 1]]
    group_of = np.zeros(suffixes.BUCKETS, np.uint16)
    for group, (a, b) in enumerate(parts):
        group_of[a:b] = group
    edges = [0, *(int(ends[b - 1]) for _, b in parts)]
    sizes = np.add.reduceat(buckets, [a for a, _ in parts], axis=1)
    # where each share writes into each group
    at = np.array(edges[:-1], np.int64) + np.cumsum(sizes, axis=0) - sizes
    order, cache, weight = (np.empty(len(places), dtype) for dtype in (np.int64, np.uint64, np.int64))
    tasks = (
        (keys, places, weights, a, b, group_of, at[i], order, cache, weight)
        for i, (a, b) in enumerate(shares)
    )
    list(pool.run(suffixes.deal_places, tasks, threads))
    return Groups(order, cache, weight, [slice(a, b) for a, b in itertools.pairwise(edges)])


def sort_group(
    text: Text, keys: np.ndarray, groups: Groups, group: slice, limit: int, heavy: int
) -> np.ndarray:
    """Sorts a group, but for what is lighter than `heavy`; -> int32[n], characters in common with the one before."""
    of_group = groups.order[group], groups.cache[group], groups.weight[group]
    per_key, low = text.key_format
    return suffixes.sort_suffixes(keys, *of_group, limit, text.bits, per_key, low, heavy)


def sort_words(
    text: Text, keys: np.ndarray, words: np.ndarray, threads: int
) -> tuple[np.ndarray, np.ndarray]:
    """Sorts the words that begin at `words`: -> int64[words], their order; int32[words], what each has in common with
    the one before, or less where groups meet."""
    groups = deal_places(text, keys, words, np.arange(len(words)), threads)

    def sort(group: slice) -> np.ndarray:
        return sort_group(text, keys, groups, group, len(keys), 0)

    lcp = np.concatenate(
        [np.empty(0, np.int32), *pool.run(sort, ((group,) for group in groups.parts), threads)]
    )
    return groups.weight, lcp


def sorted_words(
    text: Text, keys: np.ndarray, words: np.ndarray, counts: np.ndarray, n_chars: np.ndarray, threads: int
) -> SortedWords:
    """Sorts the words that begin at `words`, occur so often and have so many characters."""
    order, lcp = sort_words(text, keys, words, threads)
    n_chars = n_chars[order]
    chunks = _ranges(np.cumsum(n_chars), _CHUNK)
    lcp[[a for a, _ in chunks]] = 0
    node = np.zeros(len(words) + 1, np.int64)
    np.cumsum(n_chars - lcp, out=node[1:])
    return SortedWords(words[order], counts[order], lcp, n_chars, node, chunks)


def distinct_suffixes(text: Text, threads: int) -> tuple[np.ndarray, np.ndarray, SortedWords]:
    """The suffixes of all words, each once: words that end alike share some, and are neighbours when sorted backwards.

    -> a place for each, and how often it occurs (both int64[m]); and the words of the mirrored text.
    A suffix can come twice where chunks or groups meet: no result depends on it.
    """
    n = len(text.ids)
    mirrored = np.append(text.ids[-2::-1], np.uint32(0))  # ids[i] is mirrored[n - 2 - i]
    starts = n - np.append(text.words[1:], n)[::-1]
    keys = pack_keys(text, mirrored, starts, threads)
    words = sorted_words(text, keys, starts, text.counts[::-1], text.n_chars[::-1], threads)
    places, weight = np.empty(words.node[-1], np.int64), np.empty(words.node[-1], np.int64)
    tasks = (
        (n, words.order, words.counts, words.lcp, words.n_chars, words.node, a, b, places, weight)
        for a, b in words.chunks
    )
    list(pool.run(suffixes.distinct_suffixes, tasks, threads))
    return places, weight, words


def find_seeds(text: Text, keys: np.ndarray, longest: int, size: int, threads: int) -> Seeds:
    """The `size` candidates with the highest score; among equals, the first in sorted order, then the shorter.

    They are numbered by falling class of score, so that what is used most stands together.
    """
    n = len(text.ids)
    places, weight, backwards = distinct_suffixes(text, threads)  # six in ten of all suffixes
    groups, found = _candidates(text, keys, places, weight, longest, size, threads)
    begin, end, length, score, score_class = found
    by_number = np.argsort((suffixes.CLASSES - score_class).astype(np.uint16), kind="stable")
    numbers = np.empty(len(score), np.int64)
    numbers[by_number] = np.arange(len(score))
    shift = max(1, (longest - 1).bit_length())
    if len(score) << shift >= 1 << 32:
        raise ValueError(
            f"{len(score)} seed pieces of up to {longest} characters are too many for 32-bit arcs: "
            "lower max_piece_length or seed_size"
        )
    parent, arc_at = np.empty(len(score), np.uint32), np.empty(n, np.uint32)
    edges = np.searchsorted(begin, [part.start for part in groups.parts] + [len(groups.order)]).tolist()

    def place(part: slice, first: int, last: int) -> None:
        pieces = slice(first, last)
        deepest = np.empty(part.stop - part.start, np.uint32)
        suffixes.place_pieces(
            groups.order[part], begin[pieces], end[pieces], length[pieces], numbers[pieces], part.start, shift, deepest, parent, arc_at
        )  # fmt: skip

    list(pool.run(place, zip(groups.parts, edges, edges[1:], strict=False), threads))
    tasks = ((n, backwards.order, backwards.lcp, a, b, arc_at) for a, b in backwards.chunks)
    list(pool.run(suffixes.spread_arcs, tasks, threads))
    return Seeds(groups.order[begin][by_number], length[by_number], score[by_number], parent, arc_at, shift)


def _candidates(
    text: Text,
    keys: np.ndarray,
    places: np.ndarray,
    weight: np.ndarray,
    longest: int,
    size: int,
    threads: int,
    guess: bool = True,
) -> tuple[Groups, np.ndarray]:
    """(sorted groups; int64[5, k]: begin, end, length, score and its class of the best candidates, by begin).

    What cannot be among them is not sorted: the score that is needed is guessed from some groups, and where too
    few reach it in the end, everything is done again without a guess.
    """
    groups = deal_places(text, keys, places, weight, threads)
    lock, classes, least = threading.Lock(), np.zeros(suffixes.CLASSES, np.int64), 2

    def collect(group: slice) -> np.ndarray:
        """Those of a group, but for those that `size` others are known to beat: a bound that only rises."""
        nonlocal least
        bound = least
        lcp = sort_group(text, keys, groups, group, longest + 1, -(-bound // max(1, longest)))
        of_group = groups.order[group], groups.weight[group]
        found, own = suffixes.seed_candidates(text.ids, *of_group, lcp, group.start, longest, bound)
        with lock:
            np.add(classes, own, out=classes)
            least = max(least, _reached(classes, size))
        return found

    parts, found = groups.parts, {}

    def collect_all(some: list[slice]) -> None:
        found.update(
            zip(map(parts.index, some), pool.run(collect, ((part,) for part in some), threads), strict=True)
        )

    if guess:
        sample = parts[::_SAMPLE]
        collect_all(sample)
        share = sum(part.stop - part.start for part in sample) / max(1, len(groups.order))
        least = max(least, _reached(classes, _CAUTION * share * size))
    guessed = least
    collect_all([part for i, part in enumerate(parts) if i not in found])
    if guess and _reached(classes, size) < guessed > 2:
        return _candidates(text, keys, places, weight, longest, size, threads, guess=False)
    everything = np.concatenate([np.empty((5, 0), np.int64), *(found[i] for i in range(len(parts)))], axis=1)
    return groups, everything[:, greatest(everything[3], size)]


def _reached(classes: np.ndarray, size: float) -> int:
    """The least score of the highest class that so many candidates reach, or 0."""
    enough = np.flatnonzero(np.cumsum(classes[::-1])[::-1] >= max(1, size))
    return suffixes.least_score(int(enough[-1])) if len(enough) else 0


def build_tries(text: Text, keys: np.ndarray, seeds: Seeds, longest: int, threads: int) -> Words:
    """Sorts the words and lays out their tries, with the seeds that end at each node."""
    words = sorted_words(text, keys, text.words, text.counts, text.n_chars, threads)

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
