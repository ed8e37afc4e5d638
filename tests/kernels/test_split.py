"""The cutting of pieces, and the packing and rewriting of their bytes, against the plain versions."""

import numpy as np
import pytest
from gputok.kernels import Automaton
from gputok.kernels.cpu import rewrite as ragged
from gputok.kernels.cpu import split

from tests import reference

ALPHABET = "ab \n~é‿中😀"
CUTS = {  # cut[a, b]: between a span and the next, 1 being a match
    "isolated": [[1, 1], [1, 1]],
    "contiguous": [[0, 1], [1, 0]],
    "merged_with_previous": [[1, 0], [1, 1]],
    "merged_with_next": [[1, 1], [0, 1]],
}


def random_tables(rng: np.random.Generator) -> Automaton:
    """Any automaton: the kernel must not rely on what a compiler of patterns would make."""
    n_states, n_classes = rng.integers(1, 5, 2)
    member = rng.integers(0, n_classes, (3, 128), np.uint8)
    delta = rng.integers(0, n_states, (n_states, n_classes + 1)).astype(np.uint16)
    delta[rng.random(delta.shape) < 0.4] = 0xFFFF
    delta[:, -1] = 0xFFFF
    accept = (rng.random(delta.shape) < 0.4).astype(np.uint8)
    page, strong = rng.integers(0, 3, 0x110000 >> 7).astype(np.uint16), np.zeros((n_classes, n_classes), np.uint8)
    return Automaton(member[0], page, member, delta, accept, strong, gapless=False)


def random_pieces(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    texts = ["".join(rng.choice(list(ALPHABET), rng.integers(0, 12))).encode() for _ in range(rng.integers(0, 6))]
    offsets = np.cumsum([0, *map(len, texts)], dtype=np.int64)
    keep = rng.random(len(texts)) < 0.8  # pieces may leave gaps in the text
    return np.frombuffer(b"".join(texts), np.uint8), offsets[:-1][keep], offsets[1:][keep]


@pytest.mark.parametrize("behavior", CUTS)
def test_split_words_equals_its_plain_version(behavior):
    rng = np.random.default_rng(len(behavior))
    cut = np.array(CUTS[behavior], bool)
    for _ in range(300):
        tables, (data, start, end) = random_tables(rng), random_pieces(rng)
        frozen = rng.random(len(start)) < 0.3 if rng.random() < 0.5 else None
        drop = rng.random(2) < 0.3
        arguments = data, start, end, frozen, tables, cut, drop
        expected, result = reference.split_words(*arguments), split.split_words(*arguments)
        for a, b in zip(expected, result, strict=True):
            assert a.tolist() == b.tolist(), (data.tobytes().decode(), start, end, frozen, tables)


def test_words_are_as_many_as_characters():
    """The room for words grows as they are found; the other pieces keep theirs."""
    one = np.zeros((1, 128), np.uint8)
    each = Automaton(
        one[0],
        np.zeros(0x110000 >> 7, np.uint16),
        one,
        np.array([[1, 0xFFFF], [0xFFFF, 0xFFFF]], np.uint16),
        np.array([[0, 0], [1, 1]], np.uint8),
        one[:, :1],
        gapless=False,
    )
    data = np.full(10_000, ord("x"), np.uint8)
    bounds = np.array([0, 9_000, 9_000, 10_000])
    frozen = np.array([False, True, True])
    cut, drop = np.ones((2, 2), bool), np.zeros(2, bool)
    start, end, rows = split.split_words(data, bounds[:-1], bounds[1:], frozen, each, cut, drop)
    assert rows.tolist() == [0, 9_000, 9_001, 9_002]
    assert start.tolist() == [*range(9_001), 9_000]
    assert end.tolist() == [*range(1, 9_001), 9_000, 10_000]


def test_gather_and_rewrite_equal_their_plain_versions():
    rng = np.random.default_rng(3)
    for _ in range(200):
        data, start, end = random_pieces(rng)
        for a, b in zip(reference.gather(data, start, end), ragged.gather(data, start, end), strict=True):
            assert a.tolist() == b.tolist()
        widths = rng.integers(0, 5, 257, np.uint32)
        codes = rng.integers(0, 1 << 32, 257, np.uint64).astype(np.uint32)
        mode = rng.integers(0, 4, len(start), np.uint8)
        mode[start == end] &= ragged.MAP  # nothing is put before an empty piece
        origin = rng.integers(0, 99, (2, len(data))).astype(np.int32)
        for alignment in (None, (origin[0], origin[1])):
            arguments = data, start, end, mode, np.stack([widths, codes]), alignment
            expected, result = reference.rewrite_bytes(*arguments), ragged.rewrite_bytes(*arguments)
            assert expected[0].tobytes() == result[0].tobytes()
            assert expected[1].tolist() == result[1].tolist()
            if alignment is None:
                assert expected[2] is result[2] is None
            else:
                assert np.array_equal(expected[2], result[2])


def test_rewriting_aligns_inserted_text_with_its_origin():
    """Metaspace: each space becomes ▁, and a ▁ put before the piece lies where its first character does."""
    table = np.stack([np.ones(257), np.arange(257)]).astype(np.uint32)
    table[:, [ord(" "), ragged.PREFIX]] = [[3], [int.from_bytes("▁".encode(), "little")]]
    data = np.frombuffer(b"a b", np.uint8)
    origin = np.arange(3, dtype=np.int32)
    out, offsets, (start, end) = ragged.rewrite_bytes(
        data, np.array([0]), np.array([3]), np.array([3], np.uint8), table, (origin, origin + np.int32(1))
    )
    assert (out.tobytes().decode(), offsets.tolist()) == ("▁a▁b", [0, 8])
    assert start.tolist() == [0, 0, 0, 0, 1, 1, 1, 2]
    assert end.tolist() == [1, 1, 1, 1, 2, 2, 2, 3]
