"""From unique words to seed pieces and tries: everything of Unigram training that happens once."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from gputok.kernels import threads as pool
from gputok.kernels.cpu.train_unigram import suffixes
from gputok.kernels.cpu.train_unigram import tries as unigram
from gputok.kernels.cpu.train_unigram.suffixes import Code
from gputok.kernels.cpu.train_unigram.tries import Trie
from gputok.models.unigram.code import make_code

_GROUPS = 256  # sorted suffixes are worked on in about so many parts; no result depends on it
_LEAST_GROUP = 1 << 12  # but of no fewer places each
_SAMPLE = 16  # one group in so many is sorted first, to guess the score that seeds need
_CAUTION = 1.5  # times the share of candidates that the guess should let through
_PART = 1 << 20  # bytes of words that are decoded in one task
_SHARE = 1 << 18  # places that are dealt to buckets in one task
_SHARES = 64  # but no more tasks than that: each counts all buckets
_CHUNK = 1 << 16  # characters of words that share a trie: its arrays stay in the second-level cache
_NARROW = 1 << 32  # numbers below this are kept in 32 bits: fresh memory is dear


class Text(NamedTuple):
    """The unique words as dense character ids (1 is the commonest): a 0, then each word followed by 0."""

    ids: np.ndarray  # uint16[n], or uint32 where there are more characters
    words: np.ndarray  # int64[words], where each begins
    counts: np.ndarray  # int64[words], how often each occurs
    n_chars: np.ndarray  # int64[words]
    code_points: np.ndarray  # uint32[characters + 1], of each dense id; [0] is unused
    occurrences: np.ndarray  # int64[characters + 1]
    code: Code  # of the ids, for keys

    @property
    def number_type(self) -> type[np.unsignedinteger | np.signedinteger]:
        """Holds any place in the text, and how often anything occurs."""
        return np.uint32 if max(len(self.ids), int(self.counts.sum())) < _NARROW else np.int64


class Groups(NamedTuple):
    """Places in a text, dealt by the beginnings of their suffixes: a group is a unit of work."""

    order: np.ndarray  # places, of Text.number_type[m]; in sorted order in each group that has been sorted
    cache: np.ndarray  # uint64[m], their keys, before
    weight: np.ndarray  # a number for each, of Text.number_type[m]
    parts: list[slice]  # of these arrays; two groups share one character at most


class SortedWords(NamedTuple):
    """Words in sorted order, cut into chunks whose first word shares nothing with the one before."""

    places: np.ndarray  # int64[words], where each begins
    counts: np.ndarray  # int64[words], how often each occurs
    lcp: np.ndarray  # int32[words], characters in common with the word before
    n_chars: np.ndarray  # int64[words]
    chunks: list[tuple[int, int]]


class Seeds(NamedTuple):
    """Candidate pieces: the characters by their dense ids (0 is unused), then longer ones by falling score."""

    place: np.ndarray  # int64[k], where in the text one occurrence of a longer one stands
    length: np.ndarray  # int64[k], characters
    score: np.ndarray  # int64[k], occurrences times length
    parent: np.ndarray  # uint32[k], the longest other longer piece that is a prefix, as an arc, or NO_ARC
    arc_at: np.ndarray  # uint32[n], the longest longer piece that begins at each place of the text, likewise
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
    shares = [share for i in range(threads) if (share := parts[i::threads])]
    histograms = np.zeros((len(shares), 0x110000), np.int64)

    def count(thread: int) -> int:
        of_words = data, offsets, counts
        return max(
            suffixes.character_counts(*of_words, a, b, n_chars, histograms[thread]) for a, b in shares[thread]
        )

    greatest = max(pool.run(count, ((i,) for i in range(len(shares))), threads), default=0)
    histogram = histograms[:, : greatest + 1].sum(axis=0)  # what lies behind is not touched
    found = np.flatnonzero(histogram)
    found = found[np.argsort(-histogram[found], kind="stable")]
    dense = np.zeros(greatest + 1, np.uint32)
    dense[found] = np.arange(1, len(found) + 1)
    occurrences = histogram[found]

    words = np.ones(len(counts) + 1, np.int64)
    words[1:] += np.cumsum(n_chars + 1)
    ids = np.empty(words[-1], np.uint16 if len(found) < 1 << 16 else np.uint32)
    ids[0] = 0
    tasks = ((data, offsets, a, b, words, dense, ids) for a, b in parts)
    list(pool.run(suffixes.decode_words, tasks, threads))
    code_points = np.concatenate([[0], found]).astype(np.uint32)
    code = make_code(np.append(len(counts), occurrences))
    return Text(ids, words[:-1], counts, n_chars, code_points, np.append(0, occurrences), code)


def deal_words(text: Text, places: np.ndarray, step: int, threads: int) -> Groups:
    """Deals words, weighted by their numbers, to groups that come one after the other in sorted order.

    places[w] is where word w begins, or its last character to sort by what stands before it (step -1).
    """
    shares = _shares(np.arange(1, len(places) + 1), len(places))
    of_words = text.ids, places, step, text.code

    def count(share: tuple[int, int], buckets: np.ndarray) -> None:
        suffixes.bucket_sizes(*of_words, *share, buckets)

    def deal(share: tuple[int, int], *where: np.ndarray) -> None:
        suffixes.deal_words(*of_words, *share, *where)

    return _deal(shares, count, deal, np.ones(suffixes.BUCKETS, bool), text.number_type, threads)


def deal_suffixes(text: Text, words: SortedWords, threads: int) -> Groups:
    """Deals the suffixes of all words, each once, weighted by how often they occur.

    Words that end alike share some, and are neighbours in `words`, which are sorted by their reverses. A suffix can
    come twice where chunks of words meet: no result depends on it.
    """
    new = np.cumsum(words.n_chars - words.lcp)
    chunks = _shares(new[[b - 1 for _, b in words.chunks]], int(new[-1]))
    shares = [(words.chunks[a][0], words.chunks[b - 1][1]) for a, b in chunks]
    ends = words.places + 1

    def count(share: tuple[int, int], buckets: np.ndarray) -> None:
        suffixes.count_suffixes(text.ids, ends, words.lcp, words.n_chars, text.code, *share, buckets)

    def deal(share: tuple[int, int], *where: np.ndarray) -> None:
        of_words = text.ids, ends, words.counts, words.lcp, words.n_chars, text.code
        suffixes.deal_suffixes(*of_words, *share, *where)

    return _deal(shares, count, deal, suffixes.bucket_cuts(text.code), text.number_type, threads)


def _shares(ends: np.ndarray, total: int) -> list[tuple[int, int]]:
    return _ranges(ends, max(_SHARE, total // _SHARES))


def _deal(
    shares: list[tuple[int, int]],
    count: Callable[..., None],
    deal: Callable[..., None],
    cuts: np.ndarray,
    number_type: type,
    threads: int,
) -> Groups:
    """Two passes over each share: count(share, buckets), and deal(share, group_of, at, order, cache, weight).

    A group may begin at a bucket where `cuts`, bool[BUCKETS], says so.
    """
    buckets = np.zeros((len(shares), suffixes.BUCKETS), np.int64)
    list(pool.run(count, zip(shares, buckets, strict=True), threads))
    ends = np.cumsum(buckets.sum(axis=0))
    n = int(ends[-1])
    firsts = np.append(np.flatnonzero(cuts), suffixes.BUCKETS)
    ranges = _ranges(ends[firsts[1:] - 1], max(_LEAST_GROUP, n // _GROUPS))
    parts = [(int(firsts[a]), int(firsts[b])) for a, b in ranges if ends[firsts[b] - 1]]
    group_of = np.zeros(suffixes.BUCKETS, np.uint16)
    for group, (a, b) in enumerate(parts):
        group_of[a:b] = group
    edges = [0, *(int(ends[b - 1]) for _, b in parts)]
    sizes = np.add.reduceat(buckets, [a for a, _ in parts], axis=1)
    # where each share writes into each group
    at = np.array(edges[:-1], np.int64) + np.cumsum(sizes, axis=0) - sizes
    order, cache, weight = (np.empty(n, dtype) for dtype in (number_type, np.uint64, number_type))
    tasks = ((share, group_of, at[i], order, cache, weight) for i, share in enumerate(shares))
    list(pool.run(deal, tasks, threads))
    return Groups(order, cache, weight, [slice(a, b) for a, b in itertools.pairwise(edges)])


def sort_group(
    text: Text, groups: Groups, group: slice, limit: int, heavy: int = 0, step: int = 1
) -> np.ndarray:
    """Sorts a group by `limit` characters from each place on (backwards, if step is -1), but for what is lighter than
    `heavy`; -> int32[n], characters in common with the one before."""
    of_group = groups.order[group], groups.cache[group], groups.weight[group]
    return suffixes.sort_suffixes(text.ids, *of_group, limit, step, text.code, heavy)


def sorted_words(text: Text, threads: int, *, backwards: bool = False) -> SortedWords:
    """Sorts the words, or their reverses: then `places` are those of their last characters."""
    places, step = (text.words + text.n_chars - 1, -1) if backwards else (text.words, 1)
    groups = deal_words(text, places, step, threads)

    def sort(group: slice) -> np.ndarray:
        return sort_group(text, groups, group, len(text.ids), step=step)

    lcp = np.concatenate(list(pool.run(sort, ((group,) for group in groups.parts), threads)))
    n_chars = text.n_chars[groups.weight]
    chunks = _ranges(np.cumsum(n_chars), _CHUNK)
    lcp[[a for a, _ in chunks]] = 0
    return SortedWords(places[groups.weight], text.counts[groups.weight], lcp, n_chars, chunks)


def find_seeds(text: Text, longest: int, size: int, threads: int) -> Seeds:
    """The `size` candidates with the highest score; among equals, the first in sorted order, then the shorter.

    They are numbered by falling class of score, so that what is used most stands together.
    """
    backwards = sorted_words(text, threads, backwards=True)
    order, parts, found = _candidates(text, backwards, longest, size, threads)
    begin, end, length, score, score_class = np.ascontiguousarray(found)
    n_characters = len(text.occurrences)
    by_number = np.argsort((suffixes.CLASSES - score_class).astype(np.uint16), kind="stable")
    numbers = np.empty(len(score), np.int64)
    numbers[by_number] = np.arange(n_characters, n_characters + len(score))
    shift = max(1, (longest - 1).bit_length())
    if n_characters + len(score) << shift >= 1 << 32:
        raise ValueError(
            f"{len(score)} seed pieces of up to {longest} characters are too many for 32-bit arcs: "
            "lower max_piece_length or seed_size"
        )
    parent = np.full(n_characters + len(score), suffixes.NO_ARC, np.uint32)
    arc_at = np.empty(len(text.ids), np.uint32)
    edges = np.searchsorted(begin, [part.start for part in parts] + [len(order)]).tolist()

    def place(part: slice, first: int, last: int) -> None:
        pieces = slice(first, last)
        deepest = np.empty(part.stop - part.start, np.uint32)
        suffixes.place_pieces(
            order[part], begin[pieces], end[pieces], length[pieces], numbers[pieces], part.start, shift, deepest, parent, arc_at
        )  # fmt: skip

    list(pool.run(place, zip(parts, edges, edges[1:], strict=False), threads))
    ends = backwards.places + 1
    tasks = ((ends, backwards.lcp, a, b, arc_at) for a, b in backwards.chunks)
    list(pool.run(suffixes.spread_arcs, tasks, threads))

    return Seeds(
        np.append(np.zeros(n_characters, np.int64), order[begin][by_number]),
        np.append(np.ones(n_characters, np.int64), length[by_number]),
        np.append(text.occurrences, score[by_number]),
        parent,
        arc_at,
        shift,
    )


def _candidates(
    text: Text, backwards: SortedWords, longest: int, size: int, threads: int, guess: bool = True
) -> tuple[np.ndarray, list[slice], np.ndarray]:
    """(sorted suffixes; parts of them; int64[5, k]: begin, end, length, score and its class of the best candidates, by
    begin).

    What cannot be among them is not sorted: the score that is needed is guessed from some groups, and where too
    few reach it in the end, everything is done again without a guess.
    """
    groups = deal_suffixes(text, backwards, threads)
    lock, classes, least = threading.Lock(), np.zeros(suffixes.CLASSES, np.int64), 2

    def collect(group: slice) -> np.ndarray:
        """Those of a group, but for those that `size` others are known to beat: a bound that only rises."""
        nonlocal least
        bound = least
        lcp = sort_group(text, groups, group, longest + 1, -(-bound // max(1, longest)))
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
        return _candidates(text, backwards, longest, size, threads, guess=False)
    everything = np.concatenate([np.empty((5, 0), np.int64), *(found[i] for i in range(len(parts)))], axis=1)
    return groups.order, parts, everything[:, greatest(everything[3], size)]


def _reached(classes: np.ndarray, size: float) -> int:
    """The least score of the highest class that so many candidates reach, or 0."""
    enough = np.flatnonzero(np.cumsum(classes[::-1])[::-1] >= max(1, size))
    return suffixes.least_score(int(enough[-1])) if len(enough) else 0


def build_tries(text: Text, seeds: Seeds, longest: int, threads: int) -> Words:
    """Sorts the words and lays out their tries, with the pieces that end at each node."""
    words = sorted_words(text, threads)

    def trie(first: int, last: int) -> Trie:
        of_words = words.places, words.lcp, words.n_chars, first, last
        filled = unigram.fill_trie(text.ids, *of_words, seeds.arc_at, seeds.parent, longest, seeds.shift)
        deepest = int(words.n_chars[first:last].max())
        return Trie(words.lcp[first:last], words.counts[first:last], deepest, *filled)

    tries = list(pool.run(trie, words.chunks, threads))
    n_characters = int((words.counts * words.n_chars).sum())
    return Words(tries, seeds.shift, int(text.counts.sum()), n_characters)
