"""Training superwords: the veto of the kernel, the plain trainer, and the two streaming passes against both."""

import random

import numpy as np
import pytest
from gputok.kernels import BpeLimits, Veto, reference
from gputok.kernels.cpu.train_bpe import queue as bpe_queue
from gputok.kernels.cpu.train_bpe import train as bpe

# ---- the veto


def veto_input(r: random.Random, space: str, n_words: int = 60) -> tuple[np.ndarray, ...]:
    """What `train_bpe` takes, for tokens with spaces, colons and characters of several bytes."""
    tokens = [
        "<s>",
        "a",
        "b",
        ":",
        space,
        "é",
        f"{space}a",
        f"b:{space}c",
        "日本",
        f"{space}{space}",
        "a:",
        "ab",
    ]
    words = [r.choices(range(1, len(tokens)), k=r.randint(1, 14)) for _ in range(n_words)]
    names = [token.encode() for token in tokens]
    return (
        np.array([symbol for word in words for symbol in word], np.uint16),
        np.cumsum([0, *map(len, words)], dtype=np.int64),
        np.array([r.choice([1, 1, 2, 300]) for _ in words], np.int64),
        np.frombuffer(b"".join(names), np.uint8),
        np.cumsum([0, *map(len, names)], dtype=np.int64),
    )


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("space", [" ", "Ġ"])
@pytest.mark.parametrize(
    "veto", [Veto(), Veto(2), Veto(3, 6, False), Veto(4, 9, True), Veto(colons=False), Veto(0)]
)
def test_the_veto_of_all_versions(seed, space, veto):
    arguments = veto_input(random.Random(seed), space)
    limits = BpeLimits(90, veto=veto._replace(space=space.encode()))
    expected = reference.train_bpe(*arguments, limits)
    for few_tokens in (0, 1500):
        found = bpe.train_bpe(*arguments, limits, sizes=bpe.Sizes(few_tokens=few_tokens))
        for name, a, b in zip(expected._fields, found, expected, strict=True):
            assert np.array_equal(a, b), name
    for name, a, b in zip(
        expected._fields, bpe_queue.train_bpe_queued(*arguments, limits), expected, strict=True
    ):
        assert np.array_equal(a, b), name
    names = [
        expected.tokens[a:b].tobytes().decode().replace("Ġ", " ")
        for a, b in zip(expected.token_offsets[12:-1], expected.token_offsets[13:], strict=True)
    ]
    assert all(len([word for word in name.split(" ") if word]) <= veto.max_words for name in names)
    assert all(len(name) < veto.max_characters for name in names)
    assert veto.colons or not any(": " in name for name in names)


def test_a_veto_changes_the_merges():
    arguments = veto_input(random.Random(1), " ")
    free, bound = (reference.train_bpe(*arguments, BpeLimits(90, veto=veto)) for veto in (None, Veto(2)))
    assert not np.array_equal(free.left, bound.left)
    assert np.array_equal(reference.train_bpe(*arguments, BpeLimits(90, veto=Veto())).left, free.left)
