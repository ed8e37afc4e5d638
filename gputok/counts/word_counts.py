"""Word counts of a corpus. Training a model needs no other information about the text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np

from gputok.checks import brief, checked, integer, short, switch
from gputok.counts import files as count_files
from gputok.counts import partitions
from gputok.counts.files import CountFile, WordColumns
from gputok.counts.partitions import Tallies, Tally
from gputok.files.temporary import MemoryLimit
from gputok.kernels.cpu.rewrite import gather
from gputok.kernels.threads import run, thread_count
from gputok.lazy import public
from gputok.text.pieces import Pieces, spell_out

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from fractions import Fraction

    from gputok.files.locations import StorageOptions
    from gputok.progress import Report
    from gputok.types import Bytes, Counts, Positions


_COUNT = integer(-(2**63), 2**63 - 1)
_SOME = 1 << 18  # words that are read together


@public("gputok")
@dataclass(frozen=True, eq=False, repr=False)
class WordCounts:
    """Distinct words, packed, and their counts.

    The order of words is the same for any number of threads: that of their first occurrence or, of words that were
    added up (`merge`, `load`, a memory limit), an order that depends on the words alone. Training does not depend on
    it. `Tokenizer.count_words` counts the words of a corpus. A corpus can be counted in parts, on several machines, and
    the parts can be merged in any order: training from the merged counts gives the same tokenizer.

    Attributes:
        data: uint8[n_bytes], the words one after the other.
        offsets: int64[n_words + 1], in bytes; word i is data[offsets[i]:offsets[i + 1]].
        counts: int64[n_words], each at least 1.
        byte_level: True if each byte of `data` stands for a ByteLevel character; False if `data` is UTF-8.
        scale: what a word of a source of weight 1 counts for; 1 without weights. See `threshold`.

    Example:
        >>> counts = WordCounts.from_dict({"hug": 10, "pug": 5})
        >>> shards = [counts, WordCounts.from_dict({"pug": 7, "bun": 4})]
        >>> sorted(WordCounts.merge(shards).items())
        [(b'bun', 4), (b'hug', 10), (b'pug', 12)]
    """

    data: Bytes
    offsets: Positions
    counts: Counts
    byte_level: bool = False
    scale: Fraction | int = 1

    def __post_init__(self) -> None:
        """Checks the arrays: machine code reads the words at these offsets.

        Raises:
            TypeError: if an array has another dtype, or `byte_level` is no bool.
            ValueError: if the offsets do not rise within the data, a count is below 1, all counts together are above
                2**63 - 1, or a word is not UTF-8 and `byte_level` is False.
        """
        count_files.check_arrays(self.columns(), "the word counts")

    @classmethod
    def of_checked(cls, words: WordColumns, scale: Fraction | int = 1) -> Self:
        """Makes counts of arrays that gputok made or checked: checking large ones takes a twentieth of training."""
        made = object.__new__(cls)
        made.__dict__.update(words._asdict(), scale=scale)
        return made

    def __len__(self) -> int:
        return len(self.counts)

    def __repr__(self) -> str:
        kind = "byte-level words" if self.byte_level else "words"
        return f"<WordCounts: {len(self):,} {kind}, {self.n_occurrences():,} occurrences>"

    def __eq__(self, other: object) -> bool:
        """True if both hold the same words with the same counts, in any order."""
        if not isinstance(other, WordCounts):
            return NotImplemented
        if (len(self), self.byte_level, self.scale) != (len(other), other.byte_level, other.scale):
            return False
        negated = other.columns()._replace(counts=-other.counts)
        difference = WordCounts.merge([self, WordCounts.of_checked(negated, other.scale)])
        return len(difference) == 0  # a word whose counts add up to 0 is left out

    def threshold(self, times: int) -> int:
        """The count, at most 2**62, of a word that occurs `times` times in a source of weight 1 (`counts.weights`).

        Trainers, `at_least` and `Tokenizer.extend` compare counts with the threshold of their `min_frequency` or
        `min_count`.

        Example:
            >>> one, other = WordCounts.from_dict({"hug": 1}), WordCounts.from_dict({"pug": 2})
            >>> WordCounts.merge([one, other], weights=["0.5", "1"]).threshold(3)
            6
        """
        return min(math.ceil(times * self.scale), 2**62)

    def at_least(self, min_count: int) -> WordCounts:
        """The words that occur `min_count` times (`threshold`) or more, in their order; 0: all words.

        Training from fewer words takes less memory and gives another, approximate result: pairs lose what they have in
        the words that were left out. Leave words out after all shards are merged, never from a shard.

        Example:
            >>> dict(WordCounts.from_dict({"hug": 10, "pug": 1}).at_least(2).items())
            {b'hug': 10}
        """
        least = self.threshold(min_count)
        if least <= 1:
            return self
        kept = ((some, np.flatnonzero(some.counts >= least)) for some in self.slices(_SOME))
        frequent = (
            WordColumns(*gather(some.data, some.offsets[i], some.offsets[i + 1]), some.counts[i], self.byte_level)
            for some, i in kept
        )
        return WordCounts.of_checked(partitions.collected(frequent, self.byte_level, None), self.scale)

    def sizes_by_count(self, most: int) -> tuple[Counts, Counts]:
        """The number of words that occur c times, and their bytes, for c up to `most`; the last items include larger c.

        If counts are weighted, a word occurs c times if `at_least(c)` keeps it, and `at_least(c + 1)` does not.

        Returns:
            Two arrays, int64[most + 1].
        """
        n_words, n_bytes = np.zeros((2, most + 1), np.int64)
        thresholds = np.array([*map(self.threshold, range(most + 1))])
        for some in self.slices(_SOME):
            count = np.searchsorted(thresholds, some.counts, side="right") - 1
            n_words += np.bincount(count, minlength=most + 1)
            n_bytes += np.bincount(count, np.diff(some.offsets), most + 1).astype(np.int64)
        return n_words, n_bytes

    def slices(self, n_words: int) -> Iterator[WordCounts]:
        """The words in order, `n_words` at a time, without a copy of their bytes."""
        for words in partitions.slices(self.columns(), [*range(0, len(self), n_words), len(self)]):
            yield WordCounts.of_checked(words, self.scale)

    def n_occurrences(self) -> int:
        """The sum of all counts."""
        return sum(int(some.counts.sum()) for some in self.slices(_SOME))

    def n_bytes_of_text(self) -> int:
        """The bytes of all occurrences of all words, which may need more than 64 bits."""
        total = 0
        for some in self.slices(_SOME):
            sizes, counts = np.diff(some.offsets), some.counts
            total += (int(sizes @ (counts >> 32)) << 32) + int(sizes @ (counts & 0xFFFFFFFF))
        return total

    def check_symbols(self) -> None:
        """Raises ValueError if a trainer could count more than 2**63 - 1 characters or pairs."""
        # A word has no more characters, and no more pairs, than bytes
        most = max((int(some.counts.max(initial=0)) for some in self.slices(_SOME)), default=0)
        if most * len(self.data) > count_files.MOST:  # a bound, found sooner than the exact sum
            total = self.n_bytes_of_text()
            count_files.check_total(total, "training", "the bytes of all occurrences of words")

    def items(self) -> Iterator[tuple[bytes, int]]:
        """Iterates over (word, count) pairs; words are `bytes`, since byte-level words need not be UTF-8."""
        raw, ends = self.data.tobytes(), self.offsets.tolist()
        return ((raw[ends[i] : ends[i + 1]], count) for i, count in enumerate(self.counts.tolist()))

    @classmethod
    def from_dict(cls, counts: Mapping[str | bytes, int], *, byte_level: bool = False) -> WordCounts:
        """Packs a dictionary.

        Args:
            counts: word -> count. Words are `str` or `bytes`.
            byte_level: True if each byte of a word stands for a ByteLevel character; False if `bytes` are UTF-8.

        Raises:
            TypeError: if a word is neither `str` nor `bytes`, or a count is not a whole number.
            ValueError: if a count is below 1, all together are above 2**63 - 1, or words are not UTF-8, nor byte-level.
        """
        words = [_encoded(word) for word in counts]
        offsets = np.cumsum([0, *map(len, words)], dtype=np.int64)
        numbers = [checked(f"the count of {word!r}", _COUNT, count) for word, count in counts.items()]
        packed = np.frombuffer(b"".join(words), np.uint8)
        columns = WordColumns(packed, offsets, np.array(numbers, np.int64), byte_level)
        count_files.check_arrays(columns, "the dictionary")
        return cls.of_checked(columns)

    @classmethod
    def merge(
        cls,
        shards: Iterable[WordCounts],
        *,
        weights: Sequence[str | float] | None = None,
        temperature: str | float | None = None,
        memory_limit: int | str | None = None,
        temporary: str | os.PathLike[str] | None = None,
        threads: int | None = None,
    ) -> WordCounts:
        """Adds up the counts of several corpora or parts of a corpus.

        To merge files that were saved, `load` them together: that reads one partition of each file at a time.

        Args:
            shards: the counts, taken one after the other. If only some are byte-level, they are `spelled_out` first.
            weights: for each of the shards, what each of its words counts for, as a decimal ("0.3"). They become whole
                numbers (`gputok.counts.weights`), so that counts are exact, and the same for any division into shards.
            temperature: instead of weights, from 0 to 1: if the text of a shard is the share p of all text, in bytes,
                it counts as the share p ** temperature. The whole weights are those of `temperature_weights`. Merge the
                shards of each source first, since shards of a source would be weighted apart.
            memory_limit: bytes, or text like "4GB"; temporary files keep the words that do not fit, and the result.
                None: no limit.
            temporary: a folder for these files, by default that of the operating system.
            threads: by default GPUTOK_NUM_THREADS, or all cores; used with a limit.

        Returns:
            Each word once, with the sum of its counts, in an order that depends on the words alone.

        Raises:
            ValueError: if `memory_limit` is not a number of bytes, or too small; if a weight is not a number above 0,
                there are not as many as shards, or shards have other scales; if counts could reach 2**62.
            OSError: if the folder for temporary files is full.

        Example:
            >>> wiki, code = WordCounts.from_dict({"so": 10}), WordCounts.from_dict({"so": 1, "if": 2})
            >>> both = WordCounts.merge([wiki, code], weights=["0.5", "1.75"])
            >>> sorted(both.items()), both.scale
            ([(b'if', 14), (b'so', 27)], Fraction(4, 1))
        """
        memory = MemoryLimit.of(memory_limit, temporary)
        factors, factor = None, 1
        if weights is not None or temperature is not None:
            shards = [*shards]
            factors, factor = _factors(shards, weights, temperature)
        tallies, scale, kinds = Tallies.within(memory), None, set[bool]()
        for i, shard in enumerate(shards):
            if scale not in (None, shard.scale):
                raise ValueError(
                    f"shard {i} was weighted so that a word of weight 1 counts {shard.scale}, and those before it so "
                    f"that it counts {scale}: merge the shards of all sources by one call, with a weight for each"
                )
            scale = shard.scale
            for some in shard.slices(_SOME) if len(shard) else [shard]:
                words = some.columns()
                kinds.add(words.byte_level)
                tallies.add(words if factors is None else words._replace(counts=words.counts * factors[i]))
        if kinds and not tallies:  # all are empty
            _ = tallies[all(kinds)]
        merged = cls.of_tallies([*tallies.values()], memory, thread_count(threads))
        return cls.of_checked(merged.columns(), (scale or 1) * factor)

    @classmethod
    def of_tallies(
        cls,
        tallies: Sequence[Tally],
        memory: MemoryLimit | None,
        threads: int,
        files: Sequence[CountFile] = (),
        report: Report | None = None,
    ) -> WordCounts:
        """The words of tallies, which can't be used later, and of files, which are byte-level if all tallies are."""
        byte_level = bool(tallies) and all(tally.byte_level for tally in tallies)
        same = [tally for tally in tallies if tally.byte_level == byte_level]
        for other in tallies:
            if other.byte_level != byte_level:  # if only some words are byte-level, these are spelled out
                for words in other.words():
                    same[0].add(cls.of_checked(words).spelled_out().columns())
        if len(same) == 1 and not files and same[0].spilled is None:
            parts = same[0].words()
        else:
            sources = [*run(Tally.source, [(tally,) for tally in same], threads), *files]
            parts = partitions.added_up(sources, byte_level, memory, threads, report)
        return cls.of_checked(partitions.collected(parts, byte_level, memory))

    def columns(self) -> WordColumns:
        """The arrays, as functions of `gputok.counts` and `gputok.kernels` take them."""
        return WordColumns(self.data, self.offsets, self.counts, self.byte_level)

    def spelled_out(self) -> WordCounts:
        """Writes byte-level words in the characters of the ByteLevel alphabet; other words stay as they are."""
        if not self.byte_level:
            return self
        rows = np.array([0, len(self)], np.int64)
        spelled = spell_out(Pieces(self.data, self.offsets[:-1], self.offsets[1:], rows, byte_level=True))
        offsets = np.append(spelled.start, spelled.end[-1:])
        return WordCounts.of_checked(WordColumns(spelled.data, offsets, self.counts, False), self.scale)

    def save(self, path: str | os.PathLike[str], *, storage_options: StorageOptions = None) -> None:
        """Writes a Parquet file of two columns, `word` (binary) and `count` (int64), atomically.

        The order of words in the file depends on the words alone, so the same counts give the same bytes. Words whose
        hashes begin alike stand together: `load` adds up many such files one partition at a time.

        Args:
            path: the file, or its URL; if writing fails, an older file of that name stays as it was.
            storage_options: of the file system of a URL, see `gputok.files.locations`.

        Raises:
            OSError: if the file cannot be written.
        """
        sizes, parts = partitions.in_partitions(self.columns())
        count_files.write(path, parts, sizes, self.byte_level, storage_options, scale=self.scale)

    @classmethod
    def load(
        cls,
        path: Any,
        *,
        byte_level: bool | None = None,
        word_column: str = "word",
        count_column: str = "count",
        memory_limit: int | str | None = None,
        temporary: str | os.PathLike[str] | None = None,
        threads: int | None = None,
        storage_options: StorageOptions = None,
    ) -> WordCounts:
        """Reads Parquet files that `save` wrote, or another program, and adds up the counts of equal words.

        Of many files that `save` wrote, one partition of each is read at a time: memory holds little but the result.

        Args:
            path: a file, folder or glob, a URL of these, or a list of them.
            byte_level: for files of other programs: True if each byte of a word stands for a character of the ByteLevel
                alphabet, as `Tokenizer.word_counter` gives them for such a tokenizer; False if words are UTF-8.
            word_column: the name of the column of words, of binary or string type.
            count_column: the name of the column of counts: integers, decimals or floats, all whole and below 2**63.
            memory_limit: as in `merge`.
            temporary: as in `merge`.
            threads: by default GPUTOK_NUM_THREADS, or all cores.
            storage_options: of the file system of a URL, see `gputok.files.locations`.

        Returns:
            The words. One file that `save` wrote gives the order of the file.

        Raises:
            FileNotFoundError: if a file does not exist, or a folder or glob has no file.
            ValueError: if a file is damaged, not written by `save` (and `byte_level` is None), or holds no word counts.
        """
        memory = MemoryLimit.of(memory_limit, temporary)
        columns = count_files.ColumnNames.of(byte_level, word_column, count_column)
        found = count_files.find_files(path, storage_options)
        files = [CountFile(file, columns, is_limited=memory is not None) for file in found]
        scale = files[0].scale if files else 1
        for file in files:
            if file.scale != scale:
                raise ValueError(
                    f"{file.file}: was weighted so that a word of weight 1 counts {file.scale}, and {files[0].file} so "
                    f"that it counts {scale}: their counts can't be added up"
                )
        if len(files) == 1 and files[0].is_distinct and memory is None:
            return cls.of_checked(partitions.collected(files[0].batches(), files[0].byte_level, None), scale)
        # A file without words, of an empty corpus, has no say in whether the words are byte-level
        files = [file for file in files if file.n_words] or files
        all_byte_level = all(file.byte_level for file in files)
        if memory is not None and files:
            next(files[0].batches(), None)  # Arrow loads what it needs
            memory = memory.after("opening the files")
        tallies = Tallies.within(memory)
        parted: list[CountFile] = []
        _ = tallies[all_byte_level]
        for file in files:
            if file.is_partitioned and file.byte_level == all_byte_level:
                parted.append(file)
            else:
                for words in file.batches():
                    tallies.add(words)
        return cls.of_checked(
            cls.of_tallies([*tallies.values()], memory, thread_count(threads), parted).columns(), scale
        )

    @classmethod
    def from_arrow(
        cls,
        table: Any,
        *,
        byte_level: bool = False,
        word_column: str = "word",
        count_column: str = "count",
        memory_limit: int | str | None = None,
        temporary: str | os.PathLike[str] | None = None,
    ) -> WordCounts:
        """Adds up the counts of equal words of an Arrow table.

        Args:
            table: a pyarrow.Table, RecordBatch or RecordBatchReader, an iterable of RecordBatches, or what exports an
                Arrow stream (a frame of polars or pandas, a relation of DuckDB).
            byte_level: as in `load`.
            word_column: as in `load`.
            count_column: as in `load`.
            memory_limit: as in `merge`.
            temporary: as in `merge`.

        Returns:
            Each word once, in an order that depends on the words alone.

        Raises:
            ValueError: if a column is missing, or holds what cannot be a word or a count.

        Example:
            >>> import pyarrow as pa
            >>> table = pa.table({"word": ["hug", "pug", "hug"], "n": [10, 5, 1]})
            >>> sorted(WordCounts.from_arrow(table, count_column="n").items())
            [(b'hug', 11), (b'pug', 5)]
        """
        memory = MemoryLimit.of(memory_limit, temporary)
        columns = count_files.ColumnNames.of(checked("byte_level", switch, byte_level), word_column, count_column)
        tallies, n_rows = Tallies.within(memory), 0
        _ = tallies[byte_level]
        for batch in count_files.record_batches(table):
            tallies.add(count_files.from_arrow(batch, byte_level, columns, "the table", n_rows))
            n_rows += batch.num_rows
        return cls.of_tallies([*tallies.values()], memory, thread_count(None))


def _encoded(word: Any) -> bytes:
    if isinstance(word, str):
        return word.encode()
    if not isinstance(word, bytes):
        raise TypeError(f"the dictionary: a word must be str or bytes, not {brief(word)}")
    return word


def of_sources(
    count: Callable[[Any], WordCounts],
    sources: Any,
    weights: Mapping[str, str | float] | None,
    temperature: str | float | None,
    **limits: Any,
) -> WordCounts:
    """Counts sources (name -> source) one after the other, and adds them up by their weights.

    weights: name -> weight; 1 for a source that is not named. limits: the other arguments of `WordCounts.merge`. Raises
    TypeError if `sources` is no mapping, and ValueError if a weight is for no source, or `merge` refuses the weights.
    """
    from gputok.counts.weights import temperature_weights, whole_weights

    if not isinstance(sources, Mapping):
        raise TypeError(f"with weights or a temperature, sources must be a mapping of names, not {brief(sources)}")
    by_source = cast("Mapping[str, Any]", sources)
    if unknown := (weights or {}).keys() - by_source.keys():
        names = ", ".join(map(str, by_source))
        raise ValueError(
            f"there is a weight for {short(sorted(unknown)[0])}, but no such source: the sources are {names}"
        )
    by_name = None if weights is None else [weights.get(name, 1) for name in by_source]
    whole_weights(by_name or [])  # raises its error before the work
    temperature_weights([], 0 if temperature is None else temperature)
    shards = [count(source) for source in by_source.values()]
    return WordCounts.merge(shards, weights=by_name, temperature=temperature, **limits)


def _factors(
    shards: Sequence[WordCounts], weights: Sequence[str | float] | None, temperature: str | float | None
) -> tuple[list[int], Fraction | int]:
    """Returns the whole weight of each shard, and what a weight of 1 became."""
    from gputok.counts.weights import temperature_weights, whole_weights

    if weights is not None and temperature is not None:
        raise ValueError("give weights or a temperature, not both")
    sizes = [shard.n_bytes_of_text() for shard in shards]
    if weights is None:
        factors, factor = temperature_weights(sizes, temperature or 0)
    elif len(weights) != len(shards):
        raise ValueError(f"{len(weights)} weights for {len(shards)} shards")
    else:
        factors, factor = whole_weights(weights)
    # A word has a byte or more, so no count is above the bytes of all occurrences; empty words are not counted
    if (total := sum(w * size for w, size in zip(factors, sizes, strict=True))) >= 2**62:
        raise ValueError(
            f"with the whole weights {', '.join(map(str, factors))}, counts could reach {total:,}, beyond 2**62: give "
            "weights with fewer digits"
        )
    return factors, factor
