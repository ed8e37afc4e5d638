"""Launches the search for lines on a CUDA device, which also checks that the text is UTF-8."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from gputok.kernels.cuda.bits import listed
from gputok.kernels.cuda.device import Device, indexes, launch, number, structs_of
from gputok.kernels.cuda.split import mark

Lines, Searched, Wanted, Inert = structs_of("lines.cu", "Lines Searched Wanted Inert")


def lines(device: Device, data: Any, begins: Any = None) -> tuple[Any, bool]:
    """Finds where the lines of a text begin, and whether the text is UTF-8, as kernels.cpu.lines does.

    begins: uint32[texts + 1] from 0 to n: where each of several texts begins, and n. Lines begin there, too, so the
    result ends with n. The texts are checked like one text: a character may begin in a text and end in the next one.

    Returns:
        uint32[lines]: 0, and the offset after each newline; and True if the text is UTF-8.
    """
    xp, n_words = device.xp, len(data) // 32 + 1
    struct = Lines(data, xp.empty(n_words, xp.uint32), xp.zeros(1, xp.uint32), len(data))
    launch(device, "lines.cu", "find_lines", struct, n=n_words)
    if begins is not None:
        mark(device, begins, len(data) + 1, struct.bits)
    return listed(device, struct.bits, 0)[:-1], not number(device, struct.is_invalid)


class Needles(NamedTuple):
    """Strings of one byte or more that are looked for, on the host. Their order has no meaning."""

    text: np.ndarray  # uint8[n], one string after the other
    offsets: np.ndarray  # int64[strings + 1], from 0 to n
    # uint32[2048], a bit for each pair of bytes (first | second << 8), set if a string begins with it; a string of one
    # byte begins with 256 pairs
    pairs: np.ndarray

    @classmethod
    def of(cls, strings: list[bytes]) -> Needles:
        """Puts strings side by side; an empty one occurs nowhere."""
        strings = [*filter(None, strings)]
        pairs = np.zeros(1 << 16, bool)
        for string in strings:
            pairs[string[0] | (string[1] << 8 if len(string) > 1 else np.arange(256) << 8)] = True
        packed = np.packbits(pairs, bitorder="little").view("<u4").astype(np.uint32)
        offsets = np.cumsum([0, *map(len, strings)], dtype=np.int64)
        return cls(np.frombuffer(b"".join(strings), np.uint8), offsets, packed)


class Watched(NamedTuple):
    """What is looked for in texts, on the host."""

    strings: Needles | None
    # The characters besides which others are looked for: a two-stage table (page, uint16[0x110000 >> 7]; member,
    # uint16[pages * 128]) of kinds, and how many of the first kinds they are. None: all characters
    inert: tuple[np.ndarray, np.ndarray, int] | None = None


def texts_with(device: Device, data: Any, begins: np.ndarray, watched: Watched) -> list[int]:
    """Finds the texts in which what is watched begins: their numbers, in order.

    data: uint8[n]: the texts, one after the other; UTF-8. begins: int64[texts + 1], from 0 to n, on the host. A string
    that reaches into the next text is found, too.
    """
    strings, inert = watched
    n, n_texts = len(data) // 32 + 1, len(begins) - 1
    if len(data) == 0 or (strings is None and inert is None):
        return []
    found = device.xp.zeros(n_texts, device.xp.uint32)
    searched = Searched(data, device.upload((indexes(begins),))()[0], found, len(data), n_texts)
    if strings is not None and len(strings.offsets) > 1:
        there = device.upload((strings.text, indexes(strings.offsets), strings.pairs))()
        wanted = Wanted(*there, len(strings.offsets) - 1)
        launch(device, "lines.cu", "find_texts", searched, wanted, n=n)
    if inert is not None:
        tables = (np.ascontiguousarray(table, np.uint16).reshape(-1) for table in inert[:2])
        there = device.upload(tuple(tables))()
        launch(device, "lines.cu", "find_changing", searched, Inert(*there, inert[2]), n=n)
    return np.flatnonzero(device.download(found)).tolist()
