"""Merges of bytes, in words of all lengths, against `tokenizers`."""

import random

import numpy as np
import pytest
import tokenizers

from gputok import models
from gputok.text.byte_alphabet import BYTE_CHARACTERS


def vocabulary(merges: list[tuple[str, str]]) -> dict[str, int]:
    """The characters of all bytes, then the tokens of merges, in another order than that of the merges."""
    tokens = [*BYTE_CHARACTERS, *(left + right for left, right in merges)]
    distinct = list(dict.fromkeys(tokens))
    return {token: (7 * i) % len(distinct) if len(distinct) % 7 else i for i, token in enumerate(distinct)}


def random_merges(rng: random.Random, letters: str, n: int, twice: bool) -> list[tuple[str, str]]:
    """Merges of earlier tokens, most of which are never made by encoding their own text."""
    tokens, merges = list(letters), []
    while len(merges) < n:
        pair = rng.choice(tokens), rng.choice(tokens)
        if pair in merges or (not twice and "".join(pair) in tokens) or len("".join(pair)) > 20:
            continue
        merges.append(pair)
        tokens.append("".join(pair))
    return merges


def words(rng: random.Random, letters: str, n: int) -> list[bytes]:
    lengths = [1, 2, 3, 5, 9, 20, 63, 64, 65, 128, 500, 1023, 1024]
    return ["".join(rng.choices(letters, k=rng.choice(lengths))).encode() for _ in range(n)]


def encoded(model: models.BPE, texts: list[bytes]) -> list[tuple[list[int], list[int]]]:
    """Ids and ends of the tokens of each word."""
    offsets = np.cumsum([0, *map(len, texts)])
    data = np.frombuffer(b"".join(texts), np.uint8)
    ids, _, end, rows = model.tokenize_pieces(data, offsets[:-1], offsets[1:], byte_level=True)
    return [
        (ids[a:b].tolist(), (end[a:b] - start).tolist())
        for a, b, start in zip(rows[:-1], rows[1:], offsets[:-1], strict=True)
    ]


def theirs(model: models.BPE, texts: list[bytes]) -> list[tuple[list[int], list[int]]]:
    form = model.to_dict()
    upstream = tokenizers.models.BPE(form["vocab"], [tuple(merge) for merge in form["merges"]])
    rows = [upstream.tokenize(text.decode()) for text in texts]
    return [([token.id for token in row], [token.offsets[1] for token in row]) for row in rows]


@pytest.mark.parametrize("letters", ["a", "ab", "abc", "abcdefgh"])
def test_random_merges(letters):
    rng = random.Random(letters)
    for _ in range(15):
        merges = random_merges(rng, letters, min(rng.choice([1, 3, 10, 60]), 5 * len(letters) ** 2), twice=False)
        model = models.BPE(vocabulary(merges), merges, cache_capacity=0)
        texts = words(rng, letters, 100)
        assert encoded(model, texts) == theirs(model, texts), merges


def test_merges_in_any_order():
    """A text that two merges spell; a merge of a younger token."""
    rng = random.Random(1)
    cases = [random_merges(rng, "abc", 40, twice=True) for _ in range(30)]
    cases.append([("ab", "c"), ("a", "b"), ("c", "a")])
    for merges in cases:
        model = models.BPE(vocabulary(merges), merges, cache_capacity=0)
        texts = words(rng, "abc", 100)
        assert encoded(model, texts) == theirs(model, texts), merges
