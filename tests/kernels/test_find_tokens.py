"""Finding added tokens: the kernel against the plain version, on strings and text of few characters."""

import numpy as np
import pytest
from gputok.kernels.cpu import find_tokens as added
from gputok.kernels.cpu.trie import ROOT, build_trie, grow_trie

from gputok.text.pieces import TextBatch
from gputok.tokens.vocabulary import pack
from tests import reference


def trie_of(batch):
    return build_trie(batch.data, batch.offsets, np.arange(len(batch.offsets) - 1))


def test_a_worked_example():
    """The longest string at the leftmost position; white space on its right goes with it."""
    names, text = TextBatch.from_strings(["ab", "abc", "b"]), TextBatch.from_strings(["xabc  b", "", "a"])
    trie = trie_of(names)
    options = np.array([0, added.RSTRIP, 0], np.uint8)
    skip = np.array([False, False, True])
    start, end, string, rows = added.find_tokens(
        text.data, text.offsets[:-1], text.offsets[1:], skip, trie, options, np.zeros(0, np.uint8)
    )
    assert [text.data[a:b].tobytes() for a, b in zip(start, end, strict=True)] == [b"x", b"abc  ", b"b", b"a"]
    assert string.tolist() == [-1, 1, 2, -1]
    assert rows.tolist() == [0, 3, 3, 4]


def test_what_free_slots_hold_is_never_an_edge():
    """In a compiled tokenizer it may be anything, and another thread may just write it."""
    names, text = TextBatch.from_strings(["ab", "b"]), TextBatch.from_strings(["xaab zb"])
    trie = trie_of(names)
    trie[trie[:, 0] == 0, 1] = np.uint64(0x7FFFFFFF << 32 | 77)
    skip, options = np.array([False]), np.zeros(2, np.uint8)
    start, end, string, _ = added.find_tokens(
        text.data, text.offsets[:-1], text.offsets[1:], skip, trie, options, np.zeros(0, np.uint8)
    )
    found = [text.data[a:b].tobytes() for a, b in zip(start, end, strict=True)]
    assert (found, string.tolist()) == ([b"xa", b"ab", b" z", b"b"], [-1, 0, -1, 1])


@pytest.mark.parametrize("seed", range(20))
def test_equals_the_plain_version(seed):
    from gputok.pipeline.added_vocabulary import word_bits

    rng = np.random.default_rng(seed)
    alphabet = np.array(["a", "b", "é", "\u3000", " ", "\x85", "\x1c", "😀", "ᚡ"])
    names = sorted({"".join(rng.choice(alphabet, rng.integers(1, 5))) for _ in range(8)})
    texts = ["".join(rng.choice(alphabet, rng.integers(0, 30))) for _ in range(60)]
    packed, text = TextBatch.from_strings(names), TextBatch.from_strings(texts)
    trie = trie_of(packed)
    options = rng.integers(0, 16, len(names)).astype(np.uint8)
    skip = rng.random(len(texts)) < 0.2
    arguments = text.data, text.offsets[:-1], text.offsets[1:], skip, trie, options, word_bits()
    found, expected = added.find_tokens(*arguments), reference.find_tokens(*arguments)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        assert one.tolist() == other.tolist()


@pytest.mark.parametrize(
    ("names", "n_listed"),
    [
        (["<|a|>", "<|b|>", "<|a|><"], added.ONE_PAIR),
        (["<|a|>", "</a>", "<a>", "[a"], 2 * added.FEW),  # four pairs
        (["<|a|>", "</a>", "<a>", "[a", "[b"], added.FEW),  # five
        (["<|a|>", "|"], added.FEW),  # a token of a single byte has no pair
        (["a>", "b>", "<|", "|a", "[a"], added.FEW + 1),  # five first bytes
    ],
)
def test_what_is_searched_for_in_long_text(names, n_listed):
    """64 positions at a time, for pairs of first bytes if they are few, else for first bytes, else one by one."""
    rng = np.random.default_rng(len(names))
    parts = np.array([*names, "<", "|", "a", "/", "[", ">", "é", "x" * 50])
    packed = TextBatch.from_strings(names)
    trie = trie_of(packed)
    assert len(added.first_bytes(trie)[1]) == n_listed
    options, nothing = np.zeros(len(names), np.uint8), np.zeros(0, np.uint8)
    for n_parts in (3, 20, 100) * 40:
        text = TextBatch.from_strings(["".join(rng.choice(parts, n_parts)) for _ in range(3)])
        arguments = text.data, text.offsets[:-1], text.offsets[1:], np.zeros(3, bool), trie, options, nothing
        found, expected = added.find_tokens(*arguments), reference.find_tokens(*arguments)
        for one, other in zip(found, expected, strict=True):
            assert one.tolist() == other.tolist()
        assert added.has_token(text.data, trie, len(names), added.first_bytes(trie)) == (found_in_one(text, trie) > 0)


def found_in_one(text, trie) -> int:
    """The number of strings in all documents as one text."""
    one, end = np.zeros(1, np.int64), text.offsets[-1:]
    options, nothing = np.zeros(99, np.uint8), np.zeros(0, np.uint8)
    return np.count_nonzero(added.find_tokens(text.data, one, end, np.zeros(1, bool), trie, options, nothing)[2] >= 0)


@pytest.mark.parametrize("names", [["ab"], ["a", "a", "a"], ["<a", "b", "[c", "(d", "{e"]])
def test_one_string_anywhere(names):
    """Also across documents, at both ends, and of equal strings."""
    packed = TextBatch.from_strings(names)
    trie = trie_of(packed)
    first = added.first_bytes(trie)
    for before in (0, 1, 63, 64, 65, 200):
        for name in names:
            text = np.frombuffer(("." * before + name).encode(), np.uint8)
            assert added.has_token(text, trie, len(names), first) and added.has_token(
                np.append(text, text), trie, len(names), first
            )
            assert not added.has_token(text[:before], trie, len(names), first)


def test_many_tokens_in_one_piece():
    """More pieces than the first buffers hold."""
    names, text = TextBatch.from_strings(["ab"]), TextBatch.from_strings(["abc" * 5000])
    trie = trie_of(names)
    nothing = np.zeros(0, np.uint8)
    start, end, string, rows = added.find_tokens(
        text.data, text.offsets[:-1], text.offsets[1:], np.zeros(1, bool), trie, np.zeros(1, np.uint8), nothing
    )
    assert rows.tolist() == [0, 10_000]
    assert (np.diff(start) == np.tile([2, 1], 5000)[:-1]).all() and (start[1:] == end[:-1]).all()
    assert string.tolist() == [0, -1] * 5000


@pytest.mark.parametrize("seed", range(5))
def test_a_trie_that_grows(seed):
    """Strings are added one by one; who looks for the first strings only finds what it found before them."""
    rng = np.random.default_rng(seed)
    alphabet = np.array(["a", "b", "é"])
    names = [*dict.fromkeys("".join(rng.choice(alphabet, rng.integers(1, 9))) for _ in range(300))]
    names += [f"{name}{i}" for i, name in enumerate(names)] + ["x" * 2000]
    text = TextBatch.from_strings(["".join(rng.choice([*alphabet, *map(str, range(10))], 5000)), "x" * 4001])
    edges, n_nodes, one = np.zeros((8, 2), np.uint64), ROOT, np.zeros(2, bool)
    pieces, tries = (text.data, text.offsets[:-1], text.offsets[1:], one), []
    for i, name in enumerate(names):
        edges, n_nodes = grow_trie(edges, n_nodes, *pack([name]), np.array([i]), replace=False)
        tries.append((edges, np.zeros(i + 1, np.uint8), np.zeros(0, np.uint8)))
    for i in range(0, len(names), 50):
        few = TextBatch.from_strings(names[: i + 1])
        expected = added.find_tokens(*pieces, trie_of(few), *tries[i][1:])
        for one, other in zip(added.find_tokens(*pieces, *tries[i]), expected, strict=True):
            assert one.tolist() == other.tolist()
    assert grow_trie(edges, n_nodes, *pack([names[7]]), np.array([len(names)]), replace=False)[1] == -1
