"""Word counts of a corpus. Training a model needs no other information about the text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gputok.files import word_count_files
from gputok.files.word_count_files import WordColumns
from gputok.types import public

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping

    from gputok.files.locations import StorageOptions
    from gputok.types import Bytes, Counts, Positions


@public("gputok")
@dataclass(frozen=True, eq=False, repr=False)
class WordCounts:
    """Distinct words, packed, and their counts.

    Words are in the order of their first occurrence, for any number of threads; training does not depend on this
    order. `Tokenizer.count_words` counts the words of a corpus. A corpus can be counted in parts, on several machines,
    and the parts can be merged in any order: training from the merged counts gives the same tokenizer.

    Attributes:
        data: uint8[n_bytes], the words one after the other.
        offsets: int64[n_words + 1], in bytes; word i is data[offsets[i]:offsets[i + 1]].
        counts: int64[n_words], each at least 1.
        byte_level: True if each byte of `data` stands for a character of the ByteLevel alphabet; False if `data` is
            UTF-8.

    Example:
        >>> counts = WordCounts.from_dict({"hug": 10, "pug": 5})
        >>> shards = [counts, WordCounts.from_dict({"pug": 7, "bun": 4})]
        >>> dict(WordCounts.merge(shards).items())
        {b'hug': 10, b'pug': 12, b'bun': 4}
    """

    data: Bytes
    offsets: Positions
    counts: Counts
    byte_level: bool = False

    def __len__(self) -> int:
        return len(self.counts)

    def __repr__(self) -> str:
        kind = "byte-level words" if self.byte_level else "words"
        return f"<WordCounts: {len(self):,} {kind}, {self.counts.sum():,} occurrences>"

    def __eq__(self, other: object) -> bool:
        """True if both hold the same words with the same counts, in any order."""
        if not isinstance(other, WordCounts):
            return NotImplemented
        if len(self) != len(other) or self.byte_level != other.byte_level:
            return False
        difference = WordCounts.merge(
            [self, WordCounts(other.data, other.offsets, -other.counts, other.byte_level)]
        )
        return len(difference) == 0  # a word whose counts add up to 0 is left out

    def items(self) -> Iterator[tuple[bytes, int]]:
        """Iterates over (word, count) pairs, for displays and tests.

        Words are `bytes`, since byte-level words need not be UTF-8.
        """
        raw, ends = self.data.tobytes(), self.offsets.tolist()
        return ((raw[ends[i] : ends[i + 1]], count) for i, count in enumerate(self.counts.tolist()))

    @classmethod
    def from_dict(cls, counts: Mapping[str | bytes, int], *, byte_level: bool = False) -> WordCounts:
        """Packs a dictionary.

        Args:
            counts: word -> count. Words are `str` or `bytes`.
            byte_level: True if each byte of a word stands for a character of the ByteLevel alphabet; False if `bytes`
                are UTF-8.

        Raises:
            ValueError: if a count is below 1, or if a word is not UTF-8 and `byte_level` is False.
        """
        words = [word.encode() if isinstance(word, str) else word for word in counts]
        offsets = np.zeros(len(words) + 1, np.int64)
        np.cumsum([len(word) for word in words], out=offsets[1:])
        packed = cls(
            np.frombuffer(b"".join(words), np.uint8),
            offsets,
            np.fromiter(counts.values(), np.int64, len(words)),
            byte_level,
        )
        packed._check("the dictionary")
        return packed

    @classmethod
    def merge(cls, shards: Iterable[WordCounts]) -> WordCounts:
        """Adds up the counts of several corpora or parts of a corpus.

        Args:
            shards: the counts. If only some are byte-level, their words are written out in the ByteLevel alphabet
                first (see `spelled_out`).

        Returns:
            Each word once, with the sum of its counts.
        """
        from gputok.kernels.cpu.count_words import count_pieces, distinct_words
        from gputok.kernels.cpu.word_table import new_table

        shards = list(shards)
        byte_level = all(shard.byte_level for shard in shards) and bool(shards)
        table, n = new_table(), 0
        for shard in shards:
            words = shard if byte_level else shard.spelled_out()
            table = count_pieces(words.data, words.offsets[:-1], words.offsets[1:], words.counts, n, table)
            n += len(shard)
        return cls(*distinct_words([table]), byte_level)

    def spelled_out(self) -> WordCounts:
        """Writes byte-level words in the characters of the ByteLevel alphabet; other words stay as they are."""
        if not self.byte_level:
            return self
        from gputok.text.pieces import Pieces, spell_out

        rows = np.array([0, len(self)], np.int64)
        spelled = spell_out(Pieces(self.data, self.offsets[:-1], self.offsets[1:], rows, byte_level=True))
        return WordCounts(spelled.data, np.append(spelled.start, spelled.end[-1:]), self.counts)

    def save(self, path: str | os.PathLike[str], *, storage_options: StorageOptions = None) -> None:
        """Writes a Parquet file of two columns, `word` (binary) and `count` (int64), atomically.

        Args:
            path: the file, or its URL; if writing fails, an older file of that name stays as it was.
            storage_options: of the file system of a URL, see `gputok.files.locations`.

        Raises:
            OSError: if the file cannot be written.
        """
        columns = WordColumns(self.data, self.offsets, self.counts, self.byte_level)
        word_count_files.write(path, columns, storage_options)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, storage_options: StorageOptions = None) -> WordCounts:
        """Reads a file that `save` wrote.

        Args:
            path: the file, or its URL.
            storage_options: of the file system of a URL, see `gputok.files.locations`.

        Raises:
            FileNotFoundError: if the file does not exist.
            ValueError: if the file is damaged, or was not written by `save`.
        """
        loaded = cls(*word_count_files.read(path, storage_options))
        loaded._check(str(path))
        return loaded

    def _check(self, source: str) -> None:
        """Raises ValueError if a count is below 1 or a word is not UTF-8; `source` names the origin in messages."""
        from gputok.kernels.cpu.text import find_invalid_utf8

        if len(self) and self.counts.min() < 1:
            i = int(self.counts.argmin())
            raise ValueError(f"{source}: word {i} occurs {self.counts[i]} times; counts must be at least 1")
        if not self.byte_level and (at := find_invalid_utf8(self.data)) >= 0:
            i = int(np.searchsorted(self.offsets, at, "right")) - 1
            word = self.data[self.offsets[i] : self.offsets[i + 1]].tobytes()
            raise ValueError(f"{source}: word {i}, {word!r}, is not UTF-8 (are the words byte-level?)")
