"""Launches the walk of an automaton over text on a CUDA device."""

from __future__ import annotations

from typing import Any, NamedTuple

from gputok.kernels import Automaton
from gputok.kernels.cuda.device import Device, offsets_of

_NO_CUT = -1  # as in split.cu
TILE_BYTES = 256  # of text for a thread
MAX_BYTES = 1 << 30  # of text at a time: tables of words number its places with 31 bits
LONGEST_RUN = 1 << 20  # bytes that one thread walks: some 0.1 s


class TooLong(Exception):
    """A run of text without a place to cut is too long for one thread of a GPU."""


class Tables(NamedTuple):
    """An automaton on a device."""

    ascii_class: Any  # uint8[128]
    page: Any  # uint16[0x110000 >> 7]
    member: Any  # uint8[pages, 128]
    delta: Any  # uint16[states, classes + 1]
    accept: Any  # uint8[states, classes + 1]
    strong: Any  # uint8[classes, classes]


def upload(device: Device, automaton: Automaton) -> Tables:
    """Copies the tables of a gapless automaton to the device."""
    if not automaton.gapless:
        raise ValueError(
            "only a gapless automaton can be walked in tiles: this one leaves characters unmatched"
        )
    with device.active():
        return Tables(*(device.xp.ascontiguousarray(device.xp.asarray(table)) for table in automaton[:6]))


def find_words(device: Device, data: Any, offsets: Any, automaton: Tables) -> Any:
    """Finds where the words of documents begin.

    Args:
        device: Where the text is.
        data: uint8[n], n < 2**31.
        offsets: int64[documents + 1], from 0 to n.
        automaton: Splits documents into words.

    Returns:
        uint32[words + 1]: where each word begins, then n.

    Raises:
        TooLong: The text has a run of more than LONGEST_RUN bytes between two places at which it can be cut.
    """
    xp = device.xp
    n_bytes, width = len(data), automaton.delta.shape[1]
    n_words = -(-n_bytes // 32)
    documents, words = xp.zeros(n_words, xp.uint32), xp.zeros(n_words, xp.uint32)
    mark(device, offsets, n_bytes, documents)
    cuts = _find_cuts(device, data, documents, automaton, TILE_BYTES)
    t, n_tiles = automaton, len(cuts)
    arguments = (data, n_bytes, documents, t.ascii_class, t.page, t.member, t.delta, t.accept)
    n_too_long = xp.zeros(1, xp.int64)
    _launch(
        device, "split_words", n_tiles, (*arguments, width, cuts, n_tiles, LONGEST_RUN, words, n_too_long)
    )
    if int(n_too_long[0]):
        raise TooLong(
            f"a run of more than {LONGEST_RUN:,} bytes can't be cut, and a thread of a GPU would walk it alone"
        )
    rank = offsets_of(xp, bit_counts(xp, words))
    starts = xp.empty(int(rank[-1]) + 1, xp.uint32)
    starts[-1] = n_bytes
    device.launch("count_words.cu", "list_bits", device.blocks, 128, (words, n_words, rank, starts))
    return starts


def mark(device: Device, places: Any, n_bytes: int, bits: Any) -> None:
    """Sets the bits of places (int64[n]) that are less than n_bytes."""
    _launch(device, "mark_places", len(places), (places, len(places), n_bytes, bits))


def halves(device: Device, text: Any, offsets: Any, tables: Tables) -> tuple | None:
    """Cuts a batch into two with the same words: between documents, or a single document at a place where it may be cut.

    Returns (text, offsets) of both, or None if the batch can't be cut.
    """
    n_documents = len(offsets) - 1
    middle = n_documents // 2
    if n_documents > 1:
        at = int(offsets[middle])
        return (text[:at], offsets[: middle + 1]), (text[at:], offsets[middle:] - at)
    half = -(-len(text) // 2)
    if len(text) <= half:
        return None
    documents = device.xp.zeros(-(-len(text) // 32), device.xp.uint32)
    at = int(
        _find_cuts(device, text, documents, tables, half)[1]
    )  # strong: both halves are texts of their own
    if at == _NO_CUT:
        return None
    return tuple((part, device.xp.asarray([0, len(part)])) for part in (text[:at], text[at:]))


def _find_cuts(device: Device, text: Any, documents: Any, tables: Tables, tile_bytes: int) -> Any:
    """Returns int64[tiles]: the first cut in each tile of the text, or NO_CUT."""
    n_tiles, t = -(-len(text) // tile_bytes), tables
    cuts = device.xp.empty(n_tiles, device.xp.int64)
    arguments = (text, len(text), documents, t.ascii_class, t.page, t.member, t.strong)
    _launch(device, "find_cuts", n_tiles, (*arguments, t.delta.shape[1], tile_bytes, cuts))
    return cuts


def _launch(device: Device, kernel: str, n: int, arguments: tuple) -> None:
    if n:
        device.launch("split.cu", kernel, min(device.blocks, -(-n // 128)), 128, arguments)


def bit_counts(xp: Any, words: Any) -> Any:
    """Returns int64[n]: how many bits are set in each of uint32[n]."""
    table = xp.asarray([bin(i).count("1") for i in range(256)], xp.uint8)
    return table[words.view(xp.uint8)].reshape(-1, 4).sum(axis=1, dtype=xp.int64)
