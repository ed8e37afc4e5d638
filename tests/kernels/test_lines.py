"""Finding line ends and checking UTF-8 in one pass, compared with the plain versions of both."""

import random

import numpy as np
import pytest
from gputok.kernels.cpu.lines import is_utf8, lines

from tests import reference
from tests.emulation.devices import KINDS, device_of
from tests.emulation.stages import in_cuda

# Bytes at the edges of what is well-formed (table 3-7 of the Unicode standard), so that near misses are common.
EDGES = bytes([0, 10, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF])
EDGES += bytes([0xE0, 0xE1, 0xEC, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF])


def check(raw: bytes) -> None:
    data = np.frombuffer(raw, np.uint8)
    offsets, is_valid = lines(data)
    expected, is_expected_valid = reference.lines(data)
    assert offsets.dtype == np.int64 and offsets.tolist() == expected.tolist(), raw
    assert is_valid == is_utf8(data) == is_expected_valid, raw


def test_lines_and_validity_of_random_bytes():
    rng = random.Random(0)
    for _ in range(30_000):
        prefix = rng.choice([b"", b"a" * rng.randrange(140), "é漢😀\n".encode() * rng.randrange(14)])
        check(prefix + bytes(rng.choices(EDGES, k=rng.randrange(12))) + b"x" * rng.choice([0, 0, 70]))


@pytest.mark.parametrize("n", [0, 1, 62, 63, 64, 65, 127, 128, 129])
@pytest.mark.parametrize("character", ["é", "ࠀ", "퟿", "\ue000", "漢", "𐀀", "\U0010ffff", "\n"])
def test_characters_across_the_edges_of_vectors(n, character):
    for raw in [character.encode(), character.encode()[:-1], character.encode()[1:]]:
        check(b"a" * n + raw)
        check(b"a" * n + raw + b"a" * 64)


def test_every_code_point_is_valid_but_surrogates():
    check("".join(map(chr, [*range(0xD800), *range(0xE000, 0x110000)])).encode())
    for surrogate in range(0xD800, 0xE000, 37):
        assert not is_utf8(np.frombuffer(chr(surrogate).encode(errors="surrogatepass"), np.uint8))


def test_more_lines_than_the_first_capacity():
    check(b"\n" * 10_000)
    check(b"\n" * 63 + b"x" * 9000 + b"\n\xff" * 5000 + "漢\n".encode() * 5000)
    # Where the kernel stops, a character may be cut
    check(("漢" * 21).encode() + b"\n" * 500 + "é".encode() * 500)


def test_read_only_data_is_read_in_place():
    raw = "né\nx".encode() * 1000
    array = np.frombuffer(raw, np.uint8)
    assert not array.flags.writeable and lines(array)[1] and len(lines(array)[0]) == 1001
    assert is_utf8(array[:0]) and lines(array[:0])[0].tolist() == [0]


def agree_on_a_device(kind: str, *texts: bytes) -> None:
    stages = in_cuda(device_of(kind, 1))
    for raw in texts:
        data = np.frombuffer(raw, np.uint8)
        (offsets, is_valid), (expected, is_expected_valid) = stages.lines(data), reference.lines(data)
        assert offsets.dtype == np.uint32 and offsets.tolist() == expected.tolist(), raw
        assert is_valid == is_expected_valid, raw


@pytest.mark.parametrize("kind", KINDS)
def test_lines_on_a_device(kind):
    rng = random.Random(1)
    agree_on_a_device(kind, b"", b"\n", b"a", "é".encode()[:1], b"a" * 31 + b"\n", b"a" * 32 + b"\n")
    for _ in range(200):
        prefix = rng.choice([b"", b"a" * rng.randrange(70), "é漢😀\n".encode() * rng.randrange(7)])
        agree_on_a_device(kind, prefix + bytes(rng.choices(EDGES, k=rng.randrange(8))) + b"x" * rng.choice([0, 0, 40]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("character", ["é", "ࠀ", "퟿", "\ue000", "漢", "𐀀", "\U0010ffff"])
def test_characters_between_the_threads_of_a_device(kind, character):
    """At each position of the bytes of a thread, whole and cut, by the end of the text or not."""
    for n in range(27, 34):
        for raw in [character.encode(), character.encode()[:-1], character.encode()[1:]]:
            agree_on_a_device(kind, b"a" * n + raw, b"a" * n + raw + b"a" * 9)


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_at_the_limits_on_a_device(kind):
    """Each pair of bytes after a lead that limits the next one, and each byte alone."""
    for lead in (b"\xc1", b"\xc2", b"\xe0", b"\xe1", b"\xed", b"\xef", b"\xf0", b"\xf1", b"\xf4", b"\xf5"):
        for byte in (0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0):
            raw = lead + bytes([byte]) + b"\x80" * (1 + (lead >= b"\xf0") - (lead < b"\xe0"))
            agree_on_a_device(kind, b"a" * 30 + raw)
    agree_on_a_device(kind, *(bytes([byte]) for byte in range(256)))
