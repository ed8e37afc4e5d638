"""Cutting text at separators and checking UTF-8 in one pass, compared with plain Python."""

import random

import numpy as np
import pytest
from gputok.kernels.cpu.documents import documents

from tests import reference

SEPARATORS = ["|", "||", "ab", "aba", "<|end|>", "\0", "é", "|漢", "a" * 70, "é" * 100]


def check(raw: bytes, separator: bytes) -> None:
    mark = np.frombuffer(separator, np.uint8)
    for is_last in (False, True):
        expected = reference.documents(np.frombuffer(raw, np.uint8), mark, is_last)
        for in_place in (False, True):
            data = np.frombuffer(bytearray(raw), np.uint8)
            packed, offsets, n_used, is_valid = documents(data, mark, is_last, in_place)
            assert packed.tobytes() == expected[0].tobytes(), (raw, separator, is_last, in_place)
            assert offsets.dtype == np.int64 and offsets.tolist() == expected[1].tolist(), (raw, separator)
            assert (n_used, is_valid) == expected[2:], (raw, separator, is_last, in_place)
            assert data[n_used:].tobytes() == raw[n_used:], "text that is left was changed"
            assert np.shares_memory(packed, data) == (in_place and len(packed) > 0)


@pytest.mark.parametrize("separator", SEPARATORS)
def test_random_texts(separator):
    rng = random.Random(separator)
    mark = separator.encode()
    parts = [mark, mark, mark[:-1], mark[1:], b"a", b"b", b"|", b"<|e", b"x" * 50, "é漢😀".encode(), b"\xe6\xbc"]
    for _ in range(1500):
        check(b"".join(rng.choices(parts, k=rng.choice([3, 12, 40]))), mark)


@pytest.mark.parametrize("separator", SEPARATORS)
def test_separators_across_the_edges_of_vectors_and_windows(separator):
    mark = separator.encode()
    for edge in (0, 64, 8192, 16384):
        for before in range(max(0, edge - len(mark) - 2), edge + 3):
            check(b"x" * before + mark + b"y" * 3, mark)
            check(b"x" * before + mark + "é".encode() * 40 + mark + b"z" * 9000, mark)


def test_what_a_cut_character_does():
    """It is invalid where the text ends, also after the last separator; and where a separator begins."""
    for n in (0, 1, 62, 63, 64, 65, 8191, 8192):
        for raw in (b"a" * n + b"||" + b"\xe6", b"a" * n + b"\xe6||", b"\xe6" + b"a" * n, b"a" * n + b"||\xa9"):
            check(raw, b"||")


def test_more_documents_than_the_first_capacity():
    check(b"|" * 10_000, b"|")
    check(b"a|" * 63 + b"x" * 9000 + b"|\xff" * 5000 + "漢|".encode() * 5000, b"|")
    check(b"a|" * 63 + b"b", b"|")  # as many as there is room for, and the last
    check("漢é|".encode() * 9000, b"|")


def test_read_only_data_is_copied():
    data = np.frombuffer(b"one||two", np.uint8)
    packed, *_ = documents(data, data[3:5], True, False)
    assert packed.tobytes() == b"onetwo" and data.tobytes() == b"one||two"
