"""Checks of the data between the steps of a tokenizer: one function for each type, and a hook that calls them.

`install` adds the checks after every step of every pipeline; conftest.py does so for all tests. A test that makes such
an object itself calls the function.
"""

from __future__ import annotations

import functools
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from gputok.encoding.rows import DTYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gputok.encoding.rows import Rows
    from gputok.text.pieces import Pieces, TextBatch


def check_batch(batch: TextBatch) -> None:
    """Checks documents: one after the other in the data, each valid UTF-8."""
    data, offsets = batch
    assert data.dtype == np.uint8 and data.ndim == 1, data.dtype
    assert offsets.dtype == np.int64 and len(offsets) >= 1, offsets.dtype
    assert offsets[0] >= 0 and offsets[-1] <= len(data), "documents outside of the data"
    assert (offsets[1:] >= offsets[:-1]).all(), "a document ends before it begins"


def check_pieces(pieces: Pieces, *, n_documents: int | None = None) -> None:
    """Checks pieces: inside the data, in order, cut between characters; pieces of text don't overlap.

    Pieces of added tokens may overlap the pieces after them, if a token includes the white space of another token (see
    kernels/cpu/find_tokens.py). Their starts are in order nevertheless.
    """
    data, start, end, rows = pieces.data, pieces.start, pieces.end, pieces.rows
    assert data.dtype == np.uint8 and data.ndim == 1, data.dtype
    for name in ("start", "end", "rows"):
        column = getattr(pieces, name)
        assert column.dtype == np.int64 and column.ndim == 1, (name, column.dtype)
    assert len(start) == len(end)
    assert rows[0] == 0 and rows[-1] == len(start) and (rows[1:] >= rows[:-1]).all(), "rows don't rise"
    assert n_documents is None or len(rows) == n_documents + 1, "another number of documents"
    assert (start <= end).all(), "a piece ends before it begins"
    assert not len(start) or (start.min() >= 0 and end.max() <= len(data)), "a piece outside of the data"
    assert (start[1:] >= start[:-1]).all(), "pieces begin out of order"
    text = np.ones(len(start), bool)
    if pieces.token is not None:
        assert pieces.token.dtype == np.int64 and len(pieces.token) == len(start), pieces.token.dtype
        assert (pieces.token >= -1).all(), "a token's id is negative"
        text = pieces.token < 0
    assert (start[text][1:] >= end[text][:-1]).all(), "pieces of text overlap"
    inner = np.concatenate([start, end])
    inner = inner[inner < len(data)]
    assert not ((data[inner] & 0xC0) == 0x80).any(), "a piece begins or ends inside of a character"
    if pieces.alignment is not None:
        check_alignment(pieces)


def check_alignment(pieces: Pieces, sizes: np.ndarray | None = None) -> None:
    """Checks that each byte of pieces has an origin, in order, in the document; sizes: int64[n_documents], in bytes."""
    low, high = pieces.alignment
    assert len(low) == len(high) == len(pieces.data), "an alignment of another text"
    for side in (low, high):
        assert side.dtype == np.int32, side.dtype
    covered = np.zeros(len(pieces.data) + 1, np.int64)
    np.add.at(covered, pieces.start, 1)
    np.add.at(covered, pieces.end, -1)
    used = np.cumsum(covered[:-1]) > 0
    assert (low[used] >= 0).all() and (low[used] <= high[used]).all(), "an origin ends before it begins"
    # In order within a piece, but for bytes of one character: what is put after it has the origin of its first byte.
    inside = used[1:] & used[:-1]
    starts = pieces.start[pieces.start < len(pieces.data)]
    inside[starts[starts > 0] - 1] = False
    assert (low[1:] > low[:-1] - 4)[inside].all(), "origins out of order"
    if sizes is not None:
        full = pieces.start < pieces.end
        limit = np.repeat(sizes, np.diff(pieces.rows))[full]
        assert (high[pieces.end[full] - 1] <= limit).all(), "an origin after its document's end"


def check_rows(rows: Rows) -> None:
    """Checks rows: tokens inside the columns, columns of equal length and the right types, sequences in their rows."""
    first, last = rows.first, rows.last
    assert first.dtype == np.int64 and last.dtype == np.int64 and len(first) == len(last)
    n = len(rows.columns)
    assert (first <= last).all(), "a row ends before it begins"
    assert not len(first) or (first.min() >= 0 and last.max() <= n), "a row outside of the columns"
    for sequence, span in rows.ranges.items():
        assert sequence >= 0
        if span is not None:
            assert (span[0] >= 0).all() and (span[0] <= span[1]).all(), "a sequence ends before it begins"
            assert (span[1] <= rows.lengths).all(), "a sequence outside of its row"


def check_columns(rows: Rows) -> None:
    """Checks rows and the values of all columns, which are computed for that."""
    check_rows(rows)
    columns = {name: getattr(rows.columns, name) for name in DTYPES}
    for name, column in columns.items():
        assert column.dtype == DTYPES[name] and column.shape == (len(rows.columns),), (name, column.dtype)
    assert (columns["start"] >= 0).all() and (columns["start"] <= columns["end"]).all(), "offsets"
    assert (columns["words"] >= -1).all(), "words"
    assert (columns["text"] < max(len(rows.texts), 1)).all() and (columns["text"] >= -1).all(), "texts"
    assert (columns["special"] <= 1).all() and (columns["attention"] <= 1).all(), "masks"


def check_encoding(encoding: Any, *texts: str) -> None:
    """Checks an encoding: offsets inside the text, words in order, lists of equal length; texts: of each sequence."""
    n = len(encoding)
    for name in ("ids", "type_ids", "tokens", "offsets", "attention_mask", "special_tokens_mask", "word_ids"):
        assert len(getattr(encoding, name)) == n, name
    for (start, end), sequence in zip(encoding.offsets, encoding.sequence_ids, strict=True):
        assert 0 <= start <= end, (start, end)
        if sequence is not None and sequence < len(texts):  # a template can name one that isn't given
            # Text that a normalizer put after the last character keeps its position in bytes, as in tokenizers.
            assert end <= len(texts[sequence].encode()), (start, end, texts[sequence])
    for sequence in range(encoding.n_sequences):
        of_sequence = zip(encoding.word_ids, encoding.sequence_ids, strict=True)
        words = [word for word, own in of_sequence if own == sequence and word is not None]
        assert words == sorted(words), "words out of order"
    for part in encoding.overflowing:
        check_encoding(part, *texts)


@contextmanager
def installed() -> Iterator[dict[str, int]]:
    """Checks the result of each step inside the block; yields how often each type was checked."""
    from gputok import normalizers, pre_tokenizers, processors
    from gputok.pipeline import added_vocabulary
    from gputok.pipeline.encode import stepwise

    checked: dict[str, int] = {}

    def step(method: Callable[..., Pieces]) -> Callable[..., Pieces]:
        @functools.wraps(method)
        def checking(self: Any, pieces: Pieces, *arguments: Any, **options: Any) -> Pieces:
            made = method(self, pieces, *arguments, **options)
            check_pieces(made, n_documents=len(pieces.rows) - 1)
            checked[method.__qualname__] = checked.get(method.__qualname__, 0) + 1
            return made

        return checking

    def rows_of(function: Callable[..., Rows]) -> Callable[..., Rows]:
        @functools.wraps(function)
        def checking(*arguments: Any, **options: Any) -> Rows:
            made = function(*arguments, **options)
            check_rows(made)
            checked[function.__qualname__] = checked.get(function.__qualname__, 0) + 1
            return made

        return checking

    def parts_of(function: Callable[..., list[Rows]]) -> Callable[..., list[Rows]]:
        @functools.wraps(function)
        def checking(*arguments: Any, **options: Any) -> list[Rows]:
            made = function(*arguments, **options)
            for part in made:
                check_rows(part)
            checked[function.__qualname__] = checked.get(function.__qualname__, 0) + 1
            return made

        return checking

    replaced: list[tuple[Any, str, Any]] = []
    for owner, name, wrap in (
        (normalizers.Normalizer, "apply", step),
        (pre_tokenizers.PreTokenizer, "apply", step),
        (added_vocabulary.AddedVocabulary, "extract", step),
        (stepwise, "encode_documents", rows_of),
        (processors, "process_rows", parts_of),
        (stepwise, "process_rows", parts_of),
    ):
        original = vars(owner)[name]
        replaced.append((owner, name, original))
        setattr(owner, name, wrap(original))
    try:
        yield checked
    finally:
        for owner, name, original in replaced:
            setattr(owner, name, original)
