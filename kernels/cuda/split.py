"""Launching the walk of an automaton over text on a CUDA device."""

from __future__ import annotations

from typing import Any, NamedTuple

from .. import Automaton
from .device import Device

TILE_BYTES = 256  # of text for a thread
MAX_BYTES = 1 << 30  # of text at a time: a place in it has 31 bits where words are told apart


class Split(NamedTuple):
    """Where words begin in a batch of documents."""

    words: Any  # uint32[ceil(n / 32)], a bit for each byte, set where a word begins
    starts: Any  # uint32[words + 1], the same as positions, then the number of bytes


class Tables(NamedTuple):
    """An automaton on a device."""

    ascii_class: Any  # uint8[128]
    page: Any  # uint16[0x110000 >> 7]
    member: Any  # uint8[pages, 128]
    delta: Any  # uint16[states, classes + 1]
    accept: Any  # uint8[states, classes + 1]
    strong: Any  # uint8[classes, classes]


def upload(device: Device, automaton: Automaton) -> Tables:
    """The tables of a gapless automaton, on the device."""
    if not automaton.gapless:
        raise ValueError(
            "only a gapless automaton can be walked in tiles: this one leaves characters unmatched"
        )
    with device.active():
        return Tables(*(device.xp.ascontiguousarray(device.xp.asarray(table)) for table in automaton[:6]))


def split_words(device: Device, text: Any, offsets: Any, tables: Tables) -> Split:
    """Splits documents into words; text: uint8[n], n < 2**31, offsets: int64[documents + 1], from 0 to n.

    text and offsets are on the device, and so is the result.
    """
    xp = device.xp
    n_bytes, width = len(text), tables.delta.shape[1]
    n_words = -(-n_bytes // 32)
    documents, words = xp.zeros(n_words, xp.uint32), xp.zeros(n_words, xp.uint32)
    n_tiles = -(-n_bytes // TILE_BYTES)
    cuts = xp.empty(n_tiles, xp.int64)
    t = tables
    launch = _launcher(device)
    launch("mark_documents", len(offsets) - 1, (offsets, len(offsets) - 1, n_bytes, documents))
    classes = (t.ascii_class, t.page, t.member)
    launch("find_cuts", n_tiles, (text, n_bytes, documents, *classes, t.strong, width, TILE_BYTES, cuts))
    launch(
        "split_words",
        n_tiles,
        (text, n_bytes, documents, *classes, t.delta, t.accept, width, cuts, n_tiles, words),
    )
    in_words = _bit_counts(xp, words)
    starts = xp.empty(int(in_words.sum()) + 1, xp.uint32)
    starts[-1] = n_bytes
    rank = xp.cumsum(in_words) - in_words
    device.launch("words.cu", "list_bits", device.blocks, 128, (words, n_words, rank, starts))
    return Split(words, starts)


def _launcher(device: Device) -> Any:
    def launch(kernel: str, n: int, arguments: tuple) -> None:
        if n:
            device.launch("split.cu", kernel, min(device.blocks, -(-n // 128)), 128, arguments)

    return launch


def _bit_counts(xp: Any, words: Any) -> Any:
    """int64[n]: the number of bits set in each of uint32[n]."""
    table = xp.asarray([bin(i).count("1") for i in range(256)], xp.uint8)
    return table[words.view(xp.uint8)].reshape(-1, 4).sum(axis=1, dtype=xp.int64)
