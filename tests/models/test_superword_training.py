"""Training superwords: the veto of the kernel, the plain trainer, and the two streaming passes against both."""

import itertools
import random

import numpy as np
import pytest
from gputok.kernels import BpeLimits, Veto
from gputok.kernels.cpu.superwords import joints, pairs, runs
from gputok.kernels.cpu.train_bpe import queue as bpe_queue
from gputok.kernels.cpu.train_bpe import token_traits
from gputok.kernels.cpu.train_bpe import train as bpe

from tests import reference

# ---- the veto


def veto_input(r: random.Random, space: str, n_words: int = 60) -> tuple[np.ndarray, ...]:
    """What `train_bpe` takes, for tokens with spaces, colons and characters of several bytes."""
    tokens = ["<s>", "a", "b", ":", space, "é", f"{space}a", f"b:{space}c", "日本", f"{space}{space}", "a:", "ab"]
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
@pytest.mark.parametrize("veto", [Veto(), Veto(2), Veto(3, 6, False), Veto(4, 9, True), Veto(colons=False), Veto(0)])
def test_the_veto_of_all_versions(seed, space, veto):
    arguments = veto_input(random.Random(seed), space)
    limits = BpeLimits(90, veto=veto._replace(space=space.encode()))
    expected = reference.train_bpe(*arguments, limits)
    for few_tokens in (0, 1500):
        found = bpe.train_bpe(*arguments, limits, sizes=bpe.TrainSizes(few_tokens=few_tokens))
        for name, a, b in zip(expected._fields, found, expected, strict=True):
            assert np.array_equal(a, b), name
    for name, a, b in zip(expected._fields, bpe_queue.train_bpe_queued(*arguments, limits), expected, strict=True):
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


# ---- the kernels


def vocabulary(r: random.Random, letters: bytes, n: int) -> tuple[np.ndarray, np.ndarray, list[bytes]]:
    """Ids of the bytes, merges uint32[m, 3] of random tokens, each made once, and the tokens' bytes."""
    symbols = np.array(r.sample(range(300), 256), np.uint32)
    names = {bytes([byte]): int(symbols[byte]) for byte in range(256)}
    known, merges = [bytes([byte]) for byte in letters], []
    while len(merges) < n:
        left, right = r.choices(known, k=2)
        if left + right not in names:
            names[left + right] = 300 + len(merges)
            merges.append((names[left], names[right], names[left + right]))
            known.append(left + right)
    by_id = [b""] * (300 + n)
    for name, token in names.items():
        by_id[token] = name
    return symbols, np.array(merges, np.uint32), by_id


def random_pieces(r: random.Random, ids: list[int], n_pieces: int, dtype) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ids, the ends of texts, and marks of pieces; a text has some pieces, or none."""
    pieces = [r.choices(ids, k=r.choice([1, 1, 2, 5, 30])) for _ in range(n_pieces)]
    at = np.cumsum([0, *map(len, pieces)], dtype=np.int64)
    texts = np.array(sorted([0, n_pieces, *r.choices(range(n_pieces + 1), k=n_pieces // 2)]))
    return np.array([i for piece in pieces for i in piece], dtype), at[texts], marks_of(r, at)


def marks_of(r: random.Random, at: np.ndarray) -> np.ndarray:
    """Marks of ids, with pieces that begin at at[:-1]; any other id may have the mark UNSURE."""
    marks = np.array([2 * r.randint(0, 1) for _ in range(at[-1])], np.uint8)
    marks[at[:-1]] = 1
    return marks


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
@pytest.mark.parametrize("much_work", [-10000, 4096])
def test_tokens_of_words_become_those_of_pieces(seed, dtype, much_work):
    """Pieces are cut anywhere, each part is encoded alone, and one piece is a token that no merge makes."""
    r = random.Random(seed)
    letters = b"ab" if seed % 2 else b"abc d"
    symbols, merges, _ = vocabulary(r, letters, 40)
    tables = joints.joints(symbols, merges, 341)
    known, seen = joints.new_memory(), 0
    for _ in range(20):
        pieces = [bytes(r.choices(letters, k=r.choice([1, 2, 3, 9, 200]))) for _ in range(9)]
        cuts = [sorted({0, len(text), *r.choices(range(len(text)), k=r.randint(0, 9))}) for text in pieces]
        words = [text[a:b] for text, at in zip(pieces, cuts, strict=True) for a, b in itertools.pairwise(at)]
        encoded = [alone(list(word), symbols, tables, dtype) for word in words]
        ids = np.concatenate(encoded)
        at = np.cumsum([0, *map(len, encoded)])
        of_piece = at[np.cumsum([0, *(len(cut) - 1 for cut in cuts)])]
        marks = np.zeros(len(ids), np.uint8)
        marks[at[:-1]] = 2
        marks[of_piece[:-1]] = 1
        ends = of_piece[[0, 0, 2, 3, 3, 7, 9]]
        n_bytes = sum(map(len, pieces))
        expected = reference.fit_tokens(ids, ends, marks, n_bytes, tables)
        found = joints.fit_tokens(ids, ends, marks, n_bytes, tables, known, much_work)
        assert all(map(np.array_equal, found[:2], expected[:2]))
        assert np.array_equal(found[2] & 1, expected[2])
        seen += not np.array_equal(found[0], ids)
    assert seen
    cut = np.array([0, 1]), np.ones(1, np.uint8), 0
    assert joints.fit_tokens(np.array([340], dtype), *cut, tables)[0].tolist() == [340]


def alone(word: list[int], symbols: np.ndarray, tables, dtype) -> np.ndarray:
    """The tokens of a word alone."""
    ids, marks = symbols[word].astype(dtype), np.zeros(len(word), np.uint8)
    marks[0] = 1
    return reference.fit_tokens(ids, np.array([0, len(ids)]), marks, len(word), tables)[0]


def test_vocabularies_without_joints():
    """A token that two merges make; one that is merged before it is made; a part that nothing makes."""
    symbols = np.arange(256, dtype=np.uint32)
    for merges in ([(97, 98, 256), (98, 97, 256)], [(97, 257, 256), (97, 98, 257)], [(97, 299, 256)], [(97, 98, 99)]):
        assert joints.joints(symbols, np.array(merges, np.uint32), 300) is None
    assert joints.joints(symbols, np.zeros((0, 3), np.uint32), 300) is not None


@pytest.mark.parametrize("veto", [None, Veto(2, 6, False), Veto(4), Veto(colons=False)])
@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_pairs_and_runs(veto, dtype):
    r = random.Random(3)
    _, _, names = vocabulary(r, b"ab :", 60)
    text, ends = np.frombuffer(b"".join(names), np.uint8), np.cumsum([0, *map(len, names)], dtype=np.int64)
    traits = token_traits(text, ends, veto)
    ids, _, marks = random_pieces(r, [97, 98, *range(300, 360)], 200, dtype)
    bits = 8
    dealt, starts = pairs.deal_pairs(ids, marks, traits, veto, bits)
    for found, expected in zip((dealt, starts), reference.deal_pairs(ids, marks, traits, veto, bits), strict=True):
        assert np.array_equal(found, expected)
    cells, others = np.full((2, 1 << bits), 2**32 - 2, np.uint32)
    cells[:200] = others[:200] = 0
    pairs.add_pairs(cells, dealt)
    reference.add_pairs(others, dealt)
    assert np.array_equal(cells, others) and cells.max() == 2**32 - 1
    for threshold in (1, 5, 9, 2**32 - 1):
        frequent = pairs.frequent_cells(cells, threshold)
        assert np.array_equal(np.unpackbits(frequent, bitorder="little"), cells >= threshold)
        found = pairs.cut_runs(ids, marks, traits, veto, frequent)
        expected = reference.cut_runs(ids, marks, traits, veto, frequent)
        assert all(map(np.array_equal, found, expected))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_runs_are_merged(seed, dtype):
    """Also runs of more than 64 tokens, which a heap merges."""
    r = random.Random(seed)
    _, merges, _ = vocabulary(r, b"ab" if seed % 2 else b"abcdefghijk", 50)
    tables = runs.run_tables(merges, 350)
    letters = np.unique(merges[:, :2][merges[:, :2] < 300]).tolist()  # tokens that none of the merges makes
    pieces = random_pieces(r, [*letters, 299], 60, dtype)
    ids, ends, marks = pieces
    long = np.append(ids, r.choices(letters[:2], k=300)).astype(dtype)
    with_long = long, np.append(ends, len(long)), np.append(marks, [1, *[0] * 299]).astype(np.uint8)
    for ids, ends, marks in (pieces, with_long):
        found = runs.merge_runs(ids, ends, marks, tables)
        expected = reference.merge_runs(ids, ends, marks, tables)
        assert all(map(np.array_equal, found, expected)) and len(found[0]) < len(ids)
