"""Encodes many texts into arrays, without a Python object for each token, nor for each text if they are long together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gputok.pipeline.encode.text import bare_texts_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from gputok.encoding.encoding import Encoding
    from gputok.pipeline.limits import Padding
    from gputok.pipeline.pipeline import Pipeline
    from gputok.types import Array, Ids, Positions


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
    pipeline: Pipeline, given: Any, add_special_tokens: bool, threads: int | None, encode: Callable[[], list[Encoding]]
) -> TokenArrays:
    """Encodes texts; the arguments are those of `Tokenizer.encode_to_numpy`.

    encode: encodes them without padding; it is called for all but texts that can go the way of corpora.

    Raises:
        ValueError: if padding leaves texts of different lengths.
    """
    texts = bare_texts_of(pipeline)
    found = None if texts is None else texts.encode_packed(given, add_special_tokens, threads)
    if found is not None:
        ids, rows = found
        type_ids = np.zeros(len(ids), np.uint32)
    else:
        encodings = encode()
        columns = [encoding.ids_array for encoding in encodings]
        rows = np.zeros(len(columns) + 1, np.int64)
        np.cumsum([len(column) for column in columns], out=rows[1:])
        ids, type_ids = _joined(columns), _joined([encoding.type_ids_array for encoding in encodings])
    if pipeline.padding is None:
        return TokenArrays(ids, type_ids, np.ones(len(ids), np.uint32), rows)
    return _padded(ids, type_ids, rows, pipeline.padding)


def _joined(columns: list[Ids]) -> Ids:
    return np.concatenate([np.empty(0, np.uint32), *columns])


def _padded(ids: Ids, type_ids: Ids, rows: Positions, padding: Padding) -> TokenArrays:
    lengths: Array = np.diff(rows)
    longest = int(lengths.max(initial=0))
    length = longest if padding.length is None else padding.length
    if padding.pad_to_multiple_of:
        length += -length % padding.pad_to_multiple_of
    if longest > length:
        raise ValueError(
            f"text {int(lengths.argmax())} has {longest} tokens, more than the {length} that padding asks for: arrays need "
            f"texts of one length, so truncate, too (truncation={{'max_length': {length}}})"
        )
    missing = length - lengths[:, None]
    places = np.arange(length)
    is_token = places >= missing if padding.direction == "left" else places < length - missing

    def spread(column: Ids, filler: int) -> Ids:
        wide = np.full(is_token.shape, filler, np.uint32)
        wide[is_token] = column
        return wide

    rows = np.arange(len(rows), dtype=np.int64) * length
    return TokenArrays(
        spread(ids, padding.pad_id), spread(type_ids, padding.pad_type_id), is_token.astype(np.uint32), rows
    )
