"""The data that flows through gputok: text packed into integer arrays.

    TextBatch   documents as bytes and offsets: what a corpus yields
    Pieces      documents cut into pieces: what normalizers and pre-tokenizers take and give
    Alignment   where each byte of normalized text came from; made only when offsets are asked for

Text is UTF-8 bytes inside gputok and `str` only at its border. Arrays are NumPy's (or CuPy's, on a GPU).
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from gputok.types import Array, public

PARTS = " [^ ]*|[^ ]+"
"""A pattern that cuts text before each space."""

LONGEST = 2_000_000_000
"""Bytes of the longest text or word of which the bytes are numbered in 32 bits; a batch may be longer."""


@public("gputok")
class TextBatch(NamedTuple):
    """Documents packed one after the other, in the layout of an Arrow large string array.

    >>> batch = TextBatch.from_strings(["héllo", "", "you"])
    >>> batch.offsets.tolist(), batch[0]
    ([0, 6, 6, 9], 'héllo')
    """

    data: Array  # uint8[n_bytes], valid UTF-8
    offsets: Array  # int64[n_documents + 1]; document i is data[offsets[i]:offsets[i + 1]]

    @classmethod
    def from_strings(cls, texts: Iterable[str]) -> TextBatch:
        """Packs strings; a lone surrogate is a UnicodeEncodeError, as text that is not Unicode has no bytes."""
        encoded = list(map(str.encode, texts))
        ends = itertools.accumulate(map(len, encoded), initial=0)
        offsets = np.fromiter(ends, np.int64, len(encoded) + 1)
        return cls(np.frombuffer(bytearray().join(encoded), np.uint8), offsets)

    @property
    def n_documents(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, i: int) -> str:  # type: ignore[override]
        return self.data[self.offsets[i] : self.offsets[i + 1]].tobytes().decode()

    def strings(self) -> Iterator[str]:
        """The documents as Python strings (at the border only: a loop over documents)."""
        raw, ends = self.data.tobytes(), self.offsets.tolist()
        return (raw[a:b].decode() for a, b in itertools.pairwise(ends))


@public("gputok.text")
class Alignment(NamedTuple):
    """For each byte of normalized text, the range of bytes of the original document that it came from.

    It may be a part of a character; but all bytes of a document's first one begin at 0, as the document does.
    """

    start: Array  # int32[n_bytes]
    end: Array  # int32[n_bytes]


def check_lengths(start: Array, end: Array, what: str = "text") -> None:
    """ValueError: one of data[start[i]:end[i]] is too long for what numbers its bytes in 32 bits."""
    sizes = end - start
    if len(sizes) and sizes.max() > LONGEST:
        i = int(sizes.argmax())
        raise ValueError(
            f"{what} {i} has {sizes[i]:,} bytes, more than the {LONGEST:,} that can be numbered in 32 bits: "
            "cut it into several"
        )


def first_characters(data: Array, start: Array, end: Array) -> Array:
    """int64[]: where the bytes of the first character of each text data[start[i]:end[i]] lie, of those that have one."""
    full = start < end
    at, end = start[full], end[full]
    found = [at]
    while len(at):  # at most four times
        at = at + 1
        more = at < end
        more[more] = (data[at[more]] & 0xC0) == 0x80
        at, end = at[more], end[more]
        found.append(at)
    return np.concatenate(found)


@public("gputok.text")
class Pieces(NamedTuple):
    """Documents cut into pieces: the one shape between the steps of a tokenizer.

    A normalizer changes the bytes of each piece, a pre-tokenizer cuts pieces further; both map Pieces to
    Pieces. Pieces may leave gaps in `data` (removed white space). A piece with `token >= 0` is an added
    token that was already found: no later step may touch it.
    """

    data: Array  # uint8[n_bytes]
    start: Array  # int64[n_pieces], first byte of each piece in data
    end: Array  # int64[n_pieces]
    rows: Array  # int64[n_documents + 1]; document i has pieces rows[i]:rows[i + 1]
    token: Array | None = None  # int64[n_pieces], id of an added token or -1; None: there are none
    alignment: Alignment | None = None  # bytes of data -> bytes of its *own document*; None: not asked for
    byte_level: bool = False
    """`data` holds raw bytes that stand for the characters of the ByteLevel alphabet, one for each byte.

    `ByteLevel` as the last pre-tokenizer only sets this flag, since writing the characters out would double
    the text; `spell_out(pieces)` does that for whoever needs them.
    """

    @classmethod
    def from_batch(cls, batch: TextBatch, *, aligned: bool = False) -> Pieces:
        """One piece for each document; with `aligned`, the alignment of unchanged text."""
        data, offsets = batch
        rows = np.arange(batch.n_documents + 1, dtype=np.int64)
        alignment = None
        if aligned:
            check_lengths(offsets[:-1], offsets[1:])
            at = np.arange(offsets[0], offsets[-1], dtype=np.int64)
            at -= np.repeat(offsets[:-1], offsets[1:] - offsets[:-1])
            start = np.zeros(len(data), np.int32)
            start[offsets[0] : offsets[-1]] = at
            end = start + np.int32(1)
            start[first_characters(data, offsets[:-1], offsets[1:])] = 0
            alignment = Alignment(start, end)
        return cls(data, offsets[:-1], offsets[1:], rows, None, alignment)

    @property
    def n_pieces(self) -> int:
        return len(self.start)

    @property
    def frozen(self) -> Array | None:
        """bool[n_pieces]: the added tokens, which no later step may touch; None: there are none."""
        return None if self.token is None else self.token >= 0

    def without_empty(self) -> Pieces:
        """Without the empty pieces: no step is asked about them."""
        keep = self.start != self.end
        if np.count_nonzero(keep) == len(keep):
            return self
        rows = np.concatenate([[0], np.cumsum(keep)])[self.rows]
        token = None if self.token is None else self.token[keep]
        return self._replace(start=self.start[keep], end=self.end[keep], rows=rows, token=token)

    def strings(self) -> list[str]:
        """The pieces as Python strings, for eyes and tests."""
        raw = self.data.tobytes()
        return [raw[a:b].decode() for a, b in zip(self.start.tolist(), self.end.tolist(), strict=True)]


def regroup(pieces: Pieces, start: Array, end: Array, rows: Array) -> Pieces:
    """Pieces of which number i became the pieces rows[i]:rows[i + 1] (rows int64[n_pieces + 1])."""
    token = None if pieces.token is None else np.repeat(pieces.token, np.diff(rows))
    return pieces._replace(start=start, end=end, rows=rows[pieces.rows], token=token)


def mark_starts(pieces: Pieces) -> Pieces:
    """With an alignment that only tells where documents begin: 0 for the bytes of their first character, else 1."""
    place = np.ones(len(pieces.data), np.int32)
    first = pieces.rows[:-1][np.diff(pieces.rows) > 0]
    place[first_characters(pieces.data, pieces.start[first], pieces.end[first])] = 0
    return pieces._replace(alignment=Alignment(place, place))


def rewrite(
    pieces: Pieces, replacements: dict[int, bytes], prefix: bytes = b"", before: Array | None = None
) -> Pieces:
    """Replaces bytes of the text, and puts `prefix` before the pieces for which `before` (bool[n_pieces]) is true."""
    from gputok.kernels.cpu.ragged import MAP, PREPEND, rewrite_bytes

    table = _byte_table(tuple(replacements.items()), prefix)
    mode = np.full(pieces.n_pieces, MAP if replacements else 0, np.uint8)
    if before is not None:
        mode |= before * np.uint8(PREPEND)
    frozen = pieces.frozen
    if frozen is not None:
        mode[frozen] = 0
    data, offsets, alignment = rewrite_bytes(
        pieces.data, pieces.start, pieces.end, mode, table, pieces.alignment
    )
    alignment = alignment and type(pieces.alignment)(*alignment)
    return pieces._replace(data=data, start=offsets[:-1], end=offsets[1:], alignment=alignment)


@functools.lru_cache(maxsize=64)
def _byte_table(replacements: tuple[tuple[int, bytes], ...], prefix: bytes) -> Array:
    """uint32[2, 257]: see `rewrite_bytes`."""
    from gputok.kernels.cpu.ragged import PREFIX

    table = np.array([np.ones(257), np.arange(257)], np.uint32)
    for byte, word in (*replacements, (PREFIX, prefix)):
        table[:, byte] = len(word), int.from_bytes(word, "little")
    return table


def starts_with(pieces: Pieces, word: bytes) -> Array:
    """bool[n_pieces]: which pieces begin with `word`."""
    found = pieces.end - pieces.start >= len(word)
    at = pieces.start[found]
    for k, byte in enumerate(word):
        found[found] = hit = pieces.data[at + k] == byte
        at = at[hit]
    return found


def spell_out(pieces: Pieces) -> Pieces:
    """Writes the characters of the ByteLevel alphabet for bytes that stand for them; added tokens stay text."""
    if not pieces.byte_level:
        return pieces
    from gputok.text.byte_alphabet import BYTE_CHARACTERS

    written = rewrite(pieces, {byte: character.encode() for byte, character in enumerate(BYTE_CHARACTERS)})
    return written._replace(byte_level=False)
