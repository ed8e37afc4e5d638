"""Encodes one short text: one kernel call does all steps, and the attributes of the Encoding are made at first access.

The steps and the tables of a pipeline are written into a *handle* once (`text_engine`, `gputok.kernels.cpu.short_texts`).
If a handle can't hold a pipeline, or if a text is or becomes too long, `encode_batch` encodes the text, with the same result.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Self, TypeAlias, TypeGuard

import numpy as np

from gputok.encoding.columns import DTYPES
from gputok.encoding.encoding import Encoding
from gputok.encoding.rows import trim_tokens
from gputok.pipeline import encode_batch
from gputok.pipeline.text_engine import HEAD, Engine, Scratch

if TYPE_CHECKING:
    from collections.abc import Callable

    from gputok.encoding.columns import Column
    from gputok.pipeline.pipeline import Pipeline

Made: TypeAlias = "tuple[ShortTexts, list[int], str, int, tuple[list[int], list[int]] | None]"
"""The contents of a new Encoding: the maker of its attributes, its ids, its text, 1 if special tokens were added, and the
begins and ends of its tokens, if these were computed with the ids."""

_POSITIONS = 2  # the flag of `gputok.kernels.cpu.short_texts.encode`
_EXPECTED = 16  # after a text whose offsets were read, the next texts get their offsets with the ids
_LARGEST = 1 << 30  # a larger length of padding is a mistake, and `encode_batch` raises the error


def short_texts(pipeline: Pipeline) -> ShortTexts | None:
    """The encoder of short texts for a pipeline, made at the first call; None: a handle can't hold the pipeline."""
    kept = pipeline.kept
    try:
        return kept["texts"]
    except KeyError:
        return kept.setdefault("texts", ShortTexts.of(pipeline))


def encode_all(pipeline: Pipeline, texts: Any, add_special_tokens: bool) -> list[Encoding] | None:
    """Encodes some texts, one after the other; None: `encode_batch` must encode them."""
    padding = pipeline.padding
    if not _is_list_of_str(texts):
        return None
    if (padding is not None and padding.length is None) or sum(map(len, texts)) > encode_batch.SLICE:
        return None  # all are padded to the longest text; or there is work for several threads
    if (short := short_texts(pipeline)) is None:
        return None
    found: list[Encoding] = []
    for text in texts:
        encoding = short.encode(text, add_special_tokens)
        if encoding is None:
            return None
        found.append(encoding)
    return found


def _is_list_of_str(texts: Any) -> TypeGuard[list[str]]:
    return isinstance(texts, list) and set(map(type, texts)) == {str}  # pyright: ignore[reportUnknownArgumentType]


class ShortTexts:
    """Encodes the short texts of a pipeline, and makes the attributes of their encodings."""

    def __init__(self, pipeline: Pipeline, engine: Engine) -> None:
        # A copy without derived values: this object is one of these, and a reference to itself would keep it alive
        self._pipeline, self._engine = dataclasses.replace(pipeline), engine
        self._free, self._kernel, self._longest = engine.free, engine.kernel, engine.longest
        self._spell, self._odd = pipeline.names.spelling.__getitem__, pipeline.odd_tokens
        self._padding, self._most = pipeline.padding, None
        # So many more texts get their offsets at once. Threads may count wrong, which changes no result.
        self._expected = 0
        if (cut := pipeline.truncation) is not None:
            room = [
                cut.room(pipeline.num_special_tokens_to_add(False) if special else 0) for special in (0, 1)
            ]
            self._most = [n + size if n > 0 else -1 for n, size in zip(room, engine.n_special(), strict=True)]

    @classmethod
    def of(cls, pipeline: Pipeline) -> Self | None:
        """Returns None if a handle can't hold the pipeline."""
        padding = pipeline.padding
        if padding is not None and (padding.length or 0) + (padding.pad_to_multiple_of or 0) > _LARGEST:
            return None
        shared = pipeline.kept.setdefault("engine", {})  # pipelines that differ only in limits share it
        if "engine" not in shared:
            shared["engine"] = Engine.of(pipeline)
        engine = shared["engine"]
        return None if engine is None else cls(pipeline, engine)

    def encode(self, text: str, add_special_tokens: bool) -> Encoding | None:
        """Encodes a text; None: `encode_batch` must encode it."""
        raw = text.encode()
        n_bytes, special = len(raw), 1 if add_special_tokens else 0
        if n_bytes > self._longest[special]:
            return None
        try:
            memory = self._free.pop()
        except IndexError:
            memory = Scratch(self._engine.handle)
        flags = special
        if self._expected > 0:
            self._expected -= 1
            flags |= _POSITIONS
        n = self._kernel(memory.address, id(raw) + HEAD, n_bytes, flags)
        if n < 0 or (self._most is not None and n > self._most[special]):
            self._free.append(memory)
            return None
        encoding = _new(Encoding)
        spans = None if flags == special else (memory.begins[:n].tolist(), memory.ends[:n].tolist())
        made: Made = self, memory.ids[:n].tolist(), text, special, spans
        encoding._later = made  # pyright: ignore[reportPrivateUsage]  # a constructor takes 4 % longer
        self._free.append(memory)
        return encoding

    # -- attributes of an encoding

    def encoding(self, made: Made) -> Encoding:
        """Returns the same encoding, made by `encode_batch`."""
        return encode_batch.encode(self._pipeline, [(made[2],)], False, bool(made[3]), offsets=True)[0]

    def length(self, made: Made) -> int:
        """Returns the number of tokens."""
        n = len(made[1])
        return n + self._missing(n)

    def column(self, made: Made, name: str) -> Column | None:
        """Makes a column as an array; None for columns that are seldom read."""
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
        """Makes `Encoding.tokens`; None if the text of a token depends on more than its id."""
        ids, frame = made[1], self._engine.frame(made[3])
        if self._odd and not self._odd.isdisjoint(ids):
            return None
        if frame.n_special:
            before, behind = frame.before["tokens"], frame.behind["tokens"]
            of_text = ids[len(before) : len(ids) - len(behind)]
            found: list[str] = [*before, *map(self._spell, of_text), *behind]
        else:
            found = list(map(self._spell, ids))
        return found if self._padding is None else self._padded(found, self._padding.pad_token)

    def offsets(self, made: Made) -> list[tuple[int, int]] | None:
        """Makes `Encoding.offsets`; None if they depend on more than the ids and the positions."""
        engine, ids = self._engine, made[1]
        if engine.trims is None or (engine.trims and self._odd and not self._odd.isdisjoint(ids)):
            return None
        self._expected = _EXPECTED
        begins, ends = made[4] or self._positions(made)
        if engine.trims:
            begins, ends = begins[:], ends[:]
        for add_prefix_space in engine.trims:
            frame = engine.frame(made[3])
            of_text = range(frame.n_before, len(ids) - frame.n_special + frame.n_before)
            trim_tokens(of_text, ids, engine.margins, begins, ends, add_prefix_space)
        found = list(zip(begins, ends))  # noqa: B905, of one length
        return found if self._padding is None else self._padded(found, (0, 0))

    def word_ids(self, made: Made) -> list[int | None]:
        """Makes `Encoding.word_ids`."""
        (words,) = self._positions(made, words=True)
        return self._padded([None if word < 0 else word for word in words], None)

    def _column(self, made: Made, name: str, filler: Any) -> list[Any]:
        frame, n = self._engine.frame(made[3]), len(made[1])
        found = [*frame.before[name], *[frame.text[name]] * (n - frame.n_special), *frame.behind[name]]
        return self._padded(found, filler)

    def _positions(self, made: Made, words: bool = False) -> tuple[list[int], ...]:
        """The positions at which each token begins and ends, in characters; or the number of its word, or -1."""
        raw, n = made[2].encode(), len(made[1])
        try:
            memory = self._free.pop()
        except IndexError:
            memory = Scratch(self._engine.handle)
        self._kernel(memory.address, id(raw) + HEAD, len(raw), made[3] | _POSITIONS)
        columns = (memory.words,) if words else (memory.begins, memory.ends)
        found = tuple(column[:n].tolist() for column in columns)
        self._free.append(memory)
        return found

    def _missing(self, n: int) -> int:
        """The number of padding tokens of an encoding of n other tokens."""
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
"""Column -> the method that makes it."""
