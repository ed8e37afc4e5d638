"""The data that flows through gputok: text packed into integer arrays.

    TextBatch   documents as bytes and offsets: a corpus yields these
    RawLines    lines of a file whose offsets are not known yet: a corpus yields these if a GPU is to find the lines
    Pieces      documents cut into pieces: normalizers and pre-tokenizers take and return these
    Alignment   the origin of each byte of normalized text; only made if the caller wants offsets

Inside gputok, text is UTF-8 bytes in NumPy arrays (on a GPU, CuPy arrays). Only the public functions take and
return `str`.
"""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING

import numpy as np

from gputok.kernels.signatures import NamedTuple
from gputok.lazy import public
from gputok.text.byte_alphabet import BYTE_CHARACTERS
from gputok.tokens.vocabulary import pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import numpy.typing as npt

    from gputok.types import Bytes, Mask, Positions, Positions32

SPACE_PREFIXED_RUN = " [^ ]*|[^ ]+"  # a pattern that cuts text before each space

PUNCTUATION = r"!-/:-@\[-`{-~‐-‧、。〈-】！-＃％-＊，-／：；？＠"
"""Marks of ASCII, and the usual ones beyond, as ranges in brackets of a pattern."""

IDEOGRAPHS = "一-\u9fff"  # the usual Chinese characters, as a range in brackets of a pattern


def cuts_beside(marks: str) -> str:
    """Returns a pattern that cuts text before white space of ASCII, and on both sides of each mark."""
    return rf"[ \t\n\r][^ \t\n\r{marks}]*|[^ \t\n\r{marks}]+|[{marks}]"


LONGEST = 2_000_000_000
"""The largest number of bytes of one text or word, since its bytes are numbered in 32 bits. A batch may be longer."""


@public("gputok")
class TextBatch(NamedTuple):
    """Documents packed one after the other, in the layout of an Arrow large string array.

    Attributes:
        data: uint8[n_bytes], valid UTF-8.
        offsets: int64[n_documents + 1], in bytes; document i is data[offsets[i]:offsets[i + 1]].

    Example:
        >>> batch = TextBatch.from_strings(["héllo", "", "you"])
        >>> batch.offsets.tolist(), batch[0]
        ([0, 6, 6, 9], 'héllo')
    """

    data: Bytes
    offsets: Positions

    @classmethod
    def from_strings(cls, texts: Iterable[str]) -> TextBatch:
        """Packs strings.

        Args:
            texts: one string for each document.

        Returns:
            The documents, encoded as UTF-8.

        Raises:
            UnicodeEncodeError: if a string contains a lone surrogate, which UTF-8 cannot encode.
        """
        return cls(*pack(texts))

    @property
    def n_documents(self) -> int:
        """The number of documents."""
        return len(self.offsets) - 1

    # A batch is a sequence of documents, although it is stored as a tuple of two arrays.
    def __getitem__(self, i: int) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.data[self.offsets[i] : self.offsets[i + 1]].tobytes().decode()

    def strings(self) -> Iterator[str]:
        """Decodes the documents one by one, each when it is asked for. A loop over documents is slow."""
        data = self.data.data
        return (str(data[a:b], "utf-8") for a, b in itertools.pairwise(self.offsets.tolist()))


def joined_offsets(parts: Sequence[Positions]) -> Positions:
    """Returns the offsets of packed items, if the items of some arrays of offsets are put one after the other."""
    begins = np.cumsum([0, *(part[-1] - part[0] for part in parts)])
    shifted = (part[1:] + (begin - part[0]) for part, begin in zip(parts, begins[:-1], strict=True))
    return np.concatenate([begins[:1], *shifted])


def joined(batches: Sequence[TextBatch]) -> TextBatch:
    """Puts the documents of some batches, of one at least, into one."""
    if len(batches) == 1 and batches[0].offsets[0] == 0:
        return batches[0]
    text = [data[offsets[0] : offsets[-1]] for data, offsets in batches]
    return TextBatch(np.concatenate(text), joined_offsets([offsets for _, offsets in batches]))


class RawLines(NamedTuple):
    """Text of a file as it was read: its lines were not looked for, and it was not checked that it is UTF-8."""

    data: Bytes  # uint8[n_bytes], whole lines; the newline of the last line may be missing
    checked: Callable[[], TextBatch]  # looks for the lines; if text is not UTF-8, repairs it or raises ValueError


@public("gputok.text")
class Alignment(NamedTuple):
    """For each byte of normalized text, the range start:end of bytes of the original document that it came from.

    A range may be a part of a character. But the ranges of all bytes of a document's first character begin at 0.
    """

    start: Positions32  # int32[n_bytes]
    end: Positions32  # int32[n_bytes]


def check_lengths(start: Positions, end: Positions, what: str = "text") -> None:
    """Raises ValueError if one of the texts data[start[i]:end[i]] is longer than LONGEST bytes."""
    sizes = end - start
    if len(sizes) and sizes.max() > LONGEST:
        i = int(sizes.argmax())
        raise ValueError(
            f"{what} {i} has {sizes[i]:,} bytes, more than the {LONGEST:,} that can be numbered in 32 bits: "
            f"cut this {what} into several"
        )


def first_characters(data: Bytes, start: Positions, end: Positions) -> Positions:
    """int64[n]: all bytes of the first character of each text data[start[i]:end[i]]; empty texts have none."""
    full = start < end
    at, end = start[full], end[full]
    found = [at]
    while len(at):  # at most four times
        at = at + 1
        more: Mask = at < end
        more[more] = (data[at[more]] & 0xC0) == 0x80
        at, end = at[more], end[more]
        found.append(at)
    return np.concatenate(found)


@public("gputok.text")
class Pieces(NamedTuple):
    """Documents cut into pieces: all steps of a tokenizer take and return this shape.

    A normalizer changes the bytes of each piece, a pre-tokenizer cuts pieces further; both map Pieces to
    Pieces. Pieces may leave gaps in `data` (removed white space). A piece with `token >= 0` is an added
    token that was already found: no later step may change or cut that piece.
    """

    data: Bytes  # uint8[n_bytes]
    start: Positions  # int64[n_pieces], first byte of each piece in data
    end: Positions  # int64[n_pieces], last byte + 1
    rows: Positions  # int64[n_documents + 1]; document i has the pieces rows[i]:rows[i + 1]
    # int64[n_pieces], the id of an added token or -1; None: no piece is an added token
    token: Positions | None = None
    # From the bytes of data to the bytes of the *document* that they belong to; None: offsets are not needed.
    alignment: Alignment | None = None
    byte_level: bool = False
    """True if each byte of `data` stands for a character of the ByteLevel alphabet, since writing out the characters
    would double the text. Code that needs the characters calls `spell_out(pieces)`."""

    @classmethod
    def from_batch(cls, batch: TextBatch, *, aligned: bool = False) -> Pieces:
        """Makes one piece of each document; with `aligned`, each character is aligned with itself."""
        data, offsets = batch.data, batch.offsets
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
        """The number of pieces of all documents together."""
        return len(self.start)

    @property
    def frozen(self) -> Mask | None:
        """bool[n_pieces]: True for added tokens, which no later step may change; None: no piece is an added token."""
        return None if self.token is None else self.token >= 0

    def without_empty(self) -> Pieces:
        """Leaves out the empty pieces."""
        keep: Mask = self.start != self.end
        if np.count_nonzero(keep) == len(keep):
            return self
        rows = np.concatenate([[0], np.cumsum(keep)])[self.rows]
        token = None if self.token is None else self.token[keep]
        return self._replace(start=self.start[keep], end=self.end[keep], rows=rows, token=token)

    def strings(self) -> list[str]:
        """Decodes each piece, for displays and tests."""
        raw = self.data.tobytes()
        return [raw[a:b].decode() for a, b in zip(self.start.tolist(), self.end.tolist(), strict=True)]


def regroup(pieces: Pieces, start: Positions, end: Positions, rows: Positions) -> Pieces:
    """Cuts pieces further: piece i becomes the pieces rows[i]:rows[i + 1], with the bytes start:end of data."""
    token = None if pieces.token is None else np.repeat(pieces.token, np.diff(rows))
    return pieces._replace(start=start, end=end, rows=rows[pieces.rows], token=token)


def mark_starts(pieces: Pieces) -> Pieces:
    """Adds an alignment that only tells where documents begin: 0 for the bytes of their first character, else 1."""
    is_later = np.ones(len(pieces.data), np.int32)
    first = pieces.rows[:-1][np.diff(pieces.rows) > 0]
    is_later[first_characters(pieces.data, pieces.start[first], pieces.end[first])] = 0
    return pieces._replace(alignment=Alignment(is_later, is_later))


def rewrite(pieces: Pieces, replacements: dict[int, bytes], prefix: bytes = b"", before: Mask | None = None) -> Pieces:
    """Replaces bytes of the text, and puts `prefix` before each piece for which `before` (bool[n_pieces]) is True.

    replacements: byte -> 1 to 4 bytes. Added tokens stay as they are.
    """
    from gputok.kernels.cpu.rewrite import MAP, PREPEND, rewrite_bytes

    table = byte_table(tuple(replacements.items()), prefix)
    mode = np.full(pieces.n_pieces, MAP if replacements else 0, np.uint8)
    if before is not None:
        mode |= before * np.uint8(PREPEND)
    frozen = pieces.frozen
    if frozen is not None:
        mode[frozen] = 0
    data, offsets, alignment = rewrite_bytes(pieces.data, pieces.start, pieces.end, mode, table, pieces.alignment)
    alignment = alignment and Alignment(*alignment)
    return pieces._replace(data=data, start=offsets[:-1], end=offsets[1:], alignment=alignment)


@functools.lru_cache(maxsize=64)
def byte_table(replacements: tuple[tuple[int, bytes], ...], prefix: bytes) -> npt.NDArray[np.uint32]:
    """uint32[2, 257]: the table that `kernels.cpu.rewrite.rewrite_bytes` takes."""
    from gputok.kernels.cpu.rewrite import PREFIX

    table = np.array([np.ones(257), np.arange(257)], np.uint32)
    for byte, word in (*replacements, (PREFIX, prefix)):
        table[:, byte] = len(word), int.from_bytes(word, "little")
    return table


def starts_with(pieces: Pieces, word: bytes) -> Mask:
    """bool[n_pieces]: True for each piece that begins with `word`."""
    found: Mask = pieces.end - pieces.start >= len(word)
    at = pieces.start[found]
    for k, byte in enumerate(word):
        found[found] = hit = pieces.data[at + k] == byte
        at = at[hit]
    return found


def spell_out(pieces: Pieces) -> Pieces:
    """Replaces bytes by characters of the ByteLevel alphabet if pieces are `byte_level`, but not in added tokens."""
    if not pieces.byte_level:
        return pieces
    written = rewrite(pieces, {byte: character.encode() for byte, character in enumerate(BYTE_CHARACTERS)})
    return written._replace(byte_level=False)
