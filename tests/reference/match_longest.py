"""WordPiece: words to tokens, the longest first, in plain Python."""

from __future__ import annotations

from tests.reference.strings import byte_strings, tokens_of, trie_strings


def match_longest(data, start, end, tables):
    """Finds the tokens of words by WordPiece; kernels/cpu/match_longest.py explains the arguments and the result."""
    tokens = trie_strings(tables.edges)
    found = []
    for word in byte_strings(data, start, end):
        pieces, at = [], 0
        while at < len(word) and len(word.decode()) <= tables.max_chars:
            prefix = tables.prefix.tobytes() if at else b""
            fits = [stop for stop in range(at + 1, len(word) + 1) if prefix + word[at:stop] in tokens]
            if not fits:
                break
            pieces.append((tokens[prefix + word[at : fits[-1]]], at, fits[-1]))
            at = fits[-1]
        found.append(pieces if at == len(word) else [(tables.unk, 0, len(word))])
    return tokens_of(found, start)
