"""UTF-8 validation and patterns, against the plain versions."""

import random

import numpy as np
import pytest
from gputok.kernels import reference
from gputok.kernels.cpu import text

# Bytes at the edges of what is well-formed (table 3-7 of the Unicode standard), so that near misses are common.
EDGES = bytes([0, 10, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF])
EDGES += bytes([0xE0, 0xE1, 0xEC, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF])


def array(raw: bytes) -> np.ndarray:
    return np.frombuffer(raw, np.uint8)


@pytest.mark.parametrize(
    ("raw", "position"),
    [
        (b"", -1),
        ("plain, naïve, 漢字, 😀\n".encode() * 50, -1),
        (b"x" * 100 + b"\xc0\x80", 100),  # over-long
        (b"x" * 31 + b"\xed\xa0\x80" + b"x" * 40, 31),  # a surrogate
        (b"\xf4\x90\x80\x80", 0),  # past U+10FFFF
        ("漢".encode() * 99 + b"\xe6\xbc", 297),  # cut off at the end
    ],
)
def test_invalid_utf8_is_found_where_python_finds_it(raw, position):
    assert text.find_invalid_utf8(array(raw)) == reference.find_invalid_utf8(array(raw)) == position


def test_every_code_point_is_valid_but_surrogates():
    whole = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x110000)])).encode()
    assert text.find_invalid_utf8(array(whole)) == -1


def test_random_bytes_equal_the_reference():
    rng = random.Random(0)
    for _ in range(50_000):
        prefix = rng.choice([b"", b"a" * rng.randrange(70), "é漢😀".encode() * rng.randrange(9)])
        data = array(prefix + bytes(rng.choices(EDGES, k=rng.randrange(12))))
        assert text.find_invalid_utf8(data) == reference.find_invalid_utf8(data), data.tobytes()
