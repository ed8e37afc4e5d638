"""Finding added tokens in pieces of text, in plain Python."""

from __future__ import annotations

import re

import numpy as np


def find_tokens(data, start, end, skip, edges, options, word_bits):
    """Cuts pieces at added tokens; kernels/cpu/find_tokens.py explains the arguments and the results."""
    strings = _trie_contents(edges)
    longest = re.compile(b"|".join(re.escape(string) for string in sorted(strings, key=len, reverse=True)))
    pieces, rows = [], [0]
    for a, b, whole in zip(start.tolist(), end.tolist(), skip.tolist(), strict=True):
        piece, text = data[a:b].tobytes(), 0  # where the text after the last token begins
        for match in () if whole else longest.finditer(piece):
            i, first, last = strings[match[0]], match.start(), match.end()
            before, after = piece[:first].decode(), piece[last:].decode()
            beside = [ord(character) for character in before[-1:] + after[:1]]
            inside_word = any(word_bits[code >> 3] >> (code & 7) & 1 for code in beside) if options[i] & 1 else False
            if options[i] & 8 or inside_word:
                continue
            if options[i] & 2:
                first = max(len(before.rstrip(_WHITE_SPACE).encode()), text)
            if options[i] & 4:
                last += len(after.encode()) - len(after.lstrip(_WHITE_SPACE).encode())
            if first >= last:  # the token before took all of this one
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


def _trie_contents(edges: np.ndarray) -> dict[bytes, int]:
    """The strings of a trie, with their numbers."""
    found, spelled = {}, {1: b""}
    edges = edges[edges[:, 0] > 0]
    for key, value in edges[np.argsort(edges[:, 1] & 0xFFFFFFFF)].tolist():  # a node is made after the one before it
        name = spelled[value & 0xFFFFFFFF] = spelled[key >> 8] + bytes([key & 0xFF])
        if value >> 32:
            found[name] = (value >> 32) - 1
    return found
