"""Encodes texts of which some segments are trusted: no other part of such a text makes or breaks a protected token."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from gputok.encoding.encoding import Encoding
from gputok.pipeline.encode import stepwise
from gputok.text.pieces import Pieces, TextBatch

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gputok.pipeline.added_vocabulary import AddedVocabulary
    from gputok.pipeline.pipeline import Pipeline


def encode(
    pipeline: Pipeline,
    texts: Sequence[Iterable[tuple[str, bool]]],
    protect: str | Iterable[str],
    add_special_tokens: bool,
) -> list[Encoding]:
    """Encodes texts, each given as segments (text, trusted); `Tokenizer.encode_segments` says how."""
    contents = frozenset(_protected(pipeline.added, protect))

    def guard(given: Pipeline) -> Pipeline:
        return dataclasses.replace(given, added=given.added.protecting(contents))

    guarded = pipeline.variant(("protected", contents), guard)
    found: list[tuple[Encoding, None]] = []
    for text in texts:
        runs = _runs(text)
        whole = "".join(part for part, _ in runs)
        batch = TextBatch.from_strings([whole])
        pieces, steps = Pieces.from_batch(batch, aligned=True), pipeline
        if not all(trusted for _, trusted in runs):
            pieces, steps = _cut_at_tokens(pipeline, pieces, runs, contents), guarded
        words = steps.words(pieces)
        rows = stepwise.rows_of(steps, batch, words, stepwise.tokenize(steps, words), offsets=True)
        found.append((Encoding.of(rows, 0, (), (whole,)), None))
    return stepwise.post_process(guarded, found, add_special_tokens)


def _protected(added: AddedVocabulary, protect: Any) -> set[str]:
    if isinstance(protect, str):
        if protect not in ("special", "added"):
            raise ValueError(f"protect={protect!r}: must be 'special', 'added' or a list of added tokens")
        return added.special if protect == "special" else {*added.ids}
    contents = {*protect}
    if unknown := sorted(map(repr, contents - added.ids.keys())):
        raise ValueError(f"protect: {', '.join(unknown)} are no added tokens; add_tokens adds them")
    return contents | added.special


def _runs(segments: Iterable[tuple[str, bool]]) -> list[tuple[str, bool]]:
    """Joins neighbours; an untrusted segment stands between two trusted ones also if it is empty."""
    checked: list[tuple[str, bool]] = []
    for segment in segments:
        match segment:
            case (str(text), bool() | np.bool_() as trusted):
                checked.append((text, bool(trusted)))
            case _:
                raise TypeError(f"a segment must be (text, trusted), a string and True or False, not {segment!r}")
    groups = itertools.groupby(checked, key=lambda segment: segment[1])
    return [("".join(text for text, _ in group), trusted) for trusted, group in groups]


def _cut_at_tokens(pipeline: Pipeline, whole: Pieces, runs: list[tuple[str, bool]], contents: frozenset[str]) -> Pieces:
    """Makes the protected tokens that trusted runs have alone pieces of their own; whole: the text as one piece.

    A token that a normalizer made of a part of a character takes the whole character. As where tokens are found, those that
    take white space may overlap.
    """
    is_trusted = [trusted for _, trusted in runs]
    begins = np.cumsum([0, *(len(text.encode()) for text, _ in runs)])[:-1][is_trusted]
    alone = TextBatch.from_strings(text for text, trusted in runs if trusted)
    pieces = pipeline.added.apart(Pieces.from_batch(alone, aligned=True), pipeline.normalizer)
    if pieces.token is None or pieces.alignment is None:
        return whole
    at = np.flatnonzero(np.isin(pieces.token, [pipeline.added.ids[content] for content in contents]))
    begin = np.repeat(begins, np.diff(pieces.rows))[at]
    start = begin + pieces.alignment.start[pieces.start[at]]
    end = begin + pieces.alignment.end[pieces.end[at] - 1]
    characters = np.append(np.flatnonzero((whole.data & 0xC0) != 0x80), len(whole.data))
    edges, token = np.zeros((2 * len(at) + 1, 2), np.int64), np.full(2 * len(at) + 1, -1)
    edges[1::2, 0] = edges[:-1:2, 1] = characters[np.searchsorted(characters, start, "right") - 1]
    edges[1::2, 1] = edges[2::2, 0] = characters[np.searchsorted(characters, end)]
    edges[-1, 1], token[1::2] = len(whole.data), pieces.token[at]
    kept = (edges[:, 0] < edges[:, 1]) | (token >= 0)
    start, end = edges[kept].T
    return whole._replace(start=start, end=end, rows=np.array([0, len(start)]), token=token[kept])
