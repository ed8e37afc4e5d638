"""Pre-tokenizers written in Python."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from gputok.components import call_custom
from gputok.text import Alignment, Pieces

from .base import PreTokenizer

if TYPE_CHECKING:
    from gputok.pre_tokenized_string import PreTokenizedString


class Custom(PreTokenizer):
    """An object with a method `pre_tokenize(pretok)`; it has no JSON form, and can't be pickled.

    In a tokenizer, the text that it sees is the normalized one: `original` is the same as `normalized`.
    """

    def __init__(self, pretok: Any) -> None:
        self.pretok = pretok

    def pre_tokenize(self, pretok: PreTokenizedString) -> None:
        call_custom(self.pretok, "pre_tokenize", pretok)

    def _described(self, n_items: int, n_bytes: int | None) -> str:
        return f"PreTokenizer.custom({self.pretok!r})"

    def to_dict(self) -> NoReturn:
        raise TypeError(f"a custom pre-tokenizer has no JSON form: {self.pretok!r}")

    def _apply(self, pieces: Pieces) -> Pieces:
        from gputok.kernels.cpu.ragged import gather
        from gputok.pre_tokenized_string import packed_string

        data, offsets = gather(pieces.data, pieces.start, pieces.end)
        token = np.full(pieces.n_pieces, -1) if pieces.token is None else pieces.token
        # (bytes, where each of them begins and ends in `data`, token) of the new pieces
        parts, n_parts = [], []
        for first, last in itertools.pairwise(pieces.rows.tolist()):
            begin = offsets[first]
            text = packed_string(
                data[begin : offsets[last]], offsets[first : last + 1] - begin, token[first:last]
            )
            self.pre_tokenize(text)
            new = [
                (
                    split._bytes()[a:b],
                    *(side[a:b] + (begin + split._original_shift) for side in split._alignment()),
                    id,
                )
                for split, tokens in text._splits
                for a, b, id in ([(0, None, -1)] if tokens is None else [(*t.offsets, t.id) for t in tokens])
            ]
            parts += new
            n_parts.append(len(new))
        ends = np.cumsum([0, *(len(part) for part, *_ in parts)], dtype=np.int64)
        columns = [*zip(*parts, strict=True)] or [(), (), (), ()]
        part_data, start, end = (np.concatenate([np.zeros(0, np.int64), *column]) for column in columns[:3])
        new_token = np.array(columns[3], np.int32)
        return Pieces(
            part_data.astype(np.uint8),
            ends[:-1],
            ends[1:],
            np.cumsum([0, *n_parts], dtype=np.int64),
            None if (new_token < 0).all() else new_token,
            pieces.alignment and _composed(pieces, offsets, start, end),
        )


def _composed(pieces: Pieces, offsets: np.ndarray, start: np.ndarray, end: np.ndarray) -> Alignment:
    """What the bytes start[i]:end[i] (int64[n]) of the packed pieces come from; an empty range has an empty origin."""
    packed = np.arange(offsets[-1]) + np.repeat(pieces.start - offsets[:-1], np.diff(offsets))
    if not len(packed):
        return Alignment(start.astype(np.int32), end.astype(np.int32))
    from_start, from_end = pieces.alignment.start[packed], pieces.alignment.end[packed]
    first = from_start[np.minimum(start, len(packed) - 1)]
    return Alignment(first, np.where(start < end, from_end[np.maximum(end, 1) - 1], first))
