"""The data that flows through gputok: text packed into integer arrays.

    TextBatch   documents as bytes and offsets: what a corpus yields
    Pieces      documents cut into pieces: what normalizers and pre-tokenizers take and give
    Alignment   where each byte of normalized text came from; made only when offsets are asked for

Text is UTF-8 bytes inside gputok and `str` only at its border. Arrays are NumPy's (or CuPy's, on a GPU).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

PARTS = " [^ ]*|[^ ]+"
"""A pattern that cuts text before each space."""

LONGEST = 2_000_000_000
"""Bytes of the longest text or word of which the bytes are numbered in 32 bits; a batch may be longer."""

Array = Any  # numpy.ndarray or cupy.ndarray: shape and dtype stand beside each name instead


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
    the text; `pre_tokenizers.spell_out(pieces)` does that for whoever needs them.
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
