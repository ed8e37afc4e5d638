"""Steps 1 to 3 (normalize, cut into words, tokenize) for many texts at once, in one set of packed arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gputok.components import derived
from gputok.encoding.columns import Columns
from gputok.encoding.rows import NO_SPELLING, Rows
from gputok.kernels.threads import run
from gputok.models.base import Tokens, concat_tokens
from gputok.pipeline.way import cut_for_threads
from gputok.text.pieces import LONGEST, Pieces, TextBatch, check_lengths
from gputok.text.way import Unit

if TYPE_CHECKING:
    from gputok.encoding.columns import Column
    from gputok.pipeline.pipeline import Pipeline
    from gputok.types import Positions, Positions32


def tokenize(pipeline: Pipeline, pieces: Pieces) -> Tokens:
    """Step 3: tokenizes words; added tokens are tokens already. `start` and `end` are positions in `pieces.data`."""
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
    ids, start, end = (
        np.empty(rows[-1], np.uint32),
        np.empty(rows[-1], np.int64),
        np.empty(rows[-1], np.int64),
    )
    ids[from_model], ids[~from_model] = found.ids, pieces.token[added]
    start[from_model], start[~from_model] = found.start, pieces.start[added]
    end[from_model], end[~from_model] = found.end, pieces.end[added]
    return Tokens(ids, start, end, rows)


def _cut_long(
    pipeline: Pipeline, batch: TextBatch, threads: int, n_bytes: int
) -> tuple[Pieces, Tokens] | None:
    """Tokenizes a long text in slices of about `n_bytes`, cut between words, by several threads.

    Returns None if the pre-tokenizer is not one walk over the text: then nothing tells where to cut.
    """
    pre_tokenizer, automaton = pipeline.pre_tokenizer, pipeline.way.automaton
    if pre_tokenizer is None or automaton is None or pipeline.way.unit is not Unit.WORD:
        return None

    def of_slice(pieces: Pieces) -> tuple[Pieces, Tokens]:
        words = pre_tokenizer.apply(pieces)
        return words, tokenize(pipeline, words)

    cut = cut_for_threads(pipeline.added.apart(Pieces.from_batch(batch), None), automaton, n_bytes)
    words, tokens = zip(*run(of_slice, [(each,) for each in cut.slices], threads), strict=True)
    start, end = (np.concatenate([getattr(each, name) for each in words]) for name in ("start", "end"))
    token = None if cut.pieces.token is None else np.concatenate([each.token for each in words])
    rows = cut.joined([each.rows for each in words])
    pieces = Pieces(batch.data, start, end, rows, token, byte_level=words[0].byte_level)
    return pieces, concat_tokens([*tokens])


def encode_documents(
    pipeline: Pipeline, batch: TextBatch, *, offsets: bool, threads: int = 1, slice_bytes: int = 1 << 18
) -> Rows:
    """Steps 1 to 3 for many texts; returns one row for each text.

    offsets: computes the columns that only complete encodings need, such as offsets and words.
    threads: with more than one, texts are cut between words into slices of about `slice_bytes`, if possible.
    """
    if offsets:
        check_lengths(batch.offsets[:-1], batch.offsets[1:])
    in_place = pipeline.pre_tokenizer is None or pipeline.way.unit is Unit.WORD
    unchanged = pipeline.normalizer is None and in_place
    found = None
    if threads > 1 and unchanged:
        found = _cut_long(pipeline, batch, threads, slice_bytes)
    if found is None:
        pieces = pipeline.words(Pieces.from_batch(batch, aligned=offsets and not unchanged))
        found = pieces, tokenize(pipeline, pieces)
    pieces, tokens = found
    rows = tokens.rows[pieces.rows]
    columns: dict[str, Any] = {"ids": tokens.ids, "type_ids": 0, "special": 0, "attention": 1}
    if not offsets:
        columns |= {"start": 0, "end": 0, "words": -1, "text": -1}
        return Rows(Columns(len(tokens.ids), **columns), rows[:-1], rows[1:], NO_SPELLING)
    text, texts = _verbatim_texts(pipeline, pieces, tokens)
    lazy = Columns(len(tokens.ids), _Encoded(batch, pieces, tokens), text=text, **columns)
    return Rows(lazy, rows[:-1], rows[1:], pipeline.names.spelling, texts)


class _Encoded:
    """Computes the columns of offsets and words, which take time and many callers never read."""

    def __init__(self, batch: TextBatch, pieces: Pieces, tokens: Tokens) -> None:
        self._batch, self._pieces, self._tokens = batch, pieces, tokens

    def one_value(self, name: str) -> None:
        """Returns None: the values of these columns differ from token to token."""

    def column(self, name: str) -> Column:
        """Computes the values of all tokens in a column."""
        return _words(self._pieces, self._tokens) if name == "words" else self._spans[name == "end"]

    @derived
    def _spans(self) -> tuple[Positions, Positions]:
        return _character_offsets(self._batch, self._pieces, self._tokens)


def _words(pieces: Pieces, tokens: Tokens) -> Positions32:
    """Returns int32[n_tokens]: the index of each token's word in its document."""
    first = np.repeat(pieces.rows[:-1], np.diff(pieces.rows))
    word = np.arange(pieces.n_pieces, dtype=np.int64) - first
    return np.repeat(word.astype(np.int32), np.diff(tokens.rows))


def _character_offsets(batch: TextBatch, pieces: Pieces, tokens: Tokens) -> tuple[Positions, Positions]:
    """Returns the range of characters of its document that each token covers, at least in part: int64[n_tokens] each."""
    data, document = batch
    rows = tokens.rows[pieces.rows]
    begins = np.repeat(document[:-1], np.diff(rows))  # the first byte of each token's document
    if pieces.alignment is None:
        start, end = tokens.start - begins, tokens.end - begins
    elif len(pieces.alignment.start) == 0:
        start = end = np.zeros(len(tokens.ids), np.int64)
    else:
        last = len(pieces.alignment.start) - 1
        start = pieces.alignment.start[np.minimum(tokens.start, last)].astype(np.int64)
        end = pieces.alignment.end[np.clip(tokens.end - 1, 0, last)].astype(np.int64)
    word_start, word_end = (np.repeat(edge, np.diff(tokens.rows)) for edge in (pieces.start, pieces.end))
    beyond = np.flatnonzero(tokens.end > word_end)
    if len(data) == 0 or (data.max() < 0x80 and not len(beyond)):
        return start, end
    width = np.int32 if len(data) <= LONGEST else np.int64
    n_before: Any = np.zeros(len(data) + 1, width)  # how many characters begin before each byte
    np.cumsum((data & 0xC0) != 0x80, out=n_before[1:], dtype=width)
    base = n_before[begins]
    stops = np.repeat(document[1:], np.diff(rows))
    at_end = begins + start >= stops
    first = n_before[np.minimum(begins + start + 1, len(data))] - 1 - base
    stop = n_before[np.minimum(begins + end, len(data))] - base
    # As in tokenizers, text that a normalizer appended after the last character has offsets in bytes.
    start, end = np.where(at_end, start, first), np.where(at_end, end, stop).astype(np.int64)
    if len(beyond):
        from_word = (tokens.start - word_start)[beyond], (tokens.end - word_start)[beyond]
        start[beyond], end[beyond] = _beyond_words(*from_word, begins[beyond], stops[beyond], n_before)
    return start, end


def _beyond_words(
    start: Positions, end: Positions, begins: Positions, stops: Positions, n_before: Positions32 | Positions
) -> tuple[Positions, Positions]:
    """Returns the offsets of tokens that end after their words, as tokenizers gives them.

    Prefixes and suffixes of a BPE model may become bytes, which count as bytes of the word. Offsets that lie after the
    word are taken for offsets in the document, in bytes; those after the document stay as they are.

    start, end: int64[n], of the tokens in their words, in bytes; begins, stops: int64[n], of their documents in the data;
    n_before: how many characters begin before each byte of the data.
    """
    size = stops - begins

    def character_of(byte: Positions) -> Positions:
        return (n_before[begins + np.minimum(byte, size - 1) + 1] - 1 - n_before[begins]).astype(np.int64)

    at_end = np.where(end - 1 < size, character_of(end - 1) + 1, character_of(start) + 2)
    last = np.where(end < size, character_of(end), at_end)
    return np.where(start < size, character_of(start), start), np.where(start < size, last, end)


def _verbatim_texts(
    pipeline: Pipeline, pieces: Pieces, tokens: Tokens
) -> tuple[Positions32 | int, tuple[str, ...]]:
    """Finds the tokens that are shown as the text that they cover: some added tokens, and Unigram's unknown tokens.

    Returns the column `text` (int32[n_tokens], an index into the texts or -1; or -1 for all tokens), and the texts.
    """
    verbatim: dict[int, str] = {}
    unknown = getattr(pipeline.model, "unk_id", None)
    if unknown is not None and len(at := np.flatnonzero(tokens.ids == unknown)):
        some = Tokens(tokens.ids[at], tokens.start[at], tokens.end[at], np.arange(len(at) + 1))
        values = pipeline.model.values(some, pieces.data, byte_level=pieces.byte_level)
        verbatim.update(zip(at.tolist(), values, strict=True))
    if pieces.token is not None:
        for piece in np.flatnonzero(np.isin(pieces.token, pipeline.names.shown_verbatim)).tolist():
            covered = pieces.data[pieces.start[piece] : pieces.end[piece]]
            verbatim[int(tokens.rows[piece])] = covered.tobytes().decode()
    if not verbatim:
        return -1, ()
    text = np.full(len(tokens.ids), -1, np.int32)
    text[list(verbatim)] = np.arange(len(verbatim))
    return text, tuple(verbatim.values())
