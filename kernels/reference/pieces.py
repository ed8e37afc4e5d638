"""Pieces of text, cut and rewritten, in plain Python."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np


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
        # of each character, and the end
        place = [a, *(a + np.cumsum([len(c.encode()) for c in text])).tolist()]
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
                first = max(len(before.rstrip(_WHITE_SPACE).encode()), text)
            if options[i] & 4:
                last += len(after.encode()) - len(after.lstrip(_WHITE_SPACE).encode())
            if first >= last:  # the token before took all of it
                text = first
                continue
            if text < first:
                pieces.append((a + text, a + first, -1))
            pieces.append((a + first, a + last, i))
            text = last
        if text < b - a or whole:
            pieces.append((a + text, b, -1))
        rows.append(len(pieces))
    columns = np.array(pieces, np.int64).reshape(-1, 3)
    return columns[:, 0], columns[:, 1], columns[:, 2].astype(np.int32), np.array(rows, np.int64)


_WHITE_SPACE = "".join(c for c in map(chr, range(0x3001)) if c.isspace() and not "\x1c" <= c <= "\x1f")


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
