"""Encodes texts, pairs of texts and lists of words: the ids at once, other attributes of an Encoding at first access.

A short text takes one kernel call, which does all steps: they and the tables of a pipeline are written once into a
*handle* (`encode.handle`, `gputok.kernels.cpu.encode_one`); machine code calls it for many texts, in several threads.
Long texts go the way of corpora (`encode.units`), and many texts do if Numba compiles the kernels. Each text of a pair,
and each word of a list, is encoded alone; then the ids are cut and joined. If a handle can't hold a pipeline,
`encode.stepwise` encodes the inputs, with the same result.
"""

from __future__ import annotations

import copy
import dataclasses
import itertools
import operator
import struct
from _thread import allocate_lock
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np

from gputok.encoding.encoding import Encoding
from gputok.kernels.builtins import Maker
from gputok.kernels.cpu.encode_one.encode import LONGEST, POSITIONS
from gputok.kernels.cpu.encode_one.units import MOST_BYTES
from gputok.kernels.signatures import NamedTuple
from gputok.kernels.threads import share, thread_count
from gputok.pipeline.encode import stepwise, units
from gputok.pipeline.encode.handle import ANY, HEAD, Scratch, TextCall, TextEngine
from gputok.pipeline.special_tokens import Frame, surrounded
from gputok.text.pieces import TextBatch, check_lengths, joined_offsets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gputok.encoding.rows import Column
    from gputok.pipeline.encode.stepwise import Given
    from gputok.pipeline.limits import Padding
    from gputok.pipeline.pipeline import Pipeline
    from gputok.types import Array, Ids, Positions

ID = 4  # bytes of an id in `Made`
CUT, PADDED, SEVERAL = 1, 2, 4

Made = tuple[Any, bytes, Any, int, Any, int]
"""The contents of a new Encoding: the `Texts` that makes its attributes; its ids (uint32); the text, or a tuple of one
or two texts or lists of words; 1 if special tokens were added; of a tuple, how many tokens each item has, else None;
the sum of CUT (truncation cut tokens off), PADDED and SEVERAL (a tuple): if it is 0, machine code may make attributes.
"""

_Values = TypeVar("_Values", list[Any], bytes)

_LATER = 4  # texts after which machine code makes the encodings: its memory would be too much for one text
_MOST_BYTES_A_CHARACTER = 4
_LARGEST = 1 << 30  # a larger length of padding is a mistake, and `encode.stepwise` raises the error
_FEW = 1 << 13  # the most characters, of all texts, to encode them one by one: the way of corpora takes longer to begin
_FEW_FOR_THREADS = 1 << 18  # the most characters that one thread encodes before others would have started
_LONG = 1 << 16  # characters: texts longer on average go the way of corpora, which cuts a text for several threads
_CHUNK_CHARACTERS = 1 << 16, 1 << 20  # the least and the largest number of characters that a thread encodes at a time
_LOCKED_BYTES = 1 << 15  # a thread frees the GIL to encode more: for less, getting it back could take much longer


def texts_of(pipeline: Pipeline, *, bare: bool = False) -> Texts | None:
    """Returns what encodes the texts, made once, with offsets or bare; None: a handle can't hold the pipeline."""
    return pipeline.kept.once(("texts", bare), lambda: Texts.of(pipeline, bare))


def encode_batch(
    pipeline: Pipeline, given: Any, is_pretokenized: bool, special: bool, threads: int | None = None, bare: bool = False
) -> list[Encoding]:
    """Encodes texts and pairs of texts, as `Tokenizer.encode_batch` does; bare: as `encode_batch_fast` does."""
    texts = None if is_pretokenized else texts_of(pipeline, bare=bare)
    if texts is not None and isinstance(given, list | tuple):
        mine: list[Any] = [*given]  # which no other thread can change
        if (n_characters := texts.measure(mine)) >= 0:
            if texts.pays_to_join(len(mine), n_characters):
                found = texts.encode_many(mine, int(special), threads)
            else:
                found = texts.encode_each(mine, n_characters, int(special), threads)
            if found is not None:
                return texts.padded_to_longest(found)
    inputs = stepwise.check_inputs(given, is_pretokenized)
    return encode_inputs(pipeline, inputs, is_pretokenized, special, threads, bare=bare)


def encode_inputs(
    pipeline: Pipeline,
    inputs: list[Given],
    is_pretokenized: bool,
    special: bool,
    threads: int | None = None,
    *,
    bare: bool = False,
) -> list[Encoding]:
    """Encodes what `stepwise.check_inputs` returns."""
    texts = texts_of(pipeline, bare=bare)
    if texts is not None and (found := texts.encode_inputs(inputs, int(special), threads)) is not None:
        return texts.padded_to_longest(found)
    return stepwise.encode(pipeline, inputs, is_pretokenized, special, offsets=not bare, threads=threads)


class Texts:
    """Encodes the texts of a pipeline, and makes the attributes of their encodings; see `Encoding._later`.

    bare: encodings have no offsets, words and texts of tokens. Where a method takes `threads`, None is one thread for
    few texts, else all cores; special: 1 with special tokens, else 0.

    Attributes:
        address: of what machine code makes lists with; 0: Python makes them.
    """

    address = 0

    def __init__(self, pipeline: Pipeline, engine: TextEngine, bare: bool) -> None:
        self.pipeline, self.engine, self._bare = pipeline.with_limits(), engine, bare
        self._spell, self._odd = pipeline.names.spelling.__getitem__, pipeline.odd_tokens
        padding = self._padding = pipeline.padding
        self._flags, fillers = 0, (0, 0, 0, 0)
        if padding is not None:
            self._flags, fillers = PADDED, (padding.pad_id, padding.pad_type_id, 1, 0)
        # Column that is made of the ids alone -> the value of a padding token, uint32 in bytes
        self._fillers = {name: struct.pack("=I", filler) for name, filler in zip(_COLUMNS, fillers, strict=True)}
        self._scratch, self._ids_of, self._longest = engine.scratch, engine.ids_of, engine.longest
        self._list_ids, self.measure, self._builtins = engine.list_ids, engine.measure, engine.builtins
        if (builtins := engine.builtins) is not None:
            self._encode_one, self._encode_each = builtins.encode_one, builtins.encode_each
        self._maker = self._own = self._unlimited = None
        self._until_later = _LATER
        self._by_units = engine.builtins is not None and engine.units is not None
        self._frames: dict[int, list[Frame | None]] = {}  # by the number of texts: without and with special tokens
        # (number of texts, special) -> how many tokens truncation leaves of them; special -> the most that are not cut
        self._rooms, self._most, cut = {}, (ANY, ANY), pipeline.truncation
        if cut is not None:
            added = [(1, 0, 0), (2, 0, 0), *((n, 1, pipeline.num_special_tokens_to_add(n == 2)) for n in (1, 2))]
            self._rooms = {(n, special): cut.room(n_added) for n, special, n_added in added}
            sizes = enumerate(engine.n_special)
            most = [room + n if (room := self._rooms[1, special]) > 0 else -1 for special, n in sizes]
            self._most = most[0], most[1]
            # Whether truncation leaves enough of a text, and raises no error
            self._may_cut = [self._rooms[1, i] > cut.stride and cut.strategy != "only_second" for i in (0, 1)]
        if cut or pipeline.padding:
            self._unlimited = Texts(pipeline.with_limits(truncation=None, padding=None), engine, bare)
        self._frame_of(1, 0)
        self._from_left = cut is not None and cut.direction == "left"

    @classmethod
    def of(cls, pipeline: Pipeline, bare: bool) -> Self | None:
        """Returns None if a handle can't hold the pipeline."""
        padding = pipeline.padding
        if padding is not None and (padding.length or 0) + (padding.pad_to_multiple_of or 0) > _LARGEST:
            return None
        engine = pipeline.engines.once("texts", lambda: TextEngine.of(pipeline))
        return None if engine is None else cls(pipeline, engine, bare)

    def _frame_of(self, n: int, special: int) -> Any:
        """The Frame of n texts; None: the post-processor does not put the texts in order."""
        if n not in self._frames:
            type_ids = (0, 0 if self._bare else 1)[:n]
            self._frames[n] = [Frame.of(self.pipeline, bool(special), type_ids) for special in (0, 1)]
        return self._frames[n][special]

    @property
    def joins(self) -> int:
        """How many texts an input can have, with and without special tokens."""
        if self._longest[0] < 0:  # even without special tokens, the post-processor adds some or leaves the text out
            return 0
        return 2 if self._frame_of(2, 0) and self._frame_of(2, 1) else 1

    def encode(self, text: str, add_special_tokens: bool) -> Encoding | None:
        """Encodes a text; None: `encode.stepwise` must encode it."""
        special = 1 if add_special_tokens else 0
        if (maker := self._maker) is not None:
            found = self._encode_one(maker.address, text, special)
            return found if type(found) is Encoding else self.finish(found, text, special)
        self._until_later -= 1
        if self._until_later == 0:
            self._prepare_machine_code()
        return self._encode_in_python(text, special)

    def pays_to_join(self, n_texts: int, n_characters: int) -> bool:
        """Whether it pays to encode texts together, by the way of corpora."""
        if self._by_units:
            return n_characters > _FEW_FOR_THREADS and n_characters > _LONG * n_texts
        return n_characters > _FEW

    def encode_each(
        self, texts: list[str], n_characters: int, special: int, threads: int | None = None
    ) -> list[Encoding] | None:
        """Encodes texts one after the other; None: `encode.stepwise` must encode them."""
        if self._maker is None and len(texts) > self._until_later > 0:
            self._prepare_machine_code()
        if (maker := self._maker) is None:
            made = (self.encode(text, bool(special)) for text in texts)
            found = [encoding for encoding in made if encoding is not None]
            return found if len(found) == len(texts) else None
        if n_characters > _FEW_FOR_THREADS:
            some = self._by_threads(texts, n_characters, special, threads)
            return self._finished((some,), texts, special)
        if self._builtins is not None and self._own is not None and not self._builtins.claim(maker.address):
            try:
                self._own.expect(_MOST_BYTES_A_CHARACTER * n_characters)
            finally:
                maker.release()
        some = self._encode_each(maker.address, texts, len(texts), special, _LOCKED_BYTES)
        return self._finished(some, texts, special)

    def _by_threads(
        self, texts: list[str], n_characters: int, special: int, threads: int | None, only_ids: bool = False
    ) -> list[Any]:
        """Returns what `_encode_each` finds, in chunks. After each chunk, caches grow, and Ctrl-C is noticed."""
        n_threads = thread_count(threads)
        locked = 0 if n_threads > 1 else _LOCKED_BYTES
        least, most = _CHUNK_CHARACTERS
        aim = min(max(n_characters // (4 * n_threads), least), most)
        size = max(len(texts) * aim // n_characters, 1)

        def work(chunks: Iterator[int]) -> dict[int, list[Any] | tuple[list[Any]]]:
            memory = self._scratch.take(self.engine)
            maker = self._new_maker(memory, only_ids)
            made: dict[int, list[Any] | tuple[list[Any]]] = {}
            for first in chunks:
                some = texts[first : first + size]
                memory.expect(_MOST_BYTES_A_CHARACTER * self.measure(some))
                made[first] = self._encode_each(maker.address, some, len(some), special, locked)
            self._scratch.give(memory)
            return made

        firsts = range(0, len(texts), size)
        made = {first: some for each in share(work, firsts, n_threads) for first, some in each.items()}
        found: list[Any] = []
        for first in firsts:
            some = made[first]
            found += some[0] if isinstance(some, tuple) else some
        return found

    def _finished(self, found: list[Any] | tuple[list[Any]], texts: list[str], special: int) -> list[Encoding] | None:
        """Returns what `encode_each` found, with encodings also for texts for which machine code has given none."""
        if isinstance(found, list):
            return found
        (some,) = found
        for i, one in enumerate(some):
            if type(one) is not Encoding:
                some[i] = self.finish(one, texts[i], special)
                if some[i] is None:
                    return None
        return some

    def _new_maker(self, memory: Scratch, only_ids: bool = False) -> Maker:
        """Makes a Maker of encodings; only_ids: no number of ids is small enough for one, so that it gives the ids."""
        columns = None if self._bare or only_ids else self.engine.columns(memory)
        most = (-1, -1) if only_ids else self._most
        return Maker(memory.call, Encoding, "_later", self, self._flags, most, columns)

    def _prepare_machine_code(self) -> None:
        """Makes what `encode_one` and `encode_each` take, if the kernels are machine code."""
        self._until_later = 0
        if self._builtins is None:
            return
        with _PREPARING:  # of two threads, the second one would free what the first one works with
            if self._maker is None:
                own = self._scratch.take(self.engine)
                maker = self._new_maker(own)
                self._own, self._maker, self.address = own, maker, maker.address

    def rest(self) -> None:
        """Gives the memory of machine code back to its pool; the Maker stays claimed, so Python encodes from now on."""
        if self._unlimited is not None:
            self._unlimited.rest()
        maker, own, builtins = self._maker, self._own, self._builtins
        if maker is not None and own is not None and builtins is not None and not builtins.claim(maker.address):
            self._own = None
            self._scratch.give(own)

    def __del__(self) -> None:
        # The maker stays claimed: an object in a circle of references with this one may still encode in its `__del__`
        if self._own is not None and self._builtins is not None and not self._builtins.claim(self.address):
            self._scratch.give(self._own)

    def finish(self, found: bytes | int, text: str, special: int) -> Encoding | None:
        """Returns the encoding of a text for which `encode_one` has given none, but ids or a negative number."""
        maker, memory = self._maker, self._own
        if isinstance(found, int):
            assert maker is not None
            assert self._builtins is not None
            if memory is None or self._builtins.claim(maker.address):  # another thread uses it
                return self._encode_in_python(text, special)
            try:
                found = memory.again(text, special, found)
            finally:
                maker.release()
        return self._encoding_of(found, text, special)

    def _encode_in_python(self, text: str, special: int) -> Encoding | None:
        memory = self._scratch.take(self.engine)
        ids = self._ids_of(memory.call, text, special)
        if isinstance(ids, int):
            ids = memory.again(text, special, ids)
        self._scratch.give(memory)
        return self._encoding_of(ids, text, special)

    def _encoding_of(self, ids: bytes | int, text: str, special: int) -> Encoding | None:
        if isinstance(ids, int):  # the text is too long for a handle
            found = self.encode_many([text], special)
            return None if found is None else found[0]
        flags = self._flags
        if len(ids) // ID > self._most[special]:
            if not self._may_cut[special]:
                return None
            frame: Any = self._frames[1][special]
            ids = self._cut(ids, self._rooms[1, special], frame.n_before, frame.n_special - frame.n_before)
            flags |= CUT
        return _encoding(self, ids, text, special, None, flags)

    def _cut(self, values: _Values, n: int, before: int = 0, after: int = 0) -> _Values:
        """Keeps n tokens of a text, and special tokens around it; values: ids, or a list of an item for each token."""
        width = ID if isinstance(values, bytes) else 1
        first, last, n = width * before, len(values) - width * after, width * n
        if self._from_left:
            return values[:first] + values[max(first, last - n) :]
        return values[: min(last, first + n)] + values[last:]

    def ids_of_each(
        self, texts: list[str], threads: int | None = None, counts: list[int] | None = None
    ) -> list[bytes] | None:
        """Returns the ids of each text alone, or of as many together as `counts` says; None: they are not all str."""
        if (n_characters := self.measure(texts)) < 0:
            return None
        many = n_characters > _FEW_FOR_THREADS
        if self.pays_to_join(len(texts), n_characters) or (many and counts is not None):
            return self._ids_by_corpora(texts, threads, counts)
        some: list[bytes | int] = []
        if many:
            some = self._by_threads(texts, n_characters, 0, threads, only_ids=True)
        memory = self._scratch.take(self.engine)
        if not many:
            memory.expect(_MOST_BYTES_A_CHARACTER * n_characters)
            some = [*map(self._ids_of, itertools.repeat(memory.call), texts, itertools.repeat(0))]
        found: list[bytes] = []
        for ids, text in zip(some, texts, strict=True):
            again = memory.again(text, 0, ids) if isinstance(ids, int) else ids
            found.append(self._ids_by_corpora([text], threads, None)[0] if isinstance(again, int) else again)
        self._scratch.give(memory)
        if counts is None:
            return found
        each = iter(found)
        return [b"".join(itertools.islice(each, n)) for n in counts]

    def _ids_by_corpora(self, texts: list[str], threads: int | None, counts: list[int] | None) -> list[bytes]:
        ids, rows = zip(*self._by_corpora(TextBatch.from_strings(texts), threads), strict=True)
        raw, joined = np.concatenate(ids).astype(np.uint32, copy=False).tobytes(), ID * joined_offsets(rows)
        if counts is not None:
            joined = joined[np.cumsum([0, *counts])]
        return [raw[first:last] for first, last in itertools.pairwise(joined.tolist())]

    def _by_corpora(self, batch: TextBatch, threads: int | None) -> Iterator[tuple[Array, Positions]]:
        """Yields the ids and rows of a few texts at a time, without special tokens."""
        check_lengths(batch.offsets[:-1], batch.offsets[1:])
        yield from units.encode_batch(self.pipeline, batch, threads)

    @property
    def longest(self) -> int:
        """The largest number of bytes of a text, with special tokens, that a handle encodes; -1: no text."""
        return min(self._longest[1], LONGEST if self.engine.units is None else MOST_BYTES)

    def encode_many(self, texts: Sequence[str], special: int, threads: int | None = None) -> list[Encoding] | None:
        """Encodes texts of any length by the way of corpora; None: `encode.stepwise` must encode them."""
        packed = None if self._longest[special] < 0 else self._pack(TextBatch.from_strings(texts), special, threads)
        if packed is None:
            return None
        given = iter(texts)
        found: list[Encoding] = []
        packed.reverse()
        while packed:
            some, rows, are_cut = packed.pop()
            ids, edges = some.astype(np.uint32, copy=False).tobytes(), (ID * rows).tolist()
            for first, last, is_cut in zip(edges, edges[1:], are_cut):  # noqa: B905, edges is longer by one
                found.append(_encoding(self, ids[first:last], next(given), special, None, self._flags + is_cut))
        return found

    def encode_packed(self, given: Any, special: int, threads: int | None) -> tuple[Ids, Positions] | None:
        """Returns ids and rows, unpadded; None: not all are str, a type id is not 0, or `stepwise` must encode."""
        if not isinstance(given, list | tuple) or self._longest[special] < 0:
            return None
        texts: list[Any] = [*given]
        frame = self._frame_of(1, special)
        before, text_and_after = frame.packed["type_ids"]
        if (n_characters := self.measure(texts)) < 0 or any(before) or any(map(any, *text_and_after)):
            return None
        if n_characters <= (_FEW_FOR_THREADS if self._by_units else _FEW):
            found = self.encode_each(texts, n_characters, special, threads)
            made = [encoding._later for encoding in found or ()]  # pyright: ignore[reportPrivateUsage]
            if found is None or None in made:
                return None
            each = [one[1] for one in made if one is not None]
            ids = np.frombuffer(bytearray().join(each), np.uint32)  # which may be written
            lengths = np.array([*map(len, each)], np.int64) // ID
        else:
            packed = self._pack(TextBatch.from_strings(texts), special, threads)
            if packed is None:
                return None
            ids = np.concatenate([ids for ids, _, _ in packed], dtype=np.uint32)
            lengths = np.concatenate([np.diff(rows) for _, rows, _ in packed])
        return ids, np.concatenate([[0], np.cumsum(lengths)])

    def _pack(
        self, batch: TextBatch, special: int, threads: int | None
    ) -> list[tuple[Array, Positions, list[bool]]] | None:
        """Returns ids, rows and which texts are cut, of some texts at a time; None: `encode.stepwise` must encode."""
        frame, room = self._frame_of(1, special), self._rooms.get((1, special), ANY)
        finished: list[tuple[Array, Positions, list[bool]]] = []
        for ids, rows in self._by_corpora(batch, threads):
            lengths = rows[1:] - rows[:-1]
            are_cut = [False] * len(lengths)
            if (too_long := lengths > room).any():
                if not self._may_cut[special]:
                    return None
                are_cut = too_long.tolist()
                ids, rows = self._cut_rows(ids, rows, room)
            if frame.n_special:
                ids, rows = surrounded(ids, rows, [frame.before["ids"], frame.after["ids"]])
            finished.append((ids, rows, are_cut))
        return finished

    def _cut_rows(self, ids: Array, rows: Positions, room: int) -> tuple[Array, Positions]:
        """Cuts each row ids[rows[i]:rows[i + 1]]."""
        lengths: Positions = np.minimum(rows[1:] - rows[:-1], room)
        first = rows[1:] - lengths if self._from_left else rows[:-1]
        kept = np.concatenate([rows[:1], np.cumsum(lengths)])
        return ids[np.arange(kept[-1]) + np.repeat(first - kept[:-1], lengths)], kept

    def encode_inputs(self, inputs: Sequence[Given], special: int, threads: int | None = None) -> list[Encoding] | None:
        """Encodes inputs as `stepwise.check_inputs` returns them; None: `encode.stepwise` must encode them."""
        if self._longest[0] < 0 or not all(self._frame_of(n, special) for n in {*map(len, inputs)}):
            return None
        sequences: list[Any] = [sequence for given in inputs for sequence in given]
        if sequences and not isinstance(sequences[0], str):
            words = [word for words in sequences for word in words]
            found = self.ids_of_each(words, threads, [*map(len, sequences)])
        else:
            found = self.ids_of_each(sequences, threads)
        if found is None:
            return None
        each = iter(found)
        parts = [[*itertools.islice(each, len(one))] for one in inputs]
        lengths = [tuple(len(ids) // ID for ids in some) for some in parts]
        targets = self._targets(lengths, special) if self._rooms else lengths
        if targets is None:
            return None
        encodings: list[Encoding] = []
        for given, some, target, before in zip(inputs, parts, targets, lengths, strict=True):
            flags = self._flags + SEVERAL
            if target is not before:
                some, flags = [*map(self._cut, some, target)], flags + CUT
            packed, texts = self._frame_of(len(some), special).packed["ids"]
            for ids, (_, after) in zip(some, texts, strict=True):
                packed += ids + after
            encodings.append(_encoding(self, packed, given, special, target, flags))
        return encodings

    def _targets(self, lengths: list[tuple[int, ...]], special: int) -> list[tuple[int, ...]] | None:
        """Returns how many of its tokens each text of some inputs keeps; the same tuple for an input that is not cut.

        None: `encode.stepwise` must cut, since that raises an error, or a text keeps no more than the stride.
        """
        targets, cut = [*lengths], self.pipeline.truncation
        for n in (1, 2):
            room = self._rooms.get((n, special), ANY)
            long = [i for i, some in enumerate(lengths) if len(some) == n and sum(some) > room]
            if cut is None or not long:
                continue
            wide = np.array([lengths[i] for i in long])
            try:
                kept = np.array(stepwise.targets([*wide.T], room, cut.strategy)).T
            except ValueError:
                return None
            if room <= 0 or ((kept < wide) & (kept <= cut.stride)).any():
                return None
            for i, target in zip(long, kept.tolist(), strict=True):
                targets[i] = tuple(target)
        return targets

    def padded_to_longest(self, encodings: list[Encoding]) -> list[Encoding]:
        """Returns the encodings of a batch, padded to the longest if padding asks for that."""
        padding = self._padding
        if padding is None or padding.length is not None:
            return encodings
        maker = copy.copy(self)
        maker._maker = maker._own = None  # it only makes attributes
        maker.address = 0
        longest = max((len(made[1]) for made in map(_later, encodings) if made), default=0) // ID
        maker._padding = dataclasses.replace(padding, length=longest)
        maker.pipeline = self.pipeline.with_limits(padding=maker._padding)
        for encoding in encodings:
            if made := _later(encoding):
                encoding._later = maker, *made[1:]  # pyright: ignore[reportPrivateUsage]
        return encodings

    # -- attributes of an encoding

    def encoding(self, made: Made) -> Encoding:
        """Returns the same encoding, made by `encode.stepwise`."""
        given = (made[2],) if isinstance(made[2], str) else made[2]
        of_words = not isinstance(given[0], str)
        return stepwise.encode(self.pipeline, [given], of_words, bool(made[3]), offsets=not self._bare)[0]

    def _frame(self, made: Made) -> tuple[Frame, Sequence[int]]:
        """The special tokens around the texts, and the number of tokens of each text."""
        frame: Any = self._frames[1 if isinstance(made[2], str) else len(made[2])][made[3]]
        return frame, made[4] or (len(made[1]) // ID - frame.n_special,)

    def overflows(self, made: Made) -> bool:
        """Returns True if truncation cut tokens off."""
        return bool(made[5] & CUT)

    def length(self, made: Made) -> int:
        """Returns the number of tokens."""
        n = len(made[1]) // ID
        return n + self._missing(n)

    def column(self, made: Made, name: str) -> Column | None:
        """Makes a column as an array, uint32[n_tokens]; None for columns that are seldom read."""
        return np.frombuffer(self._packed(made, name), np.uint32) if name in self._fillers else None

    def listed(self, made: Made, name: str) -> list[int]:
        """Makes a column that `column` makes, as a list."""
        if name == "attention":  # this takes less time than a list made of bytes
            return self._padded([1] * (len(made[1]) // ID), [0])
        return self._list_ids(self._packed(made, name))

    def _packed(self, made: Made, name: str) -> bytes:
        """Makes a column that `column` makes, as uint32 in bytes: four times as fast as to fill an array."""
        if name == "ids":
            packed = made[1]
        elif name == "attention":
            packed = _ONE * (len(made[1]) // ID)
        else:
            frame, lengths = self._frame(made)
            packed, texts = frame.packed[name]
            for (value, after), n in zip(texts, lengths, strict=True):
                packed += value * n + after
        return packed if self._padding is None else self._padded(packed, self._fillers[name])

    def tokens(self, made: Made) -> list[str] | None:
        """Makes `Encoding.tokens`; None if the text of a token depends on more than its id."""
        ids = self._list_ids(made[1])
        if not self._bare:
            if self._odd and not self._odd.isdisjoint(ids):
                return None
            if self.address and not made[5]:  # machine code will make them the next time
                self.engine.learn(ids)
        frame, lengths = self._frame(made)
        at = frame.n_before
        found: list[str] = [*frame.before["tokens"]]
        for n, after in zip(lengths, frame.around[1:], strict=True):
            found += [""] * n if self._bare else map(self._spell, ids[at : at + n])
            found += after["tokens"]
            at += n + len(after["ids"])
        return found if self._padding is None else self._padded(found, [self._padding.pad_token])

    def _missing(self, n: int) -> int:
        """The number of padding tokens of an encoding of n other tokens."""
        return 0 if self._padding is None else max(self._padding.aim(n) - n, 0)

    def _padded(self, values: _Values, filler: _Values) -> _Values:
        """Pads a list with an item for each token, or numbers in bytes."""
        if self._padding is None or not (missing := self._missing(len(values) // len(filler))):
            return values
        return values + filler * missing if self._padding.direction == "right" else filler * missing + values

    def offsets(self, made: Made) -> list[tuple[int, int]] | None:
        """Makes `Encoding.offsets`; None if they depend on more than the ids and the positions."""
        if self._bare:
            return [(0, 0)] * self.length(made)
        if self.engine.trims is None:
            return None
        return self._by_text(made, self._positions if isinstance(made[2], str) else self._offsets_of, (0, 0))

    def _offsets_of(self, given: str | list[str], n: int) -> list[tuple[int, int]] | None:
        """The offsets of one of several texts, by machine code if it is not cut."""
        encode = (self._unlimited or self).encode
        if isinstance(given, str):
            whole = encode(given, False)
            return whole.offsets if whole is not None and len(whole) == n else self._positions(given, n)
        if self.engine.trims:  # trims by the start of the list, not of each word
            return None
        each = [encode(word, False) for word in given]
        return None if None in each else self._cut([pair for one in each if one for pair in one.offsets], n)

    def word_ids(self, made: Made) -> list[int | None] | None:
        """Makes `Encoding.word_ids`: for lists of words, the index in the list; None for a long text."""
        if self._bare:
            nothing: list[int | None] = [None]
            return nothing * self.length(made)
        return self._by_text(made, self._words_of, None)

    def _words_of(self, given: str | list[str], n: int) -> list[int] | None:
        if isinstance(given, str):
            memory = self._scratch.take(self.engine)
            first, last = self._encode_again(memory.steps, given, n)
            found = memory.words[first:last].tolist() if last >= 0 else None
            self._scratch.give(memory)
            return found
        each = self.ids_of_each(given, 1)
        if each is None:
            return None
        return self._cut([i for i, ids in enumerate(each) for _ in range(len(ids) // ID)], n)

    def _by_text(self, made: Made, of_text: Callable[[Any, int], list[Any] | None], filler: Any) -> list[Any] | None:
        """A column of the values that `of_text` gives for n tokens of each text; filler: that of special tokens."""
        (frame, lengths), given = self._frame(made), made[2]
        found = [filler] * frame.n_before
        texts = (given,) if isinstance(given, str) else given
        for text, n, after in zip(texts, lengths, frame.around[1:], strict=True):
            if (some := of_text(text, n)) is None:
                return None
            found += some
            found += [filler] * len(after["ids"])
        return self._padded(found, [filler])

    def _positions(self, text: str, n: int) -> list[tuple[int, int]] | None:
        """The characters of the n tokens that truncation has kept of a text.

        None: the text is too long for a handle, or the text of a token that is trimmed depends on more than its id.
        """
        memory = self._scratch.take(self.engine)
        call, trim = memory.positions(self.engine), self.engine.trim
        first, last = self._encode_again(call, text, n)
        if last >= 0 and trim(call.address, first, last) < 0:
            self.engine.learn(call.ids[first:last].tolist())
            last = trim(call.address, first, last)
        columns = (memory.begins[first:last].tolist(), memory.ends[first:last].tolist()) if last >= 0 else None
        self._scratch.give(memory)
        return None if columns is None else list(zip(*columns, strict=True))

    def _encode_again(self, call: TextCall, text: str, n: int) -> tuple[int, int]:
        """Encodes a text with positions. -> the first of the n tokens that are kept; the last + 1; -1: too long."""
        raw = text.encode()
        found = call.kernel(call.address, id(raw) + HEAD, len(raw), POSITIONS) if len(raw) <= call.most else -1
        first = max(found - n, 0) if self._from_left else 0
        return first, min(first + n, found)


def _encoding(*made: Any) -> Encoding:
    """Makes an encoding of what `Made` says: a constructor takes 4 % longer."""
    encoding = _new(Encoding)
    encoding._later = made  # pyright: ignore[reportPrivateUsage]
    return encoding


_COLUMNS, _ONE = ("ids", "type_ids", "special", "attention"), struct.pack("=I", 1)
_new, _later = Encoding.__new__, operator.attrgetter("_later")
_PREPARING = allocate_lock()


# -- arrays


class TokenArrays(NamedTuple):
    """The tokens of some texts. Each array has `__dlpack__`, so `torch.from_dlpack(ids)` copies nothing.

    Attributes:
        ids: uint32[n_tokens], those of one text after the other; with padding, uint32[n_texts, length].
        type_ids: of the same dtype and shape.
        attention_mask: of the same dtype and shape, 0 for padding, else 1.
        rows: int64[n_texts + 1]; text i has ids[rows[i]:rows[i + 1]] or, with padding, ids[i].
    """

    ids: Ids
    type_ids: Ids
    attention_mask: Ids
    rows: Positions


def encode_arrays(
    pipeline: Pipeline, unpadded: Pipeline, given: Any, is_pretokenized: bool, special: bool, threads: int | None
) -> TokenArrays:
    """Encodes texts into arrays, as `Tokenizer.encode_to_numpy` does; unpadded: the pipeline without padding."""
    texts = None if is_pretokenized else texts_of(pipeline, bare=True)
    found = None if texts is None else texts.encode_packed(given, 1 if special else 0, threads)
    if found is not None:
        ids, rows = found
        type_ids = np.zeros(len(ids), np.uint32)
    else:
        encodings = encode_batch(unpadded, given, is_pretokenized, special, threads, bare=True)
        rows, nothing = np.cumsum([0, *map(len, encodings)], dtype=np.int64), np.empty(0, np.uint32)
        ids = np.concatenate([nothing, *(encoding.ids_array for encoding in encodings)])
        type_ids = np.concatenate([nothing, *(encoding.type_ids_array for encoding in encodings)])
    if pipeline.padding is None:
        return TokenArrays(ids, type_ids, np.ones(len(ids), np.uint32), rows)
    return _padded(ids, type_ids, rows, pipeline.padding)


def _padded(ids: Ids, type_ids: Ids, rows: Positions, padding: Padding) -> TokenArrays:
    lengths: Array = np.diff(rows)
    longest = int(lengths.max(initial=0))
    length = padding.aim(longest)
    if longest > length:
        raise ValueError(
            f"text {int(lengths.argmax())} has {longest} tokens, more than the {length} that padding asks for: arrays "
            f"need texts of one length, so truncate, too (truncation={{'max_length': {length}}})"
        )
    missing = length - lengths[:, None]
    places = np.arange(length)
    is_token = places >= missing if padding.direction == "left" else places < length - missing
    wide_ids, wide_type_ids = (np.full(is_token.shape, n, np.uint32) for n in (padding.pad_id, padding.pad_type_id))
    wide_ids[is_token], wide_type_ids[is_token] = ids, type_ids
    rows = np.arange(len(rows), dtype=np.int64) * length
    return TokenArrays(wide_ids, wide_type_ids, is_token.astype(np.uint32), rows)
