"""UTF-8 validation and patterns, against the plain versions."""

import itertools
import random

import numpy as np
import pytest
from gputok.kernels.cpu import lines, lookup

from tests import reference

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
        ("漢".encode() * 700_000 + b"\xe6\xbc\n", 2_100_000),  # beyond what is decoded at a time
        (b"x" * 31 + b"\xed\xa0\x80" + b"x" * 40, 31),  # a surrogate
        (b"\xf4\x90\x80\x80", 0),  # past U+10FFFF
        ("漢".encode() * 99 + b"\xe6\xbc", 297),  # cut off at the end
    ],
)
def test_invalid_utf8_is_found_where_python_finds_it(raw, position):
    assert lines.find_invalid_utf8(array(raw)) == reference.find_invalid_utf8(array(raw)) == position


def test_every_code_point_is_valid_but_surrogates():
    whole = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x110000)])).encode()
    assert lines.find_invalid_utf8(array(whole)) == -1


def test_random_bytes_equal_the_reference():
    rng = random.Random(0)
    for _ in range(50_000):
        prefix = rng.choice([b"", b"a" * rng.randrange(70), "é漢😀".encode() * rng.randrange(9)])
        data = array(prefix + bytes(rng.choices(EDGES, k=rng.randrange(12))))
        assert lines.find_invalid_utf8(data) == reference.find_invalid_utf8(data), data.tobytes()


@pytest.mark.parametrize("ascii", [True, False])
def test_characters_side_by_side(ascii):
    """In strings that may begin and end within a character, more pairs than a table first holds; one string is long."""
    rng = np.random.default_rng(7)
    characters = [*"abc \n", *map(chr, [*range(0xE0, 0x180), *range(0x6F00, 0x6F80), *range(0x1F600, 0x1F640)])]
    strings = []
    for n in [*rng.integers(1, 9, 2000), 3000]:
        raw = "".join(rng.choice(characters, n)).encode()
        first, last = sorted(rng.integers(0, len(raw) + 1, 2).tolist()) if n < 9 else (1, len(raw))
        strings.append(raw[first:last])
    chosen = rng.random(len(strings)) < 0.9
    chosen[-1] = True
    pairs, crossing = set(), np.zeros((256, 256), np.uint8)
    for string in itertools.compress(strings, chosen):
        begins = [i for i, byte in enumerate(string) if byte & 0xC0 != 0x80]
        for left, at, right in zip([0, *begins], begins, [*begins[1:], len(string)], strict=False):
            if at == 0 or (not ascii and not string[at - 1] & string[at] & 0x80):
                continue
            try:
                pairs.add((string[left:at].decode(), string[at:right].decode()))
            except UnicodeDecodeError:
                crossing[string[at - 1], string[at]] = 1
    offsets = np.cumsum([0, *map(len, strings)])
    data = np.frombuffer(b"".join(strings), np.uint8)
    found, found_crossing = lookup.side_by_side(data, offsets, chosen, ascii=ascii)
    slots = found.slots[found.slots != lookup.FREE] >> np.uint64(64 - 2 * found.bits)
    lefts, rights = slots >> np.uint64(found.bits), slots & np.uint64((1 << found.bits) - 1)
    assert len(slots) > 2000
    assert {(chr(a), chr(b)) for a, b in zip(lefts.tolist(), rights.tolist(), strict=True)} == pairs
    assert (found_crossing == crossing).all() and crossing.any()
