"""Steps 1 to 3 for many texts at once: one set of packed arrays for all of them."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from gputok.components import derived
from gputok.encoding.columns import Columns
from gputok.encoding.rows import NO_SPELLING, Rows
from gputok.kernels.threads import run
from gputok.models.base import Tokens, joined
from gputok.text.pieces import LONGEST, Pieces, TextBatch, check_lengths
from gputok.types import Array

if TYPE_CHECKING:
    from gputok.pipeline.pipeline import Pipeline


def tokenize(pipeline: Pipeline, pieces: Pieces) -> Tokens:
    """Step 3: the tokens of words and added tokens; `start` and `end` are bytes of `pieces.data`."""
    model, byte_level = pipeline.model, pieces.byte_level
    if pieces.token is None:
        return model.tokenize_pieces(pieces.data, pieces.start, pieces.end, byte_level=byte_level)
    added = pieces.token >= 0
    found = model.tokenize_pieces(
        pieces.data, pieces.start[~added], pieces.end[~added], byte_level=byte_level
    )
    n_tokens = np.ones(pieces.n_pieces, np.int64)
    n_tokens[~added] = np.diff(found.rows)
    rows = np.concatenate([[0], np.cumsum(n_tokens)])
    from_model = np.ones(rows[-1], bool)
    from_model[rows[:-1][added]] = False
    columns = []
    for own, others in ((found.ids, pieces.token), (found.start, pieces.start), (found.end, pieces.end)):
        column = np.empty(rows[-1], own.dtype)
        column[from_model], column[~from_model] = own, others[added]
        columns.append(column)
    return Tokens(*columns, rows)


def _cut_long(
    pipeline: Pipeline, batch: TextBatch, threads: int, n_bytes: int
) -> tuple[Pieces, Tokens] | None:
    """Words and tokens of a long text, cut between words for threads; None where the text cannot be cut before."""
    from gputok.kernels.cpu.walk import prepare, slice_text

    plan = pipeline.pre_tokenizer.plan()
    if plan is None or pipeline.added_in(Pieces.from_batch(batch)):
        return None
    data, offsets = batch

    def part(first: int, last: int) -> tuple[Pieces, Tokens]:
        inside = offsets[(first < offsets) & (offsets < last)]
        edges = np.concatenate([[first], inside, [last]])
        pieces = pipeline.pre_tokenizer.apply(Pieces(data, edges[:-1], edges[1:], np.arange(len(edges))))
        return pieces, tokenize(pipeline, pieces)

    cuts = slice_text(data, offsets, n_bytes, prepare(plan.automaton))
    parts = list(run(part, itertools.pairwise(cuts), threads))
    start, end = (np.concatenate([getattr(pieces, name) for pieces, _ in parts]) for name in ("start", "end"))
    pieces = Pieces(data, start, end, np.searchsorted(start, offsets), byte_level=parts[0][0].byte_level)
    return pieces, joined([tokens for _, tokens in parts])


def encode_documents(
    pipeline: Pipeline, batch: TextBatch, *, offsets: bool, threads: int = 1, slice_bytes: int = 1 << 18
) -> Rows:
    """Steps 1 to 3 for many texts: one row for each.

    With more than one of `threads`, texts are cut between words into slices of about `slice_bytes` where that can be.
    """
    if offsets:
        check_lengths(batch.offsets[:-1], batch.offsets[1:])
    unchanged = pipeline.normalizer is None and (
        pipeline.pre_tokenizer is None or pipeline.pre_tokenizer.plan() is not None
    )
    found = None
    if threads > 1 and unchanged and pipeline.pre_tokenizer is not None:
        found = _cut_long(pipeline, batch, threads, slice_bytes)
    if found is None:
        pieces = pipeline.words(Pieces.from_batch(batch, aligned=offsets and not unchanged))
        found = pieces, tokenize(pipeline, pieces)
    pieces, tokens = found
    rows = tokens.rows[pieces.rows]
    given = {"ids": tokens.ids, "type_ids": 0, "special": 0, "attention": 1}
    if not offsets:
        columns = Columns(len(tokens.ids), start=0, end=0, words=-1, text=-1, **given)
        return Rows(columns, rows[:-1], rows[1:], NO_SPELLING)
    text, texts = _odd_texts(pipeline, pieces, tokens)
    columns = Columns(len(tokens.ids), _Encoded(batch, pieces, tokens), text=text, **given)
    return Rows(columns, rows[:-1], rows[1:], pipeline.names.spelling, texts)


class _Encoded:
    """Where in their texts tokens are: the columns that take time, and that many never ask for."""

    def __init__(self, batch: TextBatch, pieces: Pieces, tokens: Tokens) -> None:
        self._of = batch, pieces, tokens

    def one_value(self, name: str) -> None:
        return None

    def column(self, name: str) -> Array:
        return _words(*self._of[1:]) if name == "words" else self._spans[name == "end"]

    @derived
    def _spans(self) -> tuple[Array, Array]:
        return _character_offsets(*self._of)


def _words(pieces: Pieces, tokens: Tokens) -> Array:
    """int32[t]: the index of each token's word in its document."""
    first = np.repeat(pieces.rows[:-1], np.diff(pieces.rows))
    word = np.arange(pieces.n_pieces, dtype=np.int64) - first
    return np.repeat(word.astype(np.int32), np.diff(tokens.rows))


def _character_offsets(batch: TextBatch, pieces: Pieces, tokens: Tokens) -> tuple[Array, Array]:
    """int64[t] each: the characters of its document that each token covers; part of a character counts as all of it."""
    data, document = batch
    rows = tokens.rows[pieces.rows]
    begins = np.repeat(document[:-1], np.diff(rows))  # of each token's document
    if pieces.alignment is None:
        start, end = tokens.start - begins, tokens.end - begins
    elif len(pieces.alignment.start) == 0:
        start = end = np.zeros(len(tokens.ids), np.int64)
    else:
        last = len(pieces.alignment.start) - 1
        start = pieces.alignment.start[np.minimum(tokens.start, last)].astype(np.int64)
        end = pieces.alignment.end[np.clip(tokens.end - 1, 0, last)].astype(np.int64)
    if len(data) == 0 or data.max() < 0x80:
        return start, end
    width = np.int32 if len(data) <= LONGEST else np.int64
    n_before = np.zeros(len(data) + 1, width)  # characters that begin before each byte
    np.cumsum((data & 0xC0) != 0x80, out=n_before[1:], dtype=width)
    base = n_before[begins]
    at_end = begins + start >= np.repeat(document[1:], np.diff(rows))
    first = n_before[np.minimum(begins + start + 1, len(data))] - 1 - base
    stop = n_before[begins + end] - base
    # Text that a normalizer put behind the last character keeps its place in bytes, as in the namesake.
    return np.where(at_end, start, first), np.where(at_end, end, stop).astype(np.int64)


def _odd_texts(pipeline: Pipeline, pieces: Pieces, tokens: Tokens) -> tuple[Array | int, tuple[str, ...]]:
    """The texts of tokens that aren't spelled as their ids are: added tokens with white space, and unknown ones."""
    odd: dict[int, str] = {}
    if pieces.token is not None:
        for piece in np.flatnonzero(np.isin(pieces.token, pipeline.names.odd)).tolist():
            covered = pieces.data[pieces.start[piece] : pieces.end[piece]]
            odd[int(tokens.rows[piece])] = covered.tobytes().decode()
    unknown = getattr(pipeline.model, "unk_id", None)
    if unknown is not None and len(at := np.flatnonzero(tokens.ids == unknown)):
        some = Tokens(tokens.ids[at], tokens.start[at], tokens.end[at], np.arange(len(at) + 1))
        odd = (
            dict(
                zip(
                    at.tolist(),
                    pipeline.model.values(some, pieces.data, byte_level=pieces.byte_level),
                    strict=True,
                )
            )
            | odd
        )
    if not odd:
        return -1, ()
    text = np.full(len(tokens.ids), -1, np.int32)
    text[list(odd)] = np.arange(len(odd))
    return text, tuple(odd.values())
