"""Every stage in plain Python: the shortest true version, and what the tests hold the fast ones to."""

from __future__ import annotations

import heapq
import itertools
import math
import re
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator

import numpy as np

from . import DEAD, BpeLimits, BpeMerges, ParityLimits

# ---- text


def find_invalid_utf8(data: np.ndarray) -> int:
    """The index in data (uint8[n]) of the first byte that begins no valid UTF-8 character; -1: all is valid."""
    try:
        data.tobytes().decode()
    except UnicodeDecodeError as error:
        return error.start
    return -1


def line_ends(data: np.ndarray) -> np.ndarray:
    """The offset after each `\\n` of data (uint8[n]): int64[number of newlines]."""
    return np.flatnonzero(data == 10) + 1


# ---- pieces of text


def gather(data: np.ndarray, start: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The bytes of each piece, packed: uint8[total], offsets int64[n_pieces + 1]."""
    pieces = [data[a:b] for a, b in zip(start, end, strict=True)]
    return np.concatenate([data[:0], *pieces]), np.cumsum([0, *map(len, pieces)], dtype=np.int64)


def rewrite_bytes(data, start, end, mode, table, alignment=None):
    """Packs pieces with each byte replaced by others (mode & 1), a prefix before some (mode & 2); see kernels/cpu."""
    words = [int(code).to_bytes(4, "little")[:width] for width, code in table.T]
    parts, offsets = [], [0]  # parts: (bytes, the byte of data that they come from)
    for a, b, how in zip(start.tolist(), end.tolist(), mode.tolist(), strict=True):
        parts += [(words[256], a)] * (how >> 1)
        parts += [(words[data[p]] if how & 1 else bytes([data[p]]), p) for p in range(a, b)]
        offsets.append(sum(len(word) for word, _ in parts))
    source = np.array([p for word, p in parts for _ in word], np.int64)
    aligned = None if alignment is None else tuple(origin[source] for origin in alignment)
    return np.frombuffer(b"".join(word for word, _ in parts), np.uint8), np.array(offsets), aligned


def split_words(data, start, end, frozen, automaton, cut, drop, keep_empty=False):
    """Cuts pieces where the automaton finds its matches; the arguments and the result are in kernels/cpu/split.py."""
    words, rows = [], [0]
    for i, (a, b) in enumerate(zip(start.tolist(), end.tolist(), strict=True)):
        text = data[a:b].tobytes().decode()
        place = [
            a,
            *(a + np.cumsum([len(c.encode()) for c in text])).tolist(),
        ]  # of each character, and the end
        spans = [(0, len(text), True)] if frozen is not None and frozen[i] else list(_spans(text, automaton))
        word = 0
        for k, (_, stop, flag) in enumerate(spans):
            if k + 1 == len(spans) or cut[int(flag), int(spans[k + 1][2])]:
                if (word < stop + (flag and keep_empty) and not drop[int(flag)]) or (
                    frozen is not None and frozen[i]
                ):
                    words.append((place[word], place[stop]))
                word = stop
        rows.append(len(words))
    word_start, word_end = np.array(words, np.int64).reshape(-1, 2).T
    return word_start, word_end, np.array(rows)


def _spans(text: str, automaton) -> Iterator[tuple[int, int, bool]]:
    """Gaps (False) and matches (True) in text, in order: what a loop of leftmost-first searches finds."""
    ascii_class, page, member, delta, accept = automaton[:5]
    end_of_text = delta.shape[1] - 1
    classes = [ascii_class[ord(c)] if c < "\x80" else member[page[ord(c) >> 7], ord(c) & 127] for c in text]
    p = gap = 0
    last_match = None
    while p <= len(text):
        found, state = None, 0
        for q, k in enumerate([*classes[p:], end_of_text], p):
            found = q if accept[state, k] else found
            state = delta[state, k]
            if state == 0xFFFF:
                break
        if found is None or p == found == last_match:
            p += 1
            continue
        if gap < p:
            yield gap, p, False
        yield p, found, True
        p = gap = last_match = found
    if gap < len(text):
        yield gap, len(text), False


# ---- added tokens


def find_tokens(data, start, end, skip, trie, options, word_bits):
    """Added tokens in pieces of text; the arguments and the results are in kernels/cpu/added.py."""
    strings = _trie_contents(*trie)
    longest = re.compile(b"|".join(re.escape(string) for string in sorted(strings, key=len, reverse=True)))
    pieces, rows = [], [0]
    for a, b, whole in zip(start.tolist(), end.tolist(), skip.tolist(), strict=True):
        piece, text = data[a:b].tobytes(), 0  # where the text that is not yet given out begins
        for match in () if whole else longest.finditer(piece):
            i, first, last = strings[match[0]], match.start(), match.end()
            before, after = piece[:first].decode(), piece[last:].decode()
            beside = [ord(character) for character in before[-1:] + after[:1]]
            inside_word = (
                any(word_bits[code >> 3] >> (code & 7) & 1 for code in beside) if options[i] & 1 else False
            )
            if options[i] & 8 or inside_word:
                continue
            if options[i] & 2:
                first -= len(before.encode()) - len(before.rstrip(_WHITE_SPACE).encode())
            first = max(first, text)
            if options[i] & 4:
                last += len(after.encode()) - len(after.lstrip(_WHITE_SPACE).encode())
            if text < first:
                pieces.append((a + text, a + first, -1))
            pieces.append((a + first, a + last, i))
            text = last
        if text < b - a or whole:
            pieces.append((a + text, b, -1))
        rows.append(len(pieces))
    columns = np.array(pieces, np.int64).reshape(-1, 3)
    return columns[:, 0], columns[:, 1], columns[:, 2].astype(np.int32), np.array(rows, np.int64)


_WHITE_SPACE = "".join(
    c for c in map(chr, range(0x3001)) if c.isspace() and not "\x1c" <= c <= "\x1f"
)  # White_Space


def _trie_contents(classes: np.ndarray, step: np.ndarray, string: np.ndarray) -> dict[bytes, int]:
    """The strings of a trie, each with its number."""
    found, reached = {}, [(0, b"")]
    for node, spelled in reached:
        if string[node] >= 0:
            found[spelled] = int(string[node])
        reached += [
            (int(step[node, classes[byte]]), spelled + bytes([byte]))
            for byte in np.flatnonzero(classes).tolist()
            if step[node, classes[byte]]
        ]
    return found


# ---- BPE training


def count_characters(
    data: np.ndarray, offsets: np.ndarray, counts: np.ndarray, *, byte_level: bool, n_roles: int
) -> np.ndarray:
    """How often each character stands in each role (not first: 1, last: 2): int64[characters, n_roles]."""
    totals = np.zeros((0x110000, n_roles), np.int64)
    for word, count in zip(_words(data, offsets, byte_level), counts, strict=True):
        for i, character in enumerate(word):
            totals[ord(character), _role(n_roles, i, word)] += count
    return totals


def spell_words(
    data: np.ndarray, offsets: np.ndarray, ids: np.ndarray, *, byte_level: bool, dtype: type
) -> tuple[np.ndarray, np.ndarray]:
    """The words as symbols (dtype[m], offsets int64[u + 1]); ids: int32[characters, roles], -1 drops a character."""
    spelt = [
        [token for i, c in enumerate(word) if (token := ids[ord(c), _role(ids.shape[1], i, word)]) >= 0]
        for word in _words(data, offsets, byte_level)
    ]
    return np.array([*itertools.chain(*spelt)], dtype), np.cumsum([0, *map(len, spelt)], dtype=np.int64)


def _words(data: np.ndarray, offsets: np.ndarray, byte_level: bool) -> list[str]:
    encoding = "latin-1" if byte_level else "utf-8"
    return [data[a:b].tobytes().decode(encoding) for a, b in itertools.pairwise(offsets)]


def _role(n_roles: int, i: int, word: str) -> int:
    return 0 if n_roles == 1 else (i > 0) + 2 * (i == len(word) - 1)


def train_bpe(
    symbols: np.ndarray,
    offsets: np.ndarray,
    counts: np.ndarray,
    tokens: np.ndarray,
    token_offsets: np.ndarray,
    limits: BpeLimits,
    progress: Callable[[int, int], None] | None = None,
) -> BpeMerges:
    """All merges of the words symbols[offsets[i]:offsets[i + 1]] (token ids), each with its count.

    tokens, token_offsets: the strings of the tokens there are (uint8[bytes], int64[t + 1]).

    This is the queue of the namesake, entry by entry. An entry owns the words known when it was queued, and merging
    a pair does not lower that pair's own count. That matters only where two merges spell the same string: then
    a pair can be queued twice, and is merged again, in the words of the older entry, once its count is corrected.
    Of two equal entries that which was pushed first comes first (there it depends on hash order, but is mostly so).
    """
    names = [tokens[a:b].tobytes() for a, b in itertools.pairwise(token_offsets)]
    ids = {name: token for token, name in enumerate(names)}
    weights = counts.tolist()
    words = [[(token, 1) for token in symbols[a:b].tolist()] for a, b in itertools.pairwise(offsets)]
    count: Counter[tuple[int, int]] = Counter()
    where: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
    for i, word in enumerate(words):
        for (a, _), (b, _) in itertools.pairwise(word):
            count[a, b] += weights[i]
            where[a, b].add(i)

    queue: list[tuple[int, tuple[int, int], int, set[int]]] = []  # -count, pair, number of the entry, words
    n_queued = itertools.count()
    merges = []
    while len(names) < limits.vocab_size:
        for pair, found in where.items():
            if count[pair] > 0:
                heapq.heappush(queue, (-count[pair], pair, next(n_queued), found))
        where.clear()
        while queue and -queue[0][0] != (current := count[queue[0][1]] % 2**64):
            heapq.heapreplace(queue, (-current, queue[0][1], next(n_queued), queue[0][3]))
        if not queue or -queue[0][0] < max(1, limits.min_frequency):
            break
        _, (a, b), _, found = heapq.heappop(queue)
        name = names[a] + names[b].removeprefix(limits.prefix)
        new = ids.setdefault(name, len(names))
        if new == len(names):
            names.append(name)
        merges.append((a, b, new))
        for i in found:
            words[i], changes = merge_word(words[i], a, b, new, limits.max_token_length)
            for pair, sign in changes:
                count[pair] += sign * weights[i]
                if sign > 0:
                    where[pair].add(i)

    columns = np.array(merges, np.uint32).reshape(-1, 3).T
    text = np.frombuffer(b"".join(names), np.uint8)
    return BpeMerges(*columns, text, np.cumsum([0, *map(len, names)], dtype=np.int64))


def train_parity_bpe(
    symbols: np.ndarray,
    offsets: np.ndarray,
    counts: np.ndarray,
    languages: np.ndarray,
    tokens: np.ndarray,
    token_offsets: np.ndarray,
    limits: ParityLimits,
    progress: Callable[[int, int], None] | None = None,
) -> BpeMerges:
    """All merges of parity-aware BPE over words as in `train_bpe`; tokens and token_offsets likewise.

    languages: int64[words], which language's training word each is, from `limits.languages` on (plus the language)
    development words.

    Every merge is the most frequent pair of one language, among equals that of the last strings, and is applied to
    all. That language is the longest, or with `ratio` the least compressed for its ratio. A language without a pair is
    exhausted. As in `train_bpe`, merging a pair forgets its count and the words known to have it, whatever is left.
    """
    names = [tokens[a:b].tobytes() for a, b in itertools.pairwise(token_offsets)]
    ids = {name: token for token, name in enumerate(names)}
    weights, n = counts.tolist(), limits.languages
    words = [[(token, 1) for token in symbols[a:b].tolist()] for a, b in itertools.pairwise(offsets)]
    count: list[Counter[tuple[int, int]]] = [Counter() for _ in range(2 * n)]
    where: list[defaultdict[tuple[int, int], set[int]]] = [defaultdict(set) for _ in range(2 * n)]
    lengths = [0] * n
    for i, (word, language) in enumerate(zip(words, languages.tolist(), strict=True)):
        for (a, _), (b, _) in itertools.pairwise(word):
            count[language][a, b] += weights[i]
            where[language][a, b].add(i)
        if (language >= n) == limits.dev:
            lengths[language % n] += weights[i] * len(word)
    first = lengths.copy()
    exhausted = {language for language in range(n) if limits.ratio and first[language] == 0}
    recent: deque[int] = deque(maxlen=limits.window)

    def urgency(language: int) -> float:
        if language in exhausted:
            return -math.inf
        if limits.ratio:
            return -(first[language] / lengths[language]) / limits.ratio[language]
        return lengths[language]

    merges: list[tuple[int, int, int]] = []
    while len(merges) < limits.merges and len(exhausted) < n:
        if len(merges) < limits.global_merges:
            chosen, candidates = -1, Counter()
            for counter in count[:n]:
                candidates.update(counter)
        else:
            chosen = choose_language([urgency(language) for language in range(n)], recent, limits)
            candidates = count[chosen]
            recent.append(chosen)
        least = max(1, limits.min_frequency)
        able = [(c, names[a], names[b], a, b) for (a, b), c in candidates.items() if c >= least]
        if not able and chosen < 0:
            break
        if not able:
            exhausted.add(chosen)
            continue
        *_, a, b = max(able)
        name = names[a] + names[b].removeprefix(limits.prefix)
        new = ids.setdefault(name, len(names))
        if new == len(names):
            names.append(name)
        merges.append((a, b, new))
        for language in range(2 * n):
            # Development words are merged wherever the pair stands
            longest = limits.max_token_length if language < n else 2**62
            for i in where[language].pop((a, b), ()):
                before = len(words[i])
                words[i], changes = merge_word(words[i], a, b, new, longest)
                for pair, sign in changes:
                    count[language][pair] += sign * weights[i]
                    if sign > 0:
                        where[language][pair].add(i)
                if (language >= n) == limits.dev:
                    lengths[language % n] -= weights[i] * (before - len(words[i]))
                count[language][a, b] = 0

    columns = np.array(merges, np.uint32).reshape(-1, 3).T
    text = np.frombuffer(b"".join(names), np.uint8)
    return BpeMerges(*columns, text, np.cumsum([0, *map(len, names)], dtype=np.int64))


def choose_language(urgency: list[float], recent: deque[int], limits: ParityLimits) -> int:
    """The most urgent language, the first of equals, but one that isn't too frequent in `recent`, if there is one.

    >>> choose_language([5, 9], deque([1, 1]), ParityLimits(2, 9, window=2, threshold=0.5))
    0
    """
    waiting: set[int] = set()
    while True:
        able = [i for i, value in enumerate(urgency) if i not in waiting and value > -math.inf]
        chosen = max(able, key=urgency.__getitem__, default=0)
        if limits.window == 0 or recent.count(chosen) / limits.window <= limits.threshold:
            return chosen
        if chosen in waiting or len(waiting) == len(urgency) - 1:
            return chosen  # nobody is left; the namesake sometimes looks for one forever
        waiting.add(chosen)


def merge_word(
    word: list[tuple[int, int]], a: int, b: int, new: int, max_length: int
) -> tuple[list[tuple[int, int]], list[tuple[tuple[int, int], int]]]:
    """The word (token, length in initial symbols) with each (a, b) merged, and the pairs lost (-1) and won (+1).

    >>> merge_word([(0, 1), (1, 1), (2, 1), (2, 1), (3, 1)], 2, 2, 4, 10)  # h e l l o -> h e ll o
    ([(0, 1), (1, 1), (4, 2), (3, 1)], [((1, 2), -1), ((1, 4), 1), ((2, 3), -1), ((4, 3), 1)])
    """
    merged: list[tuple[int, int]] = []
    changes = []
    i = 0
    while i < len(word):
        if [token for token, _ in word[i : i + 2]] != [a, b]:
            merged.append(word[i])
            i += 1
            continue
        length = word[i][1] + word[i + 1][1]
        if merged:
            left, left_length = merged[-1]
            changes += [((left, a), -1)] + [((left, new), 1)] * (left_length + length < max_length)
        if i + 2 < len(word):
            right, right_length = word[i + 2]
            changes += [((b, right), -1)] + [((new, right), 1)] * (right_length + length < max_length)
        merged.append((new, length))
        i += 2
    return merged, changes


def find_bytes(data: np.ndarray, pattern: np.ndarray) -> np.ndarray:
    """Where `pattern` occurs in data (uint8[n]), from left to right, not overlapping: int64[]."""
    found = re.finditer(re.escape(pattern.tobytes()), data.tobytes(), re.DOTALL)
    return np.array([match.start() for match in found], np.int64)


# ---- words


def words_of(text: str, automaton) -> list[str]:
    """The words of a document under a gapless `Automaton`: leftmost-first matches, one after the other."""
    classes = [int(automaton.member[automaton.page[ord(c) >> 7], ord(c) & 127]) for c in text] + [
        automaton.n_classes
    ]
    words, start = [], 0
    while start < len(text):
        state, end, p = 0, start, start
        while state != DEAD:
            if automaton.accept[state, classes[p]]:
                end = p
            state, p = int(automaton.delta[state, classes[p]]), p + 1
        words.append(text[start:end])
        start = end
    return words


def count_text(texts: list[str], automaton) -> dict[str, int]:
    """How often each word of some documents occurs, in order of first occurrence."""
    return dict(Counter(word for text in texts for word in words_of(text, automaton)))


def encode_text(pieces: list[str], token: list[int], automaton, encode_word: Callable[[str], list[int]]):
    """The ids of pieces of text, one after the other, and offsets; token[i] >= 0 stands for the whole piece."""
    rows = [
        [own] if own >= 0 else list(itertools.chain(*map(encode_word, words_of(text, automaton))))
        for text, own in zip(pieces, token, strict=True)
    ]
    return np.array([*itertools.chain(*rows)], np.uint32), np.cumsum([0, *map(len, rows)])


def count_pieces(data, start, end, count):
    """The distinct non-empty words data[start[i]:end[i]] in order of first occurrence, with the sums of their counts."""
    total = Counter()
    for a, b, n in zip(start.tolist(), end.tolist(), count.tolist(), strict=True):
        if a < b:
            total[data[a:b].tobytes()] += n
    offsets = np.cumsum([0, *map(len, total)])
    return np.frombuffer(b"".join(total), np.uint8), offsets, np.array([*total.values()], np.int64)


# ---- models


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


# ---- normalizers: the arguments and the results are in kernels/cpu/normalize.py


def _characters(data: np.ndarray, start: int, end: int) -> list[tuple[str, int]]:
    """The characters of a piece, and where each begins."""
    text = data[start:end].tobytes().decode()
    sizes = [len(c.encode()) for c in text]
    return list(zip(text, np.cumsum([start, *sizes]).tolist(), strict=False))


def _kind(page: np.ndarray, member: np.ndarray, character: str) -> int:
    return int(member[page[ord(character) >> 7], ord(character) & 127])


def _edit(data, start, end, frozen, aligned, normalize):
    """Packs what `normalize` makes of each piece: text and the source of each of its characters."""
    new, source, offsets = b"", [], [0]
    for i, (a, b) in enumerate(zip(start.tolist(), end.tolist(), strict=True)):
        if frozen is not None and frozen[i]:
            new, source = new + data[a:b].tobytes(), source + list(range(a, b))
        else:
            for text, place in normalize(_characters(data, a, b), a):
                new, source = new + text.encode(), source + [place] * len(text.encode())
        offsets.append(len(new))
    return np.frombuffer(new, np.uint8), np.array(offsets), np.array(source if aligned else [], np.int64)


def is_inert(data, start, end, frozen, page, member, n_inert=1):
    """Whether all characters have a kind below n_inert."""
    live = [i for i in range(len(start)) if frozen is None or not frozen[i]]
    return all(_kind(page, member, c) < n_inert for i in live for c, _ in _characters(data, start[i], end[i]))


def follow(source, start, end):
    """Where new bytes come from; ~p is the empty place before p."""
    empty = source < 0
    at = np.where(empty, ~source, source)
    return start[at], np.where(empty, start[at], end[at])


def map_characters(data, start, end, frozen, table, aligned):
    """Each character becomes what the table says."""
    page, member, _, text, offsets = table

    def normalize(characters, _):
        for c, place in characters:
            rule = _kind(page, member, c)
            replacement = text[offsets[rule] : offsets[rule + 1]].tobytes().decode() if rule > 2 else ""
            yield {0: c, 1: "", 2: f" {c} "}.get(rule, replacement), place

    return _edit(data, start, end, frozen, aligned, normalize)


def _placed(changes, characters, first):
    """Gives each of `changes` (a character, and how many characters it adds) its place."""
    places = [place for _, place in characters]
    used = 0
    for c, change in changes:
        if change > 0:
            yield c, places[used - 1] if used else ~first
        else:
            yield c, places[used]
            used += 1 - change


def normalize_form(data, start, end, frozen, form, compositions, aligned):
    """Decomposition, canonical ordering and composition, as Unicode Standard Annex #15 has them."""
    page, member, _, ranks, offsets, parts, parts_rank = form
    pairs = (
        {} if compositions is None else dict(zip(*(column.tolist() for column in compositions), strict=True))
    )

    def decomposed(c):
        kind, syllable = _kind(page, member, c), ord(c) - 0xAC00
        if 0 <= syllable < 11172:
            jamo = (0x1100 + syllable // 588, 0x1161 + syllable // 28 % 21, 0x11A7 + syllable % 28)
            return [(chr(j), 0) for j in jamo if j != 0x11A7]
        part = slice(offsets[kind], offsets[kind + 1])
        return list(zip(map(chr, parts[part]), parts_rank[part].tolist(), strict=True)) or [
            (c, int(ranks[kind]))
        ]

    def composed(a, b):
        lead, vowel, syllable, trail = ord(a) - 0x1100, ord(b) - 0x1161, ord(a) - 0xAC00, ord(b) - 0x11A7
        if 0 <= lead < 19 and 0 <= vowel < 21:
            return chr(0xAC00 + (lead * 21 + vowel) * 28)
        if 0 <= syllable < 11172 and syllable % 28 == 0 and 0 < trail < 28:
            return chr(ord(a) + trail)
        return chr(pairs.get(ord(a) << 32 | ord(b), 0))

    def normalize(characters, first):
        run = [
            (part, rank, int(k > 0)) for c, _ in characters for k, (part, rank) in enumerate(decomposed(c))
        ]
        starters = [k for k, (_, rank, _) in enumerate(run) if rank == 0]
        for a, b in itertools.pairwise([-1, *starters, len(run)]):
            run[a + 1 : b] = sorted(run[a + 1 : b], key=lambda part: part[1])
        kept = []
        starter, last = None, 0
        for c, rank, change in run:
            if compositions is not None and starter is not None and (last == 0 or last < rank):
                both = composed(kept[starter][0], c)
                if both != "\0":
                    kept[starter] = both, kept[starter][1] + change - 1
                    continue
            starter = len(kept) if rank == 0 else starter
            last = rank
            kept.append((c, change))
        return _placed(kept, characters, first)

    return _edit(data, start, end, frozen, aligned, normalize)


def splice(data, start, end, rows, cut_start, cut_end, content, place, aligned):
    """Puts `content` in place of each span."""
    new, source, offsets = [data[:0]], [], [0]
    for i, (a, b) in enumerate(zip(start.tolist(), end.tolist(), strict=True)):
        for j in range(rows[i], rows[i + 1]):
            new += [data[a : cut_start[j]], content]
            source += [*range(a, cut_start[j]), *[place[j]] * len(content)]
            a = cut_end[j]
        new.append(data[a:b])
        source += range(a, b)
        offsets.append(len(source))
    return np.concatenate(new), np.array(offsets), np.array(source if aligned else [], np.int64)


def find_literal(data, start, end, frozen, literal):
    """Where the literal stands in each piece, from left to right without overlap."""
    found, rows = [], [0]
    for i, (a, b) in enumerate(zip(start.tolist(), end.tolist(), strict=True)):
        places = re.finditer(re.escape(literal.tobytes()), data[a:b].tobytes())
        found += [] if frozen is not None and frozen[i] else [a + match.start() for match in places]
        rows.append(len(found))
    return np.array(found, np.int64), np.array(rows)


def strip(data, start, end, frozen, space, left, right):
    """The pieces without the characters at their ends that are in `space`."""
    start, end = start.copy(), end.copy()
    for i in range(len(start)):
        characters = _characters(data, start[i], end[i]) if frozen is None or not frozen[i] else []
        while left and characters and _kind(*space, characters[0][0]):
            start[i] += len(characters.pop(0)[0].encode())
        while right and characters and _kind(*space, characters[-1][0]):
            end[i] = characters.pop()[1]
    return start, end


def normalize_precompiled(data, start, end, frozen, trie, texts, graphemes, aligned):
    """Replaces grapheme clusters of up to five bytes, else characters: see kernels/cpu/precompiled.py."""

    def step(unit: int) -> int:
        return (unit >> 10) << ((unit & 512) >> 6)

    def look_up(text: bytes) -> str | None:
        at = step(int(trie[0])) if len(trie) else 0
        for byte in text:
            at ^= byte
            if byte == 0 or at >= len(trie) or int(trie[at]) & 0x800000FF != byte:
                return None
            leaf = int(trie[at]) >> 8 & 1
            at ^= step(int(trie[at]))
            if leaf:
                value = int(trie[at]) & 0x7FFFFFFF if at < len(trie) else len(texts)
                return None if value >= len(texts) else texts[value:].tobytes().partition(b"\0")[0].decode()
        return None

    def joined(before: list[int], kind: int) -> bool:
        """Does a character go on with the cluster of `before`? The rules GB3 to GB9c and GB11 of UAX #29."""
        history = "".join(
            chr(97 + k) for k in before
        )  # b CONTROL, c CR, d LF, e EXTEND, f ZWJ, g SPACING, ...
        step = history[-1] + chr(97 + kind)
        return step == "cd" or (not re.fullmatch("[bcd].|.[bcd]", step) and (
            re.fullmatch("i[ijlm]|[lj][jk]|[mk]k|.[efgpq]|h.", step) is not None
            or (step[1] == "o" and re.search("o[pqf]*p[pqf]*$", history) is not None)
            or (step[1] == "n" and re.search("n[epq]*f$", history) is not None)
        ))  # fmt: skip

    def normalize(characters, first):
        clusters, kinds = [], []
        for c, _ in characters:
            kind = _kind(*graphemes, c)
            if clusters and joined(kinds, kind):
                clusters[-1] += c
                kinds.append(kind)
            else:
                clusters.append(c)
                kinds = [kind]
        changes = []
        for cluster in clusters:
            whole = look_up(cluster.encode()) if len(cluster.encode()) < 6 else None
            for old in [cluster] if whole is not None else cluster:
                new = look_up(old.encode())
                if new is None:
                    changes.append((old, 0))
                    continue
                changes += [(c, int(k >= len(old))) for k, c in enumerate(new)]
                if changes and len(new) < len(old):
                    changes[-1] = changes[-1][0], changes[-1][1] + len(new) - len(old)
        return _placed(changes, characters, first)

    return _edit(data, start, end, frozen, aligned, normalize)
