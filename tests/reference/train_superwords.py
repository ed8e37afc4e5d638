"""Training of superwords, in plain Python: two stages, each of which counts all pairs anew before each merge."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping

from gputok.kernels import BpeLimits

from tests.reference.train_bpe import may_merge

Merge = tuple[bytes, bytes]


def train_superwords(
    words: Mapping[bytes, int], pieces: Mapping[bytes, int], tokens: Iterable[bytes], n_first: int, limits: BpeLimits
) -> tuple[list[bytes], list[Merge]]:
    """Learns merges in words until there are `n_first` tokens, then in pieces until there are `limits.vocab_size`.

    words, pieces: how often each occurs; tokens: those before the first merge, among them all bytes, by id; limits: the
    veto holds for the second stage; `max_token_length` is in bytes. Of equally frequent pairs, the one of smaller ids
    comes first. Returns all tokens by id, and all merges.

    >>> tokens, merges = train_superwords({b"so": 9}, {b"so so": 5}, [b" ", b"o", b"s"], 4, BpeLimits(6))
    >>> tokens, merges
    ([b' ', b'o', b's', b'so', b' so', b'so so'], [(b's', b'o'), (b' ', b'so'), (b'so', b' so')])
    """
    tokens, merges = list(tokens), []
    _learn(words, tokens, merges, limits._replace(vocab_size=n_first, veto=None))
    _learn(pieces, tokens, merges, limits)
    return tokens, merges


def _learn(texts: Mapping[bytes, int], tokens: list[bytes], merges: list[Merge], limits: BpeLimits) -> None:
    """Merges in texts, in which all merges so far are applied first, and appends new tokens and merges."""
    spelled = {text: encoded(text, merges) for text in texts}
    ids = {token: i for i, token in enumerate(tokens)}
    while len(tokens) < limits.vocab_size:
        count: Counter[Merge] = Counter()
        for text, weight in texts.items():
            for left, right in itertools.pairwise(spelled[text]):
                if may_merge(left, right, limits.veto) and len(left + right) < max(3, limits.max_token_length):
                    count[left, right] += weight
        if not count:
            return
        best = min(count, key=lambda pair: (-count[pair], ids[pair[0]], ids[pair[1]]))
        if count[best] < max(1, limits.min_frequency):
            return
        merges.append(best)
        if best[0] + best[1] not in ids:
            ids[best[0] + best[1]] = len(tokens)
            tokens.append(best[0] + best[1])
        spelled = {text: _merged(symbols, best) for text, symbols in spelled.items()}


def encoded(text: bytes, merges: Iterable[Merge]) -> list[bytes]:
    """The tokens of a text: each merge in turn, wherever it occurs, from left to right."""
    symbols = [bytes([byte]) for byte in text]
    for merge in merges:
        symbols = _merged(symbols, merge)
    return symbols


def _merged(symbols: list[bytes], merge: Merge) -> list[bytes]:
    merged: list[bytes] = []
    i = 0
    while i < len(symbols):
        if tuple(symbols[i : i + 2]) == merge:
            merged.append(merge[0] + merge[1])
            i += 2
        else:
            merged.append(symbols[i])
            i += 1
    return merged
