"""How often each word of a corpus occurs: all that training a model needs to know of its text."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gputok.types import public

if TYPE_CHECKING:
    from gputok.files.locations import StorageOptions

_METADATA, _VERSION = b"gputok.word_counts", 1


@public("gputok")
@dataclass(frozen=True, eq=False, repr=False)
class WordCounts:
    """Distinct words, packed, and their counts.

    The order of the words is that of their first occurrence, whatever the number of threads was; nothing depends on
    it. `counting.count_words` makes them from text; a corpus can be counted in parts, on several machines, and the
    parts be merged in any order: training from the merged counts gives the same tokenizer.

    >>> counts = WordCounts.from_dict({"hug": 10, "pug": 5})
    >>> shards = [counts, WordCounts.from_dict({"pug": 7, "bun": 4})]
    >>> dict(WordCounts.merge(shards).items())
    {b'hug': 10, b'pug': 12, b'bun': 4}
    """

    data: np.ndarray  # uint8[n_bytes]
    offsets: np.ndarray  # int64[n_words + 1]; word i is data[offsets[i]:offsets[i + 1]]
    counts: np.ndarray  # int64[n_words], each at least 1
    byte_level: bool = False
    """Each byte of `data` stands for the character of the ByteLevel alphabet that spells it; else `data` is UTF-8."""

    def __len__(self) -> int:
        return len(self.counts)

    def __repr__(self) -> str:
        kind = "byte-level words" if self.byte_level else "words"
        return f"<WordCounts: {len(self):,} {kind}, {self.counts.sum():,} occurrences>"

    def __eq__(self, other: object) -> bool:
        """The same words, each as often, in whatever order."""
        if not isinstance(other, WordCounts):
            return NotImplemented
        if len(self) != len(other) or self.byte_level != other.byte_level:
            return False
        difference = WordCounts.merge(
            [self, WordCounts(other.data, other.offsets, -other.counts, other.byte_level)]
        )
        return len(difference) == 0  # words whose counts cancel out are none

    def items(self) -> Iterator[tuple[bytes, int]]:
        """(word, count) pairs, for eyes and tests. Words are bytes: those of byte-level words need not be UTF-8."""
        raw, ends = self.data.tobytes(), self.offsets.tolist()
        return ((raw[ends[i] : ends[i + 1]], count) for i, count in enumerate(self.counts.tolist()))

    @classmethod
    def from_dict(cls, counts: Mapping[str | bytes, int], *, byte_level: bool = False) -> WordCounts:
        """Packs a dictionary; words are `str`, or `bytes` that are UTF-8 unless `byte_level`."""
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
        """The counts of all shards together.

        Where only some are byte-level, those are written out in the ByteLevel alphabet (`spell_out`).
        """
        from gputok.kernels.cpu.word_table import new_table
        from gputok.kernels.cpu.words import count_pieces, distinct_words

        shards = list(shards)
        byte_level = all(shard.byte_level for shard in shards) and bool(shards)
        table, n = new_table(), 0
        for shard in shards:
            words = shard if byte_level else shard.spelled_out()
            table = count_pieces(words.data, words.offsets[:-1], words.offsets[1:], words.counts, n, table)
            n += len(shard)
        return cls(*distinct_words([table]), byte_level)

    def spelled_out(self) -> WordCounts:
        """The same words in the characters of the ByteLevel alphabet, if they are byte-level; else themselves."""
        if not self.byte_level:
            return self
        from gputok.text.pieces import Pieces, spell_out

        rows = np.array([0, len(self)], np.int64)
        spelled = spell_out(Pieces(self.data, self.offsets[:-1], self.offsets[1:], rows, byte_level=True))
        return WordCounts(spelled.data, np.append(spelled.start, spelled.end[-1:]), self.counts)

    def save(self, path: str | os.PathLike[str], *, storage_options: StorageOptions = None) -> None:
        """Writes a Parquet file of two columns, `word` (binary) and `count` (int64), to a path or URL."""
        import pyarrow as pa
        import pyarrow.parquet

        from gputok.files.locations import writing

        buffers = [None, pa.py_buffer(self.offsets), pa.py_buffer(self.data)]
        words = pa.Array.from_buffers(pa.large_binary(), len(self), buffers)
        description = json.dumps({"version": _VERSION, "byte_level": self.byte_level})
        table = pa.table({"word": words, "count": self.counts})
        with writing(path, storage_options) as beside:
            pa.parquet.write_table(
                table.replace_schema_metadata({_METADATA: description}), beside, compression="zstd"
            )

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, storage_options: StorageOptions = None) -> WordCounts:
        """Reads what `save` wrote. ValueError: the file is something else, or damaged."""
        import pyarrow as pa
        import pyarrow.parquet

        from gputok.files.locations import locate

        path = os.fspath(path)
        try:
            with locate(path, storage_options).open_for_arrow() as file:
                table = pa.parquet.read_table(file)
        except pa.ArrowInvalid as error:
            raise ValueError(f"{path}: not a Parquet file, or a damaged one ({error})") from None
        description = _description(path, table.schema.metadata or {})
        words, counts = table["word"].combine_chunks(), table["count"].combine_chunks()
        words = words.chunk(0) if isinstance(words, pa.ChunkedArray) else words
        _, offsets, data = words.cast(pa.large_binary()).buffers()
        offsets = np.frombuffer(offsets or bytes(8), np.int64)[words.offset : words.offset + len(words) + 1]
        loaded = cls(
            np.frombuffer(data or b"", np.uint8)[offsets[0] : offsets[-1]],
            offsets - offsets[0],
            counts.to_numpy().astype(np.int64),
            description["byte_level"],
        )
        loaded._check(path)
        return loaded

    def _check(self, source: str) -> None:
        """ValueError unless these can be the words of a corpus."""
        from gputok.kernels.cpu.text import find_invalid_utf8

        if len(self) and self.counts.min() < 1:
            i = int(self.counts.argmin())
            raise ValueError(f"{source}: word {i} occurs {self.counts[i]} times; counts must be at least 1")
        if not self.byte_level and (at := find_invalid_utf8(self.data)) >= 0:
            i = int(np.searchsorted(self.offsets, at, "right")) - 1
            word = self.data[self.offsets[i] : self.offsets[i + 1]].tobytes()
            raise ValueError(f"{source}: word {i}, {word!r}, is not UTF-8 (are the words byte-level?)")


def _description(path: str, metadata: Mapping[bytes, bytes]) -> dict[str, Any]:
    if _METADATA not in metadata:
        raise ValueError(
            f"{path}: holds no word counts; they are written by `gputok count` or WordCounts.save"
        )
    description = json.loads(metadata[_METADATA])
    if description["version"] != _VERSION:
        raise ValueError(
            f"{path}: word counts of version {description['version']}, but this gputok reads version {_VERSION}; "
            "count again, or use the gputok that wrote them"
        )
    return description
