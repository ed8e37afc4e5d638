"""Makes the attributes of an encoding when they are asked for: those that follow from its ids."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from gputok.encoding.columns import Column
    from gputok.pipeline.frame import Frame
    from gputok.pipeline.pipeline import Pipeline
    from gputok.pipeline.text_engine import Engine

ID = 4  # bytes of an id in `Made`
CUT, PADDED = 1, 2

Made = tuple[Any, bytes, Any, int, Any, int]
"""The contents of a new Encoding: the maker of its attributes, its ids (uint32), what was encoded, 1 if special tokens were added,
what else the maker keeps, and the sum of CUT, if truncation cut tokens off, and PADDED."""


class Attributes:
    """The attributes of encodings whose ids are known, apart from positions; see `gputok.encoding.encoding.Later`.

    Args:
        pipeline: the parts of the tokenizer.
        engine: what encodes texts.

    Attributes:
        address: of what machine code makes lists with; 0: Python makes them.
    """

    address = 0

    def __init__(self, pipeline: Pipeline, engine: Engine) -> None:
        self._padding, self._list_ids = pipeline.padding, engine.list_ids
        self._spell, self._odd = pipeline.names.spelling.__getitem__, pipeline.odd_tokens
        self._learn = engine.learn
        self._flags = 0 if pipeline.padding is None else PADDED

    def _frame(self, made: Made) -> Frame:
        """The special tokens around the texts."""
        raise NotImplementedError

    def _lengths(self, made: Made) -> list[int]:
        """The number of tokens of each text."""
        raise NotImplementedError

    def overflows(self, made: Made) -> bool:
        """Returns True if truncation cut tokens off."""
        return bool(made[5] & CUT)

    def length(self, made: Made) -> int:
        """Returns the number of tokens."""
        n = len(made[1]) // ID
        return n + self._missing(n)

    def column(self, made: Made, name: str) -> Column | None:
        """Makes a column as an array, uint32[n_tokens]; None for columns that are seldom read."""
        padding = self._padding
        if name == "ids":
            packed, filler = made[1], padding and padding.pad_id
        elif name == "attention":
            packed, filler = _ONE * (len(made[1]) // ID), 0
        elif name == "type_ids":
            packed, filler = self._packed(made, name), padding and padding.pad_type_id
        elif name == "special":
            packed, filler = self._packed(made, "special_tokens_mask"), 1
        else:
            return None
        if padding is not None and (missing := self._missing(len(packed) // ID)):
            more = _pack(filler) * missing
            packed = packed + more if padding.direction == "right" else more + packed
        return np.frombuffer(packed, np.uint32)  # from bytes: four times as fast as to fill an array

    def _packed(self, made: Made, name: str) -> bytes:
        """The same as `_column`, without padding, uint32 in bytes."""
        frame = self._frame(made)
        parts = [_pack(*frame.before[name])]
        for text, n, after in zip(frame.texts, self._lengths(made), frame.around[1:], strict=True):
            parts += _pack(text[name]) * n, _pack(*after[name])
        return b"".join(parts)

    def ids(self, made: Made) -> list[int]:
        """Makes `Encoding.ids`."""
        found = self._list_ids(made[1])
        return found if self._padding is None else self._padded(found, self._padding.pad_id)

    def type_ids(self, made: Made) -> list[int]:
        """Makes `Encoding.type_ids`."""
        return self._column(made, "type_ids", self._padding and self._padding.pad_type_id)

    def special_tokens_mask(self, made: Made) -> list[int]:
        """Makes `Encoding.special_tokens_mask`."""
        return self._column(made, "special_tokens_mask", 1)

    def attention_mask(self, made: Made) -> list[int]:
        """Makes `Encoding.attention_mask`."""
        return self._padded([1] * (len(made[1]) // ID), 0)

    def tokens(self, made: Made) -> list[str] | None:
        """Makes `Encoding.tokens`; None if the text of a token depends on more than its id."""
        ids = self._list_ids(made[1])
        if self._odd and not self._odd.isdisjoint(ids):
            return None
        if self.address and not made[5]:  # machine code will make them the next time
            self._learn(ids)
        frame = self._frame(made)
        at = frame.n_before
        found: list[str] = [*frame.before["tokens"]]
        for n, after in zip(self._lengths(made), frame.around[1:], strict=True):
            found += map(self._spell, ids[at : at + n])
            found += after["tokens"]
            at += n + len(after["ids"])
        return found if self._padding is None else self._padded(found, self._padding.pad_token)

    def _column(self, made: Made, name: str, filler: Any, of_text: Any = None) -> list[Any]:
        """A column in which all tokens of a text have one value; of_text: the value, if the frame has another one."""
        frame = self._frame(made)
        found = [*frame.before[name]]
        for text, n, after in zip(frame.texts, self._lengths(made), frame.around[1:], strict=True):
            found += [text[name] if of_text is None else of_text] * n
            found += after[name]
        return self._padded(found, filler)

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


_ONE = np.uint32(1).tobytes()


def _pack(*values: Any) -> bytes:
    return struct.pack(f"={len(values)}I", *values)
