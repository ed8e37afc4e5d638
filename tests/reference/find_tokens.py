"""Finding added tokens in pieces of text, in plain Python."""

from __future__ import annotations

import re

import numpy as np


def find_tokens(data, start, end, skip, trie, options, word_bits):
    """Cuts pieces at added tokens; kernels/cpu/find_tokens.py explains the arguments and the results."""
    strings = _trie_contents(*trie)
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


def _trie_contents(classes: np.ndarray, step: np.ndarray, string: np.ndarray) -> dict[bytes, int]:
    """The strings of a trie, with their numbers."""
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
