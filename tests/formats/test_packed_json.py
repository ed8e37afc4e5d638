"""The tables of a tokenizer.json, read by a kernel: the same as a JSON parser reads, or left to a JSON parser."""

from __future__ import annotations

import itertools
import json
import random

import numpy as np
import pytest
from gputok.kernels.cpu import json_tables

from gputok import Tokenizer, models
from gputok.models.bpe.merges import PackedMerges
from gputok.pipeline import serialize
from gputok.tokens.vocabulary import Vocabulary

CHARACTERS = [*'abc "\\/\b\f\n\r\t\x00\x1f\x7fé中😀{}[]:,#', "\ud7ff", "\ue000", "\uffff"]


def strings(data, offsets):
    raw = bytes(data)
    return [raw[a:b].decode() for a, b in itertools.pairwise(offsets)]


def value_of(table):
    """The table as a JSON parser gives it; an object as its items."""
    items = strings(table.data, table.offsets)
    if table.shape == json_tables.MAPPING:
        return list(zip(items, table.numbers.tolist(), strict=True))
    if table.shape == json_tables.PAIRS:
        return [list(pair) for pair in zip(items[::2], items[1::2], strict=True)]
    return items


def parsed(text: bytes, begin: int = 0):
    """(value, end) by Python's parser, an object as its items; None if it isn't JSON."""
    decoder = json.JSONDecoder(object_pairs_hook=list, strict=True)
    try:
        value, end = decoder.raw_decode(text[begin:].decode())
    except ValueError:
        return None
    return value, begin + len(text[begin:].decode()[:end].encode())


def random_table(rng):
    def word():
        return "".join(rng.choices(CHARACTERS, k=rng.randrange(6)))

    n = rng.randrange(8)
    value = rng.choice(
        [
            {word(): rng.choice([0, 7, rng.randrange(2**32 - 1), 2**32 - 2]) for _ in range(n)},
            [word() for _ in range(n)],
            [[word(), word()] for _ in range(n)],
        ]
    )
    indent = rng.choice([None, 0, 2])
    return json.dumps(value, ensure_ascii=rng.random() < 0.5, indent=indent).encode()


@pytest.mark.parametrize("seed", range(3))
def test_tables_are_what_a_parser_reads(seed):
    rng = random.Random(seed)
    for _ in range(500):
        text = random_table(rng)
        before, after = b" " * rng.randrange(3), rng.choice([b"", b"}", b" , 1"])
        table = json_tables.read_table(np.frombuffer(before + text + after, np.uint8), len(before))
        value, end = parsed(before + text + after, len(before))
        assert table is not None
        assert value_of(table) == [tuple(x) if table.shape == json_tables.MAPPING else x for x in value]
        assert table.end == end


@pytest.mark.parametrize("seed", range(3))
def test_damaged_tables_are_read_alike_or_refused(seed):
    rng = random.Random(seed)
    n_read = 0
    for _ in range(3000):
        text = bytearray(random_table(rng))
        for _ in range(rng.randrange(1, 3)):
            at = rng.randrange(len(text))
            text[at : at + rng.randrange(2)] = rng.choice(
                [b"", b'"', b"\\", b"u", b"9", b"-", b".", b"e", b",", b"[", b"\xff"]
            )
            text = text or bytearray(b"x")
        text = bytes(text)
        table = json_tables.read_table(np.frombuffer(text, np.uint8), 0)
        if table is None:
            continue
        try:
            found = value_of(table)
        except UnicodeDecodeError:
            continue  # `read_packed` looks whether the text is UTF-8
        n_read += 1
        value, end = parsed(text)
        assert found == [tuple(x) if table.shape == json_tables.MAPPING else x for x in value]
        assert table.end == end
    assert n_read > 100


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
        '["a", ["b", "c"]]',
        '[["a"]]',
        '[["a", "b", "c"]]',
        '[["a", "b"], "c"]',
        '["\\ud800"]',
        '["\\udc00"]',
        '["\\ud800\\u0041"]',
        '["\\ud800',
        '["\\u00g0"]',
        '["\\x"]',
        '["a\nb"]',
        '["a",]',
        '["a" "b"]',
    ],
)
def test_other_values_are_left_to_a_parser(text):
    assert json_tables.read_table(np.frombuffer(text.encode(), np.uint8), 0) is None


def file_of(vocab: str, merges: str, more: str = "") -> bytes:
    """A tokenizer.json long enough to be read by a kernel."""
    padding = " " * (1 << 16)
    return f'{{"version": "1.0",{more}{padding} "model": {{"type": "BPE", "vocab": {vocab}, "merges": {merges}}}}}'.encode()


VOCAB = '{"a": 0, "b": 1, "vocab": 2, "\\"vocab": 3, "merges": 4, "ab": 5, "\\u00e9": 6, "#version": 7}'


@pytest.mark.parametrize("merges", ['["a b"]', '[["a", "b"]]', "[]"])
def test_a_file_gives_the_same_model(merges):
    text = file_of(VOCAB, merges)
    value = serialize.read_packed(text, json.loads)
    assert isinstance(value["model"]["vocab"], Vocabulary)
    assert isinstance(value["model"]["merges"], PackedMerges)
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
