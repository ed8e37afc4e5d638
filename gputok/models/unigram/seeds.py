"""The steps of Unigram training that run once: they make seed pieces and tries from the unique words."""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gputok.kernels import threads as pool
from gputok.kernels.cpu.train_unigram import suffixes
from gputok.kernels.cpu.train_unigram import tries as unigram
from gputok.kernels.cpu.train_unigram.tries import Trie

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from gputok.kernels.cpu.train_unigram.suffixes import PrefixCode
    from gputok.types import Bytes, CodePoints, Counts, Mask, Positions, Positions32

_GROUPS = 256  # suffixes are sorted in about this many groups
_SAMPLE = 16  # one group in this many is sorted first, to guess the score that a seed needs
_SHARES = 64  # the most tasks that distribute positions to buckets, since each counts all buckets


class SeedSizes(NamedTuple):
    """Sizes of tasks and of numbers, and how cautious a guess is. No result depends on them."""

    part: int = 1 << 20  # bytes of words that one task decodes
    share: int = 1 << 18  # positions that one task distributes to buckets
    least_group: int = 1 << 12  # the smallest number of positions in a group
    batch: int = 1 << 16  # characters of words that share a trie; its arrays stay in the second-level cache
    pieces: int = 1 << 15  # pieces that one task of the M-step works on; a thread costs as much as 8,192
    narrow: int = 1 << 32  # numbers below this are stored in 32 bits, since new memory is expensive
    caution: float = 1.5  # the guessed score lets this many times the expected number of candidates pass


SIZES = SeedSizes()


class WordText(NamedTuple):
    """The unique words as dense ids of characters: a 0, then each word and a 0. The most frequent character is 1."""

    ids: npt.NDArray[np.uint16 | np.uint32]  # uint16[n], or uint32[n] if 16 bits are too few
    words: Positions  # int64[n_words], where each word begins
    counts: Counts  # int64[n_words], how often each word occurs
    n_chars: Positions  # int64[n_words], characters of each word
    code_points: CodePoints  # uint32[n_characters + 1], of each dense id; [0] is unused
    occurrences: Counts  # int64[n_characters + 1], of each dense id
    code: PrefixCode  # a binary code of the ids, of which the keys of suffixes consist
    sizes: SeedSizes  # of the tasks that work on this text

    @property
    def number_type(self) -> type[np.uint32 | np.int64]:
        """A type for all positions in the text, and for the number of occurrences of any of its parts."""
        return np.uint32 if max(len(self.ids), int(self.counts.sum())) < self.sizes.narrow else np.int64


class SuffixGroups(NamedTuple):
    """Positions in a text, in groups by the first characters of their suffixes; a task works on one group."""

    # WordText.number_type[m], positions; sorted by suffix once a group is sorted
    order: npt.NDArray[np.uint32 | np.int64]
    cache: npt.NDArray[np.uint64]  # uint64[m], the keys of suffixes, until their group is sorted
    weight: npt.NDArray[np.uint32 | np.int64]  # WordText.number_type[m], a number that moves along with its position
    # The groups, as slices of these arrays. The suffixes of two groups share at most one character
    parts: list[slice]


class SortedWords(NamedTuple):
    """Words in sorted order, in batches that share a trie; the first of a batch shares nothing with the word before."""

    at: Positions  # int64[n_words], where each word begins
    counts: Counts  # int64[n_words], how often each word occurs
    lcp: Positions32  # int32[n_words], characters in common with the word before
    n_chars: Positions  # int64[n_words], characters of each word
    batches: list[tuple[int, int]]


class Seeds(NamedTuple):
    """Seed pieces: characters by their dense ids (0 is unused), then *longer pieces*, by falling class of score.

    A longer piece has two characters or more.
    """

    at: Positions  # int64[k], the position in the text of one occurrence of a longer piece
    length: Positions  # int64[k], characters
    score: Counts  # int64[k], occurrences times length
    # uint32[k], the longest prefix that is another longer piece, as an arc, or NO_ARC
    parent: npt.NDArray[np.uint32]
    # uint32[n], the longest of the longer pieces that begin at each position of the text, as an arc, or NO_ARC
    arc_at: npt.NDArray[np.uint32]
    shift: int  # an *arc* is a piece with its length, in one number: piece << shift | length - 1


class Words(NamedTuple):
    """All words as tries."""

    tries: list[Trie]
    shift: int  # an arc in the tries is piece << shift | length - 1, as in Seeds
    n_words: int  # occurrences of words
    n_characters: int  # occurrences of characters in words


def greatest(values: npt.NDArray[Any], n: int) -> Mask:
    """Returns bool[len(values)]: True for the n greatest values; among equal values, for the first."""
    if n >= len(values):
        return np.ones(len(values), bool)
    if n <= 0:
        return np.zeros(len(values), bool)
    last = np.partition(values, -n)[-n]
    found = values > last
    found[np.flatnonzero(values == last)[: n - np.count_nonzero(found)]] = True
    return found


def _ranges(ends: Positions, size: int) -> list[tuple[int, int]]:
    """Divides items into consecutive ranges of about `size` each; ends[i]: the total size of the items 0 to i."""
    if len(ends) == 0:
        return []
    part = (np.maximum(ends, 1) - 1) // size
    cuts = np.flatnonzero(np.diff(part)) + 1
    edges = [0, *cuts.tolist(), len(ends)]
    return list(itertools.pairwise(edges))


def make_text(data: Bytes, offsets: Positions, counts: Counts, threads: int, sizes: SeedSizes = SIZES) -> WordText:
    """Decodes words (uint8[n_bytes], int64[n_words + 1]), and numbers characters by falling count, then code point."""
    parts = _ranges(offsets[1:], sizes.part)
    n_chars = np.empty(len(counts), np.int64)
    shares = [share for i in range(threads) if (share := parts[i::threads])]
    histograms = np.zeros((len(shares), 0x110000), np.int64)

    def count(thread: int) -> int:
        of_words = data, offsets, counts
        return max(suffixes.character_counts(*of_words, a, b, n_chars, histograms[thread]) for a, b in shares[thread])

    greatest = max(pool.results(count, ((i,) for i in range(len(shares))), threads), default=0)
    histogram = histograms[:, : greatest + 1].sum(axis=0)  # memory after that is never touched
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
    pool.results(suffixes.decode_words, tasks, threads)
    code_points = np.concatenate([[0], found]).astype(np.uint32)
    code = make_code(np.append(len(counts), occurrences))
    return WordText(ids, words[:-1], counts, n_chars, code_points, np.append(0, occurrences), code, sizes)


def deal_words(text: WordText, at: Positions, step: int, threads: int) -> SuffixGroups:
    """Distributes words to groups: those of a group sort before those of the next. The weight of a word is its number.

    at: int64[n_words], the first character of each word (step: 1), or the last to sort words by their ends (step: -1).
    """
    shares = _ranges(np.arange(1, len(at) + 1), max(text.sizes.share, len(at) // _SHARES))
    of_words = text.ids, at, step, text.code

    def deal(share: tuple[int, int], *where: Any) -> None:
        suffixes.deal_words(*of_words, *share, *where)

    return _deal(text, shares, deal, np.ones(suffixes.BUCKETS, bool), threads)


def deal_suffixes(text: WordText, words: SortedWords, threads: int) -> SuffixGroups:
    """Distributes the suffixes of all words to groups; the weight of a suffix is how often it occurs.

    words: sorted from their ends, so that words with common suffixes are neighbours. Each suffix is distributed once,
    or twice if words of two batches have it; no result depends on that.
    """
    new = np.cumsum(words.n_chars - words.lcp)
    batches = _ranges(new[[b - 1 for _, b in words.batches]], max(text.sizes.share, int(new[-1]) // _SHARES))
    shares = [(words.batches[a][0], words.batches[b - 1][1]) for a, b in batches]
    ends = words.at + 1

    def deal(share: tuple[int, int], *where: Any) -> None:
        of_words = text.ids, ends, words.counts, words.lcp, words.n_chars, text.code
        suffixes.deal_suffixes(*of_words, *share, *where)

    return _deal(text, shares, deal, suffixes.bucket_cuts(text.code), threads)


def _deal(
    text: WordText, shares: list[tuple[int, int]], deal: Callable[..., None], cuts: Mask, threads: int
) -> SuffixGroups:
    """Distributes positions to groups, in two passes over each share (one task for each share and pass).

    The passes call deal(share, group_of, at, order, cache, weight): the first pass with empty arrays, so that it only
    counts the positions of each bucket in `at`; the second writes the positions.
    cuts: bool[BUCKETS], True for the buckets at which a group may begin.
    """
    number_type = text.number_type
    buckets, group_of = np.zeros((len(shares), suffixes.BUCKETS), np.int64), np.zeros(suffixes.BUCKETS, np.uint16)
    order, cache, weight = np.empty(0, number_type), np.empty(0, np.uint64), np.empty(0, number_type)
    counting = ((share, group_of, counts, order, cache, weight) for share, counts in zip(shares, buckets, strict=True))
    pool.results(deal, counting, threads)
    ends = np.cumsum(buckets.sum(axis=0))
    n = int(ends[-1])
    firsts = np.append(np.flatnonzero(cuts), suffixes.BUCKETS)
    ranges = _ranges(ends[firsts[1:] - 1], max(text.sizes.least_group, n // _GROUPS))
    parts = [(int(firsts[a]), int(firsts[b])) for a, b in ranges if ends[firsts[b] - 1]]
    for group, (a, b) in enumerate(parts):
        group_of[a:b] = group
    edges = [0, *(int(ends[b - 1]) for _, b in parts)]
    sizes = np.add.reduceat(buckets, [a for a, _ in parts], axis=1)
    # at[share, group]: the position in `order` at which a share writes its first item of a group
    at = np.array(edges[:-1], np.int64) + np.cumsum(sizes, axis=0) - sizes
    order, cache, weight = np.empty(n, number_type), np.empty(n, np.uint64), np.empty(n, number_type)
    tasks = ((share, group_of, at[i], order, cache, weight) for i, share in enumerate(shares))
    pool.results(deal, tasks, threads)
    return SuffixGroups(order, cache, weight, [slice(a, b) for a, b in itertools.pairwise(edges)])


def sort_group(
    text: WordText, groups: SuffixGroups, group: slice, limit: int, heavy: int = 0, step: int = 1
) -> Positions32:
    """Sorts a group by the `limit` characters from each position on (backwards, if step is -1).

    Suffixes that begin alike are not sorted further if they occur fewer than `heavy` times in all. Returns int32[n],
    the number of characters in common with the suffix before.
    """
    of_group = groups.order[group], groups.cache[group], groups.weight[group]
    return suffixes.sort_suffixes(text.ids, *of_group, limit, step, text.code, heavy)


def sorted_words(text: WordText, threads: int, *, backwards: bool = False) -> SortedWords:
    """Sorts the words. If backwards, they are sorted from their ends, and `at` has their last characters."""
    at, step = (text.words + text.n_chars - 1, -1) if backwards else (text.words, 1)
    groups = deal_words(text, at, step, threads)

    def sort(group: slice) -> Positions32:
        return sort_group(text, groups, group, len(text.ids), step=step)

    lcp = np.concatenate(pool.results(sort, ((group,) for group in groups.parts), threads))
    n_chars = text.n_chars[groups.weight]
    batches = _ranges(np.cumsum(n_chars), text.sizes.batch)
    lcp[[a for a, _ in batches]] = 0
    return SortedWords(at[groups.weight], text.counts[groups.weight], lcp, n_chars, batches)


def find_seeds(text: WordText, longest: int, size: int, threads: int) -> Seeds:
    """Returns the `size` candidates of the highest scores; of equal ones, the first in sorted order, then the shorter.

    They are numbered by falling class of score, so that the entries of frequent pieces lie close together in memory.
    longest: the largest number of characters of a piece. Raises ValueError if arcs would need more than 32 bits.
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
        of_pieces = (column[first:last] for column in (begin, end, length, numbers))
        deepest = np.empty(part.stop - part.start, np.uint32)
        suffixes.place_pieces(order[part], *of_pieces, part.start, shift, deepest, parent, arc_at)

    pool.results(place, zip(parts, edges, edges[1:], strict=False), threads)
    ends = backwards.at + 1
    tasks = ((ends, backwards.lcp, a, b, arc_at) for a, b in backwards.batches)
    pool.results(suffixes.spread_arcs, tasks, threads)

    return Seeds(
        np.append(np.zeros(n_characters, np.int64), order[begin][by_number].astype(np.int64)),
        np.append(np.ones(n_characters, np.int64), length[by_number]),
        np.append(text.occurrences, score[by_number]),
        parent,
        arc_at,
        shift,
    )


def _candidates(
    text: WordText, backwards: SortedWords, longest: int, size: int, threads: int, guess: bool = True
) -> tuple[npt.NDArray[np.uint32 | np.int64], list[slice], Positions]:
    """Finds the `size` best candidates.

    Returns (order, parts, found): the sorted suffixes, their groups, and int64[5, k], for each candidate, by begin:
    begin and end in `order`, length, score, and its class. Suffixes that cannot be among the best are not sorted. The
    score that the best need is guessed from some groups; if too few candidates reach it, all is done without a guess.
    """
    groups = deal_suffixes(text, backwards, threads)
    lock, classes, least = threading.Lock(), np.zeros(suffixes.CLASSES, np.int64), 2

    def collect(group: slice) -> Positions:
        """Returns the candidates of a group, without those that are known to have a lower score than `size` others."""
        nonlocal least  # the score that a candidate needs, as far as is known: it only rises
        bound = least
        lcp = sort_group(text, groups, group, longest + 1, -(-bound // max(1, longest)))
        of_group = groups.order[group], groups.weight[group]
        candidates, of_classes = suffixes.seed_candidates(text.ids, *of_group, lcp, group.start, longest, bound)
        with lock:
            np.add(classes, of_classes, out=classes)
            least = max(least, _reached(classes, size))
        return candidates

    parts = groups.parts
    found: dict[int, Positions] = {}

    def collect_all(some: list[int]) -> None:
        found.update(zip(some, pool.results(collect, ((parts[i],) for i in some), threads), strict=True))

    if guess:
        collect_all([*range(0, len(parts), _SAMPLE)])
        share = sum(parts[i].stop - parts[i].start for i in found) / max(1, len(groups.order))
        least = max(least, _reached(classes, text.sizes.caution * share * size))
    guessed = least
    collect_all([i for i in range(len(parts)) if i not in found])
    if guess and _reached(classes, size) < guessed > 2:
        return _candidates(text, backwards, longest, size, threads, guess=False)
    everything = np.concatenate([np.empty((5, 0), np.int64), *(found[i] for i in range(len(parts)))], axis=1)
    return groups.order, parts, everything[:, greatest(everything[3], size)]


def _reached(classes: Counts, size: float) -> int:
    """The least score of the highest class that `size` candidates reach, or 0; classes: candidates of each class."""
    enough = np.flatnonzero(np.cumsum(classes[::-1])[::-1] >= max(1, size))
    return suffixes.least_score(int(enough[-1])) if len(enough) else 0


def build_tries(text: WordText, seeds: Seeds, longest: int, threads: int) -> Words:
    """Sorts the words and makes their tries, with the pieces that end at each node; longest: most characters of one."""
    words = sorted_words(text, threads)

    def trie(first: int, last: int) -> Trie:
        of_words = words.at, words.lcp, words.n_chars, first, last
        filled = unigram.fill_trie(text.ids, *of_words, seeds.arc_at, seeds.parent, longest, seeds.shift)
        deepest = int(words.n_chars[first:last].max())
        return Trie(words.lcp[first:last], words.counts[first:last], deepest, *filled)

    tries = pool.results(trie, words.batches, threads)
    n_characters = int((words.counts * words.n_chars).sum())
    return Words(tries, seeds.shift, int(text.counts.sum()), n_characters)


def make_code(weights: Counts) -> PrefixCode:
    """Makes a binary code of characters that preserves their order, of which a dozen fit into 64 bits.

    Frequent characters get few bits. This is a canonical prefix code (Schwartz and Kallick, 1964): no code is the start
    of another one, and codes increase with (length, id). So the codes of two texts, compared bit by bit, give an order
    of texts. The lengths are Shannon's, rounded so that the code uses as much of the code space as possible.

    weights: int64[k], how often each of the ids 0 to k - 1 occurs; k is at least 1.

    >>> code = make_code(np.array([2, 8, 5, 1]))
    >>> [f"{int(word) >> 64 - (int(word) & 63):0{int(word) & 63}b}" for word in code.words]
    ['110', '0', '10', '111']
    """
    lengths = _code_lengths(weights)
    order = np.argsort(lengths, kind="stable")
    # How many codes of the greatest length would take the space of each code
    shares = 1 << (suffixes.LONGEST_CODE - lengths[order])
    ends = np.cumsum(shares)
    words = np.empty(len(weights), np.uint64)
    words[order] = (ends - shares).astype(np.uint64) << np.uint64(64 - suffixes.LONGEST_CODE)
    words |= lengths.astype(np.uint64)

    # longer[n]: the start of the codes that are longer than n bits
    n_shorter = np.searchsorted(lengths[order], np.arange(suffixes.LONGEST_CODE + 1), side="right")
    longer = np.append(0, ends)[n_shorter]
    longer[-1] = 1 << suffixes.LONGEST_CODE
    starts = np.arange(1 << suffixes.TABLE_BITS) << suffixes.LONGEST_CODE - suffixes.TABLE_BITS
    table = np.searchsorted(longer, starts, side="right")
    table[table > suffixes.TABLE_BITS] = 0
    return suffixes.PrefixCode(words, table.astype(np.uint8), longer)


def _code_lengths(weights: Counts) -> Positions:
    """Returns the number of bits of each code, at most suffixes.LONGEST_CODE: a larger weight never gets more bits."""
    total = int(weights.sum())
    for rounding in range(64, 257, 4):
        # The fewest bits n with weight >= total / 2**n * rounding / 128; by integers, so the same on all machines
        least = np.array([total * rounding >> 7 + n for n in range(suffixes.LONGEST_CODE - 1, 0, -1)])
        lengths = suffixes.LONGEST_CODE - np.searchsorted(least, weights, side="right")
        if (1 << suffixes.LONGEST_CODE - lengths).sum() <= 1 << suffixes.LONGEST_CODE:
            break
    return lengths
