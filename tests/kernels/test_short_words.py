"""Short words that are merged side by side, against the plain version and `tokenizers`."""

import itertools

import numpy as np
import pytest
from gputok.kernels.cpu import lookup
from gputok.kernels.cpu.encode_words import short_words

from gputok import models
from gputok.text.byte_alphabet import BYTE_CHARACTERS
from tests import reference
from tests.kernels.test_kernels import byte_model, packed, random_model, random_words


@pytest.mark.parametrize("seed", range(12))
def test_short_words_side_by_side(seed):
    """More words than take turns, of all lengths, in any order; ids are positions or not; trained merges or not."""
    rng = np.random.default_rng(seed)
    model = random_model(rng, learnt=seed % 3 > 0, ignore_merges=seed % 2 > 0)
    if seed % 4 == 0:
        vocabulary = {token: 7 * i + 5 for token, i in model.get_vocab().items()}
        merges = [tuple(pair) for pair in model.to_dict()["merges"]]
        model = models.BPE(vocabulary, merges, ignore_merges=model.ignore_merges)
    elif seed % 4 == 1:
        made = {left + right: (left, right) for left, right in model.to_dict()["merges"]}
        model = byte_model([*made.values()], ignore_merges=model.ignore_merges)
        tables = short_words.byte_words(model.byte_tables)
        assert not len(tables.merged) and tables.first == 256
    words = [word for _ in range(6) for word in random_words(rng)]
    words += [bytes(rng.choice([*b"abc "], short_words.MOST_BYTES + k).tolist()) for k in (-1, 0, 1, 2, 90)]
    words = [words[i] for i in rng.permutation(len(words))]
    long = [word for word in words if len(word) > short_words.MOST_BYTES]
    assert len(long) >= 3
    few = [words[:n] for n in range(1, short_words.GROUP + 2)]
    for some in (words, *few, long, [b"", *long, b"", b"a"], [b""] * 3, [*words, b""], []):
        data, ends = packed(some)
        tables = model.byte_tables
        start, end = ends[:-1], ends[1:]
        longer = end - start > short_words.MOST_BYTES  # which another kernel encodes
        ids, _, _, rows = reference.encode_words(data, start[longer], end[longer], tables)
        model_and_longer = short_words.byte_words(tables), (ids, rows)
        ids, rows = short_words.encode_short_words(data, start, end, *model_and_longer)
        plain = reference.encode_short_words(data, start, end, *model_and_longer)
        assert ids.tolist() == plain[0].tolist() and rows.tolist() == plain[1].tolist()
        expected = reference.encode_words(data, start, end, tables)
        assert ids.tolist() == expected[0].tolist() and rows.tolist() == expected[3].tolist()


def encoded(words, model):
    """The ids of each word, side by side, one by one, and by the plain version."""
    data, ends = packed(words)
    tables = short_words.byte_words(model.byte_tables)
    ids, rows = short_words.encode_short_words(data, ends[:-1], ends[1:], tables)
    plain = reference.encode_short_words(data, ends[:-1], ends[1:], tables, short_words.NO_WORDS)
    assert ids.tolist() == plain[0].tolist() and rows.tolist() == plain[1].tolist()
    expected = reference.encode_words(data, ends[:-1], ends[1:], model.byte_tables)
    assert ids.tolist() == expected[0].tolist() and rows.tolist() == expected[3].tolist()
    with_positions = model.tokenize_pieces(data, ends[:-1], ends[1:], byte_level=True)
    for found, wanted in zip(with_positions, expected, strict=True):
        assert found.tolist() == wanted.tolist()
    return [ids[first:last].tolist() for first, last in itertools.pairwise(rows)]


@pytest.mark.parametrize("seed", range(40))
def test_characters_that_begin_as_one_symbol(seed):
    """Merges inside characters and across their edges, in any order, of characters of two to four bytes."""
    rng = np.random.default_rng(seed)
    characters = [*"ab éèж中串丠😀😂𠀀"]
    bytes_ = sorted({BYTE_CHARACTERS[byte] for byte in "".join(characters).encode()})
    tokens, merges = [*bytes_], []
    for _ in range(200):
        # More often of bytes that lie side by side in words
        text = "".join(rng.choice(characters, 3)).encode()
        first, last = sorted(rng.choice(len(text) + 1, 2, replace=False).tolist())
        token = "".join(BYTE_CHARACTERS[byte] for byte in text[first:last])
        halves = [(token[:i], token[i:]) for i in range(1, len(token))]
        halves = [pair for pair in halves if pair[0] in tokens and pair[1] in tokens]
        if halves and token not in tokens:
            merges += rng.permutation(halves)[:2].tolist()
            tokens.append(token)
    order = range(len(merges)) if seed % 2 else rng.permutation(len(merges))
    model = byte_model([tuple(merges[i]) for i in order])
    words = ["".join(rng.choice(characters, rng.integers(1, 25))) for _ in range(200)]
    encoded([word for word in (word.encode() for word in words) if len(word) <= short_words.MOST_BYTES], model)


@pytest.mark.parametrize("seed", range(12))
def test_words_of_lines(seed):
    """A space stands for ▁, and characters that are no tokens begin as their bytes: of one byte, and of more."""
    rng = np.random.default_rng(seed)
    characters = [*"ab▁éж串😀", "." if seed % 3 else "c"]
    tokens = [f"<0x{byte:02X}>" for byte in range(256)] + characters
    merges = []
    while len(merges) < 40:
        left, right = (tokens[i] for i in rng.integers(256, len(tokens), 2))
        if left + right not in tokens:
            merges.append((left, right))
            tokens.append(left + right)
    ids = {token: i if seed % 2 else 3 * i + 1 for i, token in enumerate(tokens)}
    order = range(len(merges)) if seed % 4 < 2 else rng.permutation(len(merges)).tolist()
    model = models.BPE(ids, [merges[i] for i in order], byte_fallback=True)
    tables = model.line_words
    assert len(tables.wide) and (len(tables.merged) > 0) == (seed % 4 >= 2)
    drawn = [*"aabb  ▁éж串😀", ".", "c", "ñ", "漢", "🙂", "\0"]
    words = ["".join(rng.choice(drawn, rng.integers(0, 40 if i % 9 else 100))).encode() for i in range(300)]
    words += [size * b"a" for size in (61, 62, 63)] + [b" ", b"\x7f", "é".encode() * 31, "🙂".encode() * 15]
    for some in (words, words[:1], words[-17:], []):
        data, ends = packed(some)
        found, rows = model.encode_lines(data, ends[:-1], ends[1:])
        written, new_ends = packed([word.replace(b" ", "▁".encode()) for word in some])
        expected = reference.encode_words(written, new_ends[:-1], new_ends[1:], model.tables(False))
        assert found.tolist() == expected[0].tolist() and rows.tolist() == expected[3].tolist()
        short = [word for word in some if len(word) <= short_words.MOST_BYTES]
        data, ends = packed(short)
        found = short_words.encode_short_words(data, ends[:-1], ends[1:], tables)
        plain = reference.encode_short_words(data, ends[:-1], ends[1:], tables, short_words.NO_WORDS)
        assert found[0].tolist() == plain[0].tolist() and found[1].tolist() == plain[1].tolist()


def test_lines_that_are_more_than_merges_of_characters():
    """No ▁ among the tokens, no tokens for bytes, or words that stay whole: then words are encoded one by one."""
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    for tokens, options in (
        (["a", "b", "ab"], {"byte_fallback": True}),
        (["▁", "a", "b", "ab"], {}),
        (["▁", "a", "b", "ab"], {"byte_fallback": True, "ignore_merges": True}),
    ):
        ids = {token: i for i, token in enumerate([*tokens, *(bytes_ if options else [])])}
        model = models.BPE(ids, [("a", "b")], **options)
        assert model.line_words is None
        data, ends = packed([b" ab", b"ba"])
        found, rows = model.encode_lines(data, ends[:-1], ends[1:])
        written, new_ends = packed(["▁ab".encode(), b"ba"])
        expected = reference.encode_words(written, new_ends[:-1], new_ends[1:], model.tables(False))
        assert found.tolist() == expected[0].tolist() and rows.tolist() == expected[3].tolist()


def test_a_merge_across_an_edge_comes_first():
    """é is C3 A9, which merge before anything else, or after a letter took C3, or after another letter took A9."""
    inside, before, after = ("Ã", "©"), ("b", "Ã"), ("©", "a")
    words = [word.encode() for word in ("é", "bé", "éa", "béa", "aéb")]
    expected = {
        (inside, before, after): ["Ã©", "b Ã©", "Ã© a", "b Ã© a", "a Ã© b"],
        (before, inside, after): ["Ã©", "bÃ ©", "Ã© a", "bÃ ©a", "a Ã© b"],
        (after, inside, before): ["Ã©", "b Ã©", "Ã ©a", "bÃ ©a", "a Ã© b"],
    }
    for merges, tokens in expected.items():
        model = byte_model([*merges])
        found = [" ".join(map(model.id_to_token, ids)) for ids in encoded(words, model)]
        assert found == tokens, merges


def test_side_by_side_when_the_table_of_pairs_is_full():
    """Slots without a free one among them: the search goes on after four, and round the end of the table."""
    model = random_model(np.random.default_rng(4))
    tables = model.byte_tables
    slots = tables.pairs.slots[tables.pairs.slots != lookup.FREE]
    crowded = np.full(1 << len(slots).bit_length(), lookup.FREE, np.uint64)
    pairs = tables.pairs._replace(slots=crowded)
    rank_bits = 64 - 2 * pairs.bits
    keys, mask = slots >> np.uint64(rank_bits), (1 << rank_bits) - 1
    columns = [keys >> np.uint64(pairs.bits), keys & np.uint64((1 << pairs.bits) - 1), slots & np.uint64(mask)]
    lookup._index_pairs(*(column.astype(np.uint32) for column in columns), pairs)
    words = random_words(np.random.default_rng(5)) * 3
    data, ends = packed([word for word in words if len(word) <= short_words.MOST_BYTES])
    tables = tables._replace(pairs=pairs)
    ids, rows = short_words.encode_short_words(data, ends[:-1], ends[1:], short_words.byte_words(tables))
    expected = reference.encode_words(data, ends[:-1], ends[1:], tables)
    assert ids.tolist() == expected[0].tolist() and rows.tolist() == expected[3].tolist()


def test_longer_words_without_ids_are_refused():
    data, ends = packed([b"a" * (short_words.MOST_BYTES + 1), b"a"])
    model = short_words.byte_words(random_model(np.random.default_rng(0)).byte_tables)
    with pytest.raises(ValueError, match="1 words have more than 62 bytes, but `longer` has 0"):
        short_words.encode_short_words(data, ends[:-1], ends[1:], model)
