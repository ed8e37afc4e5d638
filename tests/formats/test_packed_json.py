"""The tables of a tokenizer.json, read by a kernel: the same as a JSON parser reads, or left to a JSON parser."""

from __future__ import annotations

import itertools
import json
import random

import numpy as np
import pytest
from gputok.kernels.cpu import json_tables, lookup

from gputok import Tokenizer, models
from gputok.models.bpe.model import JoinedMerges
from gputok.pipeline import serialize
from gputok.tokens.vocabulary import Vocabulary

CHARACTERS = [*'abc "\\/\b\f\n\r\t\x00\x1f\x7fé中😀{}[]:,#', "\ud7ff", "\ue000", "\uffff"]


def strings(data, offsets):
    raw = bytes(data)
    return [raw[a:b].decode() for a, b in itertools.pairwise(offsets)]


def tokens_of(words):
    """A vocabulary of distinct words, as a kernel finds them."""
    encoded = [word.encode() for word in dict.fromkeys(words)]
    offsets = np.cumsum([0, *map(len, encoded)])
    return lookup.index_strings(np.frombuffer(b"".join(encoded), np.uint8), offsets), [one.decode() for one in encoded]


def parsed(text: bytes, begin: int = 0):
    """(value, end) by Python's parser, an object as its items; None if it isn't JSON."""
    decoder = json.JSONDecoder(object_pairs_hook=list, strict=True)
    try:
        value, end = decoder.raw_decode(text[begin:].decode())
    except ValueError:
        return None
    return value, begin + len(text[begin:].decode()[:end].encode())


def word(rng, most=6):
    return "".join(rng.choices(CHARACTERS, k=rng.randrange(most)))


def random_table(rng):
    return {word(rng): rng.choice([0, 7, rng.randrange(2**32 - 1), 2**32 - 2]) for _ in range(rng.randrange(8))}


def random_merges(rng, n):
    """Merges, and the words of a vocabulary that has most of what they make."""
    pairs = [(word(rng, 20), word(rng, 20)) for _ in range(n)]
    made = [left + right for left, right in pairs if rng.random() < 0.8]
    if rng.random() < 0.3:  # each pair makes the token of the pair before
        pairs += [(left[:1], left[1:] + right) for left, right in pairs]
    words = [*itertools.chain(*pairs), *rng.sample(made, len(made))]
    return pairs, words + made if rng.random() < 0.5 else [*made, *words]


def written(rng, value):
    return json.dumps(value, ensure_ascii=rng.random() < 0.5, indent=rng.choice([None, 0, 2])).encode()


@pytest.mark.parametrize("seed", range(3))
def test_tables_are_what_a_parser_reads(seed):
    rng = random.Random(seed)
    for _ in range(500):
        text = written(rng, random_table(rng))
        before, after = b" " * rng.randrange(3), rng.choice([b"", b"}", b" , 1"])
        table = json_tables.read_table(np.frombuffer(before + text + after, np.uint8), len(before))
        value, end = parsed(before + text + after, len(before))
        assert table is not None
        found = zip(strings(table.data, table.offsets), table.numbers.tolist(), strict=True)
        assert [*found] == [*map(tuple, value)] and table.end == end


def expected_merges(pairs, words):
    """The positions of what merges name, None if a left or a right token is unknown."""
    at = {one: i for i, one in enumerate(words)}
    if any(token not in at for pair in pairs for token in pair):
        return None
    return [[at[left], at[right], at.get(left + right, 0xFFFFFFFF)] for left, right in pairs]


@pytest.mark.parametrize("seed", range(3))
def test_merges_are_what_a_parser_reads(seed):
    rng = random.Random(seed)
    n_read = 0
    for _ in range(200):
        pairs, words = random_merges(rng, rng.choice([0, 1, 7, 63, 64, 65, 300]))
        table, words = tokens_of(words)
        as_lines = rng.random() < 0.5
        if as_lines:
            pairs = [pair for pair in pairs if " " not in "".join(pair)]
        text = written(rng, [" ".join(pair) for pair in pairs] if as_lines else pairs)
        before, after = b" " * rng.randrange(3), rng.choice([b"", b"}", b" , 1"])
        found = json_tables.read_merges(np.frombuffer(before + text + after, np.uint8), len(before), table)
        assert found is not None
        assert found[0].tolist() == expected_merges(pairs, words) and found[1] == len(before) + len(text)
        n_read += len(pairs)
    assert n_read > 1000


def damaged(rng, text):
    text = bytearray(text)
    for _ in range(rng.randrange(1, 3)):
        at = rng.randrange(len(text))
        text[at : at + rng.randrange(2)] = rng.choice(
            [b"", b'"', b"\\", b"u", b"9", b"-", b".", b"e", b",", b"[", b"\xff", b" "]
        )
        text = text or bytearray(b"x")
    return bytes(text)


@pytest.mark.parametrize("seed", range(3))
def test_damaged_tables_are_read_alike_or_refused(seed):
    rng = random.Random(seed)
    n_read = 0
    for _ in range(3000):
        text = damaged(rng, written(rng, random_table(rng)))
        table = json_tables.read_table(np.frombuffer(text, np.uint8), 0)
        if table is None:
            continue
        try:
            found = [*zip(strings(table.data, table.offsets), table.numbers.tolist(), strict=True)]
        except UnicodeDecodeError:
            continue  # `read_packed` looks whether the text is UTF-8
        n_read += 1
        value, end = parsed(text)
        assert found == [*map(tuple, value)] and table.end == end
    assert n_read > 30


@pytest.mark.parametrize("seed", range(3))
def test_damaged_merges_are_read_alike_or_refused(seed):
    rng = random.Random(seed)
    n_read = 0
    table, words = tokens_of(["", "a", "b", "c", "ab", "abc", "ca", '"', "\\", ",", "["])
    for _ in range(3000):
        pairs = [tuple(rng.choices(words, k=2)) for _ in range(rng.randrange(8))]
        text = damaged(rng, written(rng, rng.choice([[" ".join(pair) for pair in pairs], pairs])))
        found = json_tables.read_merges(np.frombuffer(text, np.uint8), 0, table)
        if found is None:
            continue
        n_read += 1
        value, end = parsed(text)
        assert all(isinstance(one, list) or one.count(" ") == 1 for one in value)
        value = [tuple(one.split(" ")) if isinstance(one, str) else one for one in value]
        assert found[0].tolist() == expected_merges(value, words) and found[1] == end
    assert n_read > 100


@pytest.mark.parametrize("merges", ['["x a"]', '["a x"]', '["a", "b"]', '["a b c"]', '["a  b"]', '["#version: 0.2"]'])
def test_other_merges_are_left_to_python(merges):
    table, _ = tokens_of(["a", "b", "c", "", "#version:", "0.2"])
    assert json_tables.read_merges(np.frombuffer(merges.encode(), np.uint8), 0, table) is None


def test_long_merges():
    """Tokens longer than a group's memory, and as long as the longest one."""
    table, words = tokens_of(["a" * n for n in (1, 2, 3, 9000, 9001, 18002, 20000)])
    pairs = [("a" * m, "a" * n) for m, n in ((9000, 1), (9001, 9001), (1, 1), (1, 2), (20000, 20000))] * 40
    text = np.frombuffer(json.dumps(pairs).encode(), np.uint8)
    assert json_tables.read_merges(text, 0, table)[0].tolist() == expected_merges(pairs, words)
    text = np.frombuffer(json.dumps([("a" * 50_000, "a")]).encode(), np.uint8)
    assert json_tables.read_merges(text, 0, table) is None


@pytest.mark.parametrize(
    "text",
    [
        '{"a": -1}',
        '{"a": 1.0}',
        '{"a": 1e2}',
        '{"a": 01}',
        '{"a": 4294967295}',
        '{"a": 99999999999999999999}',
        '{"a": true}',
        '{"a": "b"}',
        '{"a" 1}',
        '{"a": 1,}',
        '{"a": 1',
        '{"a',
        "{",
        "[",
        "",
        "1",
        '["a", 1]',
        '["a"]',
        '["a" "b"]',
        '["a", ["a", "b"]]',
        '[["a"]]',
        '[["a", "b", "a"]]',
        '[["a", "b"], "a b"]',
        '["a b",]',
        '["a b" "a b"]',
        *(f'{{"{wrong}": 1}}' for wrong in ("\\ud800", "\\udc00", "\\ud800\\u0041", "\\u00g0", "\\x", "a\nb")),
        '{"\\ud800',
    ],
)
def test_other_values_are_left_to_a_parser(text):
    data = np.frombuffer(text.encode(), np.uint8)
    assert json_tables.read_table(data, 0) is None
    assert json_tables.read_merges(data, 0, tokens_of(["a", "b"])[0]) is None


def file_of(vocab: str, merges: str, more: str = "") -> bytes:
    """A tokenizer.json long enough to be read by a kernel."""
    padding = " " * (1 << 16)
    model = f'{{"type": "BPE", "vocab": {vocab}, "merges": {merges}}}'
    return f'{{"version": "1.0",{more}{padding} "model": {model}}}'.encode()


VOCAB = '{"a": 0, "b": 1, "vocab": 2, "\\"vocab": 3, "merges": 4, "ab": 5, "\\u00e9": 6, "#version": 7}'


@pytest.mark.parametrize("merges", ['["a b"]', '[["a", "b"]]', "[]"])
def test_a_file_gives_the_same_model(merges):
    text = file_of(VOCAB, merges)
    value = serialize.read_packed(text, json.loads)
    assert isinstance(value["model"]["vocab"], Vocabulary)
    assert isinstance(value["model"]["merges"], JoinedMerges)
    expected = models.Model.from_dict(json.loads(text)["model"])
    found = Tokenizer.from_buffer(text).model
    assert found.__getstate__() == expected.__getstate__()
    assert found.vocabulary.tokens == expected.vocabulary.tokens
    assert dict(found.vocabulary.mapping) == dict(expected.vocabulary.mapping)


@pytest.mark.parametrize(
    ("vocab", "merges", "more"),
    [
        ('{"a": 0, "a": 1, "b": 2}', "[]", ""),  # the last value of a key counts
        (VOCAB, '["#version: 0.2", "a b"]', ""),
        (VOCAB, "[]", '"vocab": {"x": 1}, "merges": [],'),  # not the model's
        (VOCAB, "[]", '"x": "\\"vocab\\": {",'),
    ],
)
def test_unusual_files_give_the_same_model(vocab, merges, more):
    text = file_of(vocab, merges, more)
    expected = models.Model.from_dict(json.loads(text)["model"])
    assert Tokenizer.from_buffer(text).model.__getstate__() == expected.__getstate__()


def test_tables_of_another_object_stay_lists():
    text = b'{"model": {}, "vocab": {"a": 1}' + b" " * (1 << 16) + b"}"
    assert serialize.read_packed(text, json.loads) is None


@pytest.mark.parametrize(
    ("vocab", "merges"),
    [('{"a": -1}', "[]"), ('{"a": 0}', '["a b"]'), ('{"a": 0}', '["ab"]'), ('{"a": 0}', '[["a"]]'), ('{"a": 0}', "{}")],
)
def test_errors_are_those_of_a_short_file(vocab, merges):
    text = file_of(vocab, merges)
    with pytest.raises(ValueError, match=r"^this ") as long:
        Tokenizer.from_buffer(text)
    with pytest.raises(ValueError, match=r"^this ") as short:
        Tokenizer.from_buffer(text.replace(b" " * (1 << 16), b""))
    assert str(long.value) == str(short.value)


def test_bytes_that_are_no_utf8_are_refused():
    text = file_of('{"a\xe9": 0}', "[]").replace("é".encode(), b"\xe9")
    with pytest.raises(ValueError, match="can't decode byte 0xe9"):
        Tokenizer.from_buffer(text)


@pytest.mark.parametrize("part", [1, 7, 1 << 16])
def test_rows_are_written_as_by_a_json_encoder(part):
    rng = random.Random(part)
    characters = [*CHARACTERS, *map(chr, range(32)), *"letters of words"]
    for n in [*range(1, 40), 2000]:
        words = ["".join(rng.choices(characters, k=rng.randrange(25))) for _ in range(n)]
        encoded = [word.encode() for word in words]
        data, offsets = np.frombuffer(b"".join(encoded), np.uint8), np.cumsum([0, *map(len, encoded)])
        order = np.array([rng.randrange(n) for _ in range(n)])
        numbers = np.array([rng.choice([0, 9, 10, 99_999, 2**32 - 2, 10**18, 2**63 - 1]) for _ in range(n)])
        table = (data, offsets, order), numbers
        rows = json_tables.write_rows([b',"', table[0], b'":', table[1]], escaped=True, part=part)
        items = zip(order.tolist(), numbers.tolist(), strict=True)
        expected = "".join(f",{json.dumps(words[i], ensure_ascii=False)}:{number}" for i, number in items)
        assert b"".join(rows).decode() == expected
        plain = json_tables.write_rows([table[0], b"\n"], part=part)
        assert b"".join(plain) == b"".join(encoded[i] + b"\n" for i in order.tolist())
    assert [*json_tables.write_rows([np.empty(0, np.int64), b","])] == []
    with pytest.raises(ValueError, match="the same number of rows"):
        next(json_tables.write_rows([np.arange(2), np.arange(3)]))
