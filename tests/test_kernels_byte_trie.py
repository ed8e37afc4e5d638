"""The double array of a vocabulary against a dictionary, also where it grows while it is laid out."""

import random

import numpy as np
import pytest
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.encode_words import byte_trie
from gputok.kernels.cpu.primitives.memory import view
from gputok.kernels.native import choose

if choose().calls is not None:
    pytest.skip("needs the compiler for a kernel of its own", allow_module_level=True)


@kernel
def longest_token(cells, word, n):
    return byte_trie.longest_token(view(cells), view(word), np.uint64(0), np.uint64(n))


@pytest.mark.parametrize("grows", [False, True])
@pytest.mark.parametrize("letters", [4, 256])
@pytest.mark.parametrize("n_tokens", [3, 300, 6000])
def test_the_longest_token_is_found(grows, letters, n_tokens, monkeypatch):
    if grows:
        place = byte_trie._place
        few = np.zeros(1300, np.uint64)
        monkeypatch.setattr(
            byte_trie, "_place", lambda edges, first, of_node, _, n: place(edges, first, of_node, few, n)
        )
    rng = random.Random(n_tokens + letters)
    alphabet = [bytes([byte]) for byte in range(letters)]
    tokens = sorted({b"".join(rng.choices(alphabet, k=rng.randrange(2, 9))) for _ in range(n_tokens)})
    numbers = np.arange(256, 256 + len(tokens), dtype=np.uint32)
    data, ends = np.frombuffer(b"".join(tokens), np.uint8), np.cumsum([0, *map(len, tokens)])
    cells, prefix = byte_trie.build(data, ends, numbers)
    number_of = dict(zip(tokens, numbers.tolist(), strict=True)) | {bytes([i]): i for i in range(256)}

    def expected(word: bytes) -> int:
        return next(number_of[word[:k]] for k in range(len(word), 0, -1) if word[:k] in number_of)

    for _ in range(500):
        word = rng.choice(tokens)[: rng.randrange(1, 9)] + b"".join(rng.choices(alphabet, k=rng.randrange(3)))
        assert longest_token(cells, np.frombuffer(word, np.uint8).copy(), len(word)) == expected(word)
    for token in tokens[:300]:
        assert prefix[number_of[token]] == expected(token[:-1])


def test_two_tokens_of_the_same_bytes_have_no_trie():
    data, ends = np.frombuffer(b"abab", np.uint8), np.array([0, 2, 4])
    assert byte_trie.build(data, ends, np.array([256, 257], np.uint32)) is None
