"""Encoding one short text: all steps in one call of a kernel, and an Encoding that is made when somebody looks.

What such a tokenizer consists of is written into a *handle* once (`gputok.kernels.cpu.short_texts`). Where there is no
handle for a tokenizer, and where a text is too long or becomes too long, `encode_batch` does it, with the same result.
"""

# pyright: basic
# Not strict, unlike the rest of this folder: kernels of short texts have no types yet.
from __future__ import annotations

import ctypes
import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from gputok.encoding.columns import DTYPES
from gputok.encoding.encoding import Encoding
from gputok.encoding.rows import Spelling, margin
from gputok.pipeline import encode_batch

if TYPE_CHECKING:
    from gputok.encoding.columns import Column
    from gputok.kernels.cpu.short_texts.handle import Handle
    from gputok.models import Model
    from gputok.pipeline.pipeline import Pipeline

Kernel = Callable[[int, int, int, int], int]
Made = tuple["ShortTexts", list[int], str, int, tuple[list[int], list[int]] | None]
"""What an Encoding keeps until more is asked: what makes it, its ids, its text, 1 if special tokens were added, and where
each token begins and ends, if that was computed with the ids."""

_CACHED_WORDS = 1 << 14  # of each thread: a megabyte
_HEAD = bytes.__basicsize__ - 1
"""Where in a bytes object its text begins: CPython's layout, of all its versions."""
_PROBE = b"where is it"
_POSITIONS = 2  # the flag of `gputok.kernels.cpu.short_texts.encode`
_LARGEST = 1 << 30  # a length that is no mistake
_EXPECTED = 16  # texts after one whose offsets were read: their offsets come with the ids


def short_texts(pipeline: Pipeline) -> ShortTexts | None:
    """The way of short texts through a pipeline, made at the first call; None: this pipeline's steps are others."""
    kept = pipeline.kept
    try:
        return kept["texts"]
    except KeyError:
        return kept.setdefault("texts", ShortTexts.of(pipeline))


def encode(pipeline: Pipeline, text: str, add_special_tokens: bool) -> Encoding | None:
    """The encoding of a text; None: this is not the way for it."""
    short = short_texts(pipeline)
    return None if short is None else short.encode(text, add_special_tokens)


def encode_all(pipeline: Pipeline, texts: Any, add_special_tokens: bool) -> list[Encoding] | None:
    """The encodings of some texts, one after the other; None: this is not the way for them."""
    padding = pipeline.padding
    if not isinstance(texts, list) or set(map(type, texts)) != {str}:
        return None
    if (padding is not None and padding.length is None) or sum(map(len, texts)) > encode_batch.SLICE:
        return None  # all become as long as the longest; or there is work for several threads
    if (short := short_texts(pipeline)) is None:
        return None
    found: list[Encoding] = []
    for text in texts:
        encoding = short.encode(text, add_special_tokens)
        if encoding is None:
            return None
        found.append(encoding)
    return found


class ShortTexts:
    """The way of short texts through a pipeline, and what makes attributes of their encodings."""

    def __init__(self, pipeline: Pipeline, engine: Engine) -> None:
        # a copy, without what is derived: this is, too, and would be kept by what it keeps
        self._pipeline, self._engine = dataclasses.replace(pipeline), engine
        self._rooms, self._kernel, self._longest = engine.rooms, engine.kernel, engine.longest
        self._spell, self._odd = pipeline.names.spelling.__getitem__, pipeline.odd_tokens
        self._padding, self._most = pipeline.padding, None
        # For so many texts to come, offsets are computed at once. Threads may miscount, which changes no result.
        self._expected = 0
        if (cut := pipeline.truncation) is not None:
            room = [
                cut.room(pipeline.num_special_tokens_to_add(False) if special else 0) for special in (0, 1)
            ]
            sizes = [frame.n_special if frame else 0 for frame in engine.frames]
            self._most = [n + size if n > 0 else -1 for n, size in zip(room, sizes, strict=True)]

    @classmethod
    def of(cls, pipeline: Pipeline) -> Self | None:
        """None: this pipeline's steps aren't those of a handle."""
        padding = pipeline.padding
        if padding is not None and (padding.length or 0) + (padding.pad_to_multiple_of or 0) > _LARGEST:
            return None
        shared = pipeline.kept.setdefault("engine", {})  # with pipelines that differ in limits only
        if "engine" not in shared:
            shared["engine"] = Engine.of(pipeline)
        engine = shared["engine"]
        return None if engine is None else cls(pipeline, engine)

    def encode(self, text: str, add_special_tokens: bool) -> Encoding | None:
        """The encoding of a text; None where this is not the way."""
        raw = text.encode()
        n_bytes, special = len(raw), 1 if add_special_tokens else 0
        if n_bytes > self._longest[special]:
            return None
        try:
            room = self._rooms.pop()
        except IndexError:
            room = Room(self._engine)
        flags = special
        if self._expected > 0:
            self._expected -= 1
            flags |= _POSITIONS
        n = self._kernel(room.address, id(raw) + _HEAD, n_bytes, flags)
        if n < 0 or (self._most is not None and n > self._most[special]):
            self._rooms.append(room)
            return None
        encoding = _new(Encoding)
        spans = None if flags == special else (room.begins[:n].tolist(), room.ends[:n].tolist())
        encoding._later = self, room.ids[:n].tolist(), text, special, spans
        self._rooms.append(room)
        return encoding

    # -- attributes of an encoding

    def encoding(self, made: Made) -> Encoding:
        """The same, made by the long way."""
        return encode_batch.encode(self._pipeline, [(made[2],)], False, bool(made[3]), offsets=True)[0]

    def length(self, made: Made) -> int:
        """Returns the number of tokens."""
        n = len(made[1])
        return n + self._missing(n)

    def column(self, made: Made, name: str) -> Column | None:
        """Makes a column as an array; None for columns that are seldom asked for."""
        make = _COLUMNS.get(name)
        return None if make is None else np.array(make(self, made), DTYPES[name])

    def ids(self, made: Made) -> list[int]:
        """Makes `Encoding.ids`."""
        return made[1][:] if self._padding is None else self._padded(made[1][:], self._padding.pad_id)

    def type_ids(self, made: Made) -> list[int]:
        """Makes `Encoding.type_ids`."""
        return self._column(made, "type_ids", self._padding and self._padding.pad_type_id)

    def special_tokens_mask(self, made: Made) -> list[int]:
        """Makes `Encoding.special_tokens_mask`."""
        return self._column(made, "special_tokens_mask", 1)

    def attention_mask(self, made: Made) -> list[int]:
        """Makes `Encoding.attention_mask`."""
        return self._padded([1] * len(made[1]), 0)

    def tokens(self, made: Made) -> list[str] | None:
        """None if a token's text isn't that of its id."""
        ids, frame = made[1], self._engine.frames[made[3]]
        if self._odd and not self._odd.isdisjoint(ids):
            return None
        if frame.n_special:
            before, behind = frame.before["tokens"], frame.behind["tokens"]
            of_text = ids[len(before) : len(ids) - len(behind)]
            found = [*before, *map(self._spell, of_text), *behind]
        else:
            found = list(map(self._spell, ids))
        return found if self._padding is None else self._padded(found, self._padding.pad_token)

    def offsets(self, made: Made) -> list[tuple[int, int]] | None:
        """None where they depend on more than the tokens."""
        engine, ids = self._engine, made[1]
        if engine.trims is None or (engine.trims and self._odd and not self._odd.isdisjoint(ids)):
            return None
        self._expected = _EXPECTED
        begins, ends = made[4] or self._positions(made)
        if engine.trims:
            begins, ends = begins[:], ends[:]
        for add_prefix_space in engine.trims:
            frame = engine.frames[made[3]]
            first, stop = frame.n_before, len(ids) - frame.n_special + frame.n_before
            self._trim(ids, begins, ends, first, stop, add_prefix_space)
        found = list(zip(begins, ends))  # noqa: B905, of one length
        return found if self._padding is None else self._padded(found, (0, 0))

    def word_ids(self, made: Made) -> list[int | None]:
        """Makes `Encoding.word_ids`."""
        (words,) = self._positions(made, words=True)
        return self._padded([None if word < 0 else word for word in words], None)

    def _trim(
        self, ids: list[int], begins: list[int], ends: list[int], first: int, stop: int, prefixed: bool
    ) -> None:
        """`Rows.trim_offsets`, for the tokens from first to stop."""
        margins = self._engine.margins
        for k in range(first, stop):
            leading, trailing = margins[ids[k]]
            if leading or trailing:
                begin, end = begins[k], ends[k]
                if prefixed and leading == 1 and (begin == 0 or k == first):
                    leading = 0
                begins[k] = begin = min(begin + leading, end)
                if trailing and end >= trailing:
                    ends[k] = max(end - trailing, begin)

    def _column(self, made: Made, name: str, filler: Any) -> list[Any]:
        frame, n = self._engine.frames[made[3]], len(made[1])
        found = [*frame.before[name], *[frame.text[name]] * (n - frame.n_special), *frame.behind[name]]
        return self._padded(found, filler)

    def _positions(self, made: Made, words: bool = False) -> tuple[list[int], ...]:
        """Where each token begins and ends, in characters; or the number of its word, or -1."""
        raw, n = made[2].encode(), len(made[1])
        try:
            room = self._rooms.pop()
        except IndexError:
            room = Room(self._engine)
        self._kernel(room.address, id(raw) + _HEAD, len(raw), made[3] | _POSITIONS)
        columns = (room.words,) if words else (room.begins, room.ends)
        found = tuple(column[:n].tolist() for column in columns)
        self._rooms.append(room)
        return found

    def _missing(self, n: int) -> int:
        """How much padding there is."""
        padding = self._padding
        if padding is None:
            return 0
        length = n if padding.length is None else padding.length
        if padding.pad_to_multiple_of:
            length += -length % padding.pad_to_multiple_of
        return max(length - n, 0)

    def _padded(self, column: list[Any], filler: Any) -> list[Any]:
        if self._padding is None or not (missing := self._missing(len(column))):
            return column
        more = [filler] * missing
        return column + more if self._padding.direction == "right" else more + column


_new = Encoding.__new__
_COLUMNS: dict[str, Callable[[ShortTexts, Made], list[int]]] = {
    "ids": ShortTexts.ids,
    "type_ids": ShortTexts.type_ids,
    "special": ShortTexts.special_tokens_mask,
    "attention": ShortTexts.attention_mask,
}
"""Column -> what makes it."""


class Frame:
    """What a post-processor makes of any one text: attributes of the tokens before, of each in it, and behind."""

    def __init__(
        self, before: dict[str, list[Any]], text: dict[str, Any], behind: dict[str, list[Any]]
    ) -> None:
        self.before, self.text, self.behind = before, text, behind
        self.n_before = len(before["ids"])
        self.n_special = self.n_before + len(behind["ids"])


class Engine:
    """A handle for all texts of a pipeline, and rooms: a list's pop and append are atomic."""

    def __init__(self, pipeline: Pipeline, handle: Handle, kernel: Kernel) -> None:
        from gputok.kernels.cpu.short_texts import encode as short_text

        self.handle, self.kernel, self.rooms = handle, kernel, []
        # A frame is None if no text is encoded with it here
        self.frames: tuple[Any, Any] = _frame(pipeline, False), _frame(pipeline, True)
        self.trims = _trims(pipeline)
        self.margins = _Margins(pipeline.names.spelling)
        plain, special = self.frames
        self.longest = [
            short_text.LONGEST if plain is not None and not plain.n_special else -1,
            short_text.LONGEST if special is not None and special.n_special <= short_text.MAX_SPECIAL else -1,
        ]
        if special is not None:
            handle.put(short_text.BEFORE, np.array(special.before["ids"], np.uint32))
            handle.put(short_text.BEHIND, np.array(special.behind["ids"], np.uint32))

    @classmethod
    def of(cls, pipeline: Pipeline) -> Self | None:
        """None: its steps aren't those of a handle."""
        from gputok.pipeline.text_steps import steps_of

        if ctypes.string_at(id(_PROBE) + _HEAD, len(_PROBE) + 1) != _PROBE + b"\0":
            return None  # another Python than CPython
        if pipeline.model.is_random or (found := steps_of(pipeline)) is None:
            return None
        from gputok.kernels.cpu.short_texts import encode as short_text
        from gputok.kernels.cpu.short_texts import steps as short_steps

        handle = short_text.new_handle()
        kernel = _put_model(handle, pipeline.model, found.byte_level)
        if kernel is None:
            return None
        handle.put(short_steps.STEPS, np.stack([step.slots for step in found.steps]))
        handle.put(short_steps.N_STEPS, len(found.steps))
        handle.put(short_steps.ASKS_ORIGIN, found.asks_origin)
        handle.keep(found.steps)
        return cls(pipeline, handle, kernel)


def _put_model(handle: Handle, model: Model, byte_level: bool) -> Kernel | None:
    """Puts a model into a handle, and gives the kernel for it; None: it can't be there."""
    from gputok import models
    from gputok.kernels.cpu.lookup import NONE
    from gputok.kernels.cpu.short_texts import encode as short_text

    match model:
        case models.BPE():
            tables = model.tables(byte_level)
            if tables is None or (len(tables.unk) and tables.unk[0] == NONE):
                return None
            if len(tables.fallback) and len(tables.prefix) + len(tables.suffix):
                return None  # a character can become more tokens than it has bytes
            short_text.put_bpe(handle, tables)
            return short_text.encode_bpe
        case models.WordPiece() if not byte_level:
            if model._tables.unk == NONE:
                return None
            short_text.put_wordpiece(handle, model._tables)
            return short_text.encode_wordpiece
        case models.Unigram() if not byte_level:
            short_text.put_unigram(handle, model._tables)
            return short_text.encode_unigram
        case models.WordLevel() if not byte_level:
            unk = model.vocabulary.find([model.unk_token])[0]
            names = model.vocabulary.strings, model.vocabulary.ids
            short_text.put_wordlevel(handle, *names, -1 if unk is None else unk)
            return short_text.encode_wordlevel
    return None


class Room:
    """A handle with memory of its own: for one text at a time."""

    __slots__ = ("address", "begins", "ends", "handle", "ids", "words")

    def __init__(self, engine: Engine) -> None:
        from gputok.kernels.cpu.encode_words import merge
        from gputok.kernels.cpu.short_texts import encode as short_text

        self.handle = handle = short_text.with_memory(engine.handle, merge.word_cache(_CACHED_WORDS))
        self.address = handle.address
        self.ids = handle.array(short_text.IDS).data
        self.begins = handle.array(short_text.BEGINS).data
        self.ends = handle.array(short_text.ENDS).data
        self.words = handle.array(short_text.WORDS).data


class _Margins(dict[int, tuple[int, int]]):
    """Id -> how many characters of white space are at the start and at the end of its text."""

    def __init__(self, spelling: Spelling) -> None:
        super().__init__()
        self._spelling = spelling

    def __missing__(self, token_id: int) -> tuple[int, int]:
        found = self[token_id] = margin(self._spelling[token_id])
        return found


def _frame(pipeline: Pipeline, add_special_tokens: bool) -> Frame | None:
    """None: a template leaves the text out, or has it several times."""
    from gputok.encoding.columns import Columns
    from gputok.encoding.rows import NO_SPELLING, Rows, merge
    from gputok.processors import process_rows

    # One token, which stands for those of any text, and is the only one with a word: no processor changes that.
    columns, first = Columns(1, **{**dict.fromkeys(DTYPES, 0), "attention": 1}), np.zeros(1, np.int64)
    text = Rows(columns, first, first + 1, NO_SPELLING, ("",))
    try:
        finished = Encoding.of(merge(process_rows(pipeline.post_processor, [text], add_special_tokens)))
    except ValueError:  # for any text
        return None
    words = finished.word_ids
    if words.count(0) != 1:
        return None
    at = words.index(0)
    names = ("ids", "type_ids", "tokens", "special_tokens_mask", "attention_mask")
    found = {name: getattr(finished, name) for name in names}
    if found["attention_mask"] != [1] * len(words):
        return None
    return Frame(
        {name: column[:at] for name, column in found.items()},
        {name: column[at] for name, column in found.items()},
        {name: column[at + 1 :] for name, column in found.items()},
    )


def _trims(pipeline: Pipeline) -> list[bool] | None:
    """The option `add_prefix_space` of each post-processor that trims offsets; None: one does so after tokens were added."""
    from gputok import processors

    processor, found, added = pipeline.post_processor, [], False
    parts = [processor] if processor is not None else []
    if isinstance(processor, processors.Sequence):
        parts = [*processor.processors]
    for part in parts:
        if isinstance(part, processors.ByteLevel | processors.RobertaProcessing) and part.trim_offsets:
            if added:
                return None
            found.append(part.add_prefix_space)
        elif isinstance(part, processors.Sequence):
            return None
        added |= not isinstance(part, processors.ByteLevel)
    return found
