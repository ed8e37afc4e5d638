"""One short text to ids, in plain Python: steps that change the text and cut it into words, a model, special tokens.

Kernels get the address of a handle, an array with all tables. Here `address` is a `Handle`, whose steps are functions.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from gputok.kernels import BpeTables, UnigramTables, WordPieceTables

from tests.reference.edits import splice
from tests.reference.encode_words import encode_words
from tests.reference.find_tokens import find_tokens
from tests.reference.match_longest import match_longest
from tests.reference.rewrite import rewrite_bytes
from tests.reference.split import split_words
from tests.reference.strings import byte_strings
from tests.reference.viterbi import viterbi

SPECIAL, POSITIONS, TOO_MUCH = 1, 2, -1


class Piece(NamedTuple):
    """A piece of the text between two steps."""

    text: bytes
    origin: list[tuple[int, int]]  # for each byte of `text`, the bytes first:last of the original text
    token: int = -1  # the id of an added token, which no step changes; -1: the piece is text

    def part(self, first: int, last: int, token: int = -1) -> Piece:
        """The bytes first:last of the piece."""
        return Piece(self.text[first:last], self.origin[first:last], token)


Step = Callable[[Piece], list[Piece]]
Token = tuple[int, int, int, int]
"""The id of a token, its characters first:last in the original text, and the number of its word, or -1."""


class Handle(NamedTuple):
    """What a tokenizer does with every text."""

    steps: list[Step]
    model: Any  # BpeTables, WordPieceTables or UnigramTables; for WordLevel ids of tokens, under None the unknown one
    before: list[int]  # special tokens before the text
    after: list[int]  # and after it


def encode_text(address: Handle, text: bytes, n_bytes: int, flags: int) -> list[Token] | int:
    """The tokens of a text, or TOO_MUCH if a word or a character is unknown and the model has no token for that."""
    encoders = {BpeTables: encode_words, WordPieceTables: match_longest, UnigramTables: _best_paths, dict: _look_up}
    return _encode(address, text[:n_bytes], flags, encoders[type(address.model)])


def _best_paths(*words):
    n, *tokens = viterbi(*words)
    return tokens if n >= 0 else None


def _look_up(data, start, end, ids):
    found = [ids.get(word, ids[None]) for word in byte_strings(data, start, end)]
    return None if None in found else (found, start, end, range(len(found) + 1))


def _encode(handle: Handle, text: bytes, flags: int, model: Callable) -> list[Token] | int:
    pieces = [Piece(text, [(i, i + 1) for i in range(len(text))])]
    for step in handle.steps:
        pieces = [new for piece in pieces for new in ([piece] if piece.token >= 0 else step(piece))]
    data = np.frombuffer(b"".join(piece.text for piece in pieces), np.uint8)
    offsets = np.cumsum([0, *(len(piece.text) for piece in pieces)])
    words = [i for i, piece in enumerate(pieces) if piece.token < 0]
    encoded = model(data, offsets[:-1][words], offsets[1:][words], handle.model)
    if encoded is None:
        return TOO_MUCH
    ids, begins, ends, rows = encoded
    found = [(piece.token, *offsets[i : i + 2], i) for i, piece in enumerate(pieces) if piece.token >= 0]
    for row, number in enumerate(words):
        found += [(ids[k], begins[k], ends[k], number) for k in range(rows[row], rows[row + 1])]
    found.sort(key=lambda token: token[3])
    origin = [pair for piece in pieces for pair in piece.origin]
    tokens = [(int(id), *_characters(text, origin, a, b), number) for id, a, b, number in found]
    if flags & SPECIAL:
        before, after = ([(id, 0, 0, -1) for id in some] for some in (handle.before, handle.after))
        return [*before, *tokens, *after]
    return tokens


def _characters(text: bytes, origin: list[tuple[int, int]], first: int, last: int) -> tuple[int, int]:
    """The characters of the original text that the bytes first:last of the changed text come from, at least in part."""
    begin = origin[min(first, len(origin) - 1)][0] if origin else 0
    end = origin[min(max(last - 1, 0), len(origin) - 1)][1] if origin else 0
    starts = list(itertools.accumulate((byte & 0xC0 != 0x80 for byte in text), initial=0))
    return (starts[begin + 1] - 1, starts[end]) if begin < len(text) else (begin, end)


# ---- Steps. `cut_at` and `changed_by` make a step of a stage of this folder; the others need more than one stage.


def _packed(piece: Piece) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.frombuffer(piece.text, np.uint8), np.array([0]), np.array([len(piece.text)])


def extract(finder: tuple | None, ids: list[int]) -> Step:
    """Makes the added tokens in a piece pieces of their own; finder: the last three arguments of `find_tokens`."""

    def step(piece: Piece) -> list[Piece]:
        if finder is None:
            return [piece] if piece.text else []
        start, end, token, _ = find_tokens(*_packed(piece), np.array([False]), *finder)
        found = zip(start.tolist(), end.tolist(), token.tolist(), strict=True)
        return [piece.part(a, b, ids[i] if i >= 0 else -1) for a, b, i in found]

    return step


def cut_at(stage: Callable, *tables: Any) -> Step:
    """Keeps the parts of a piece that `split_words` or `strip` returns."""

    def step(piece: Piece) -> list[Piece]:
        start, end = stage(*_packed(piece), None, *tables)[:2]
        return [piece.part(a, b) for a, b in zip(start.tolist(), end.tolist(), strict=True)]

    return step


def changed_by(stage: Callable, *tables: Any) -> Step:
    """Changes the text of a piece by `normalize_form`, `map_characters` or `normalize_precompiled`."""
    return lambda piece: [_changed(piece, *stage(*_packed(piece), None, *tables, True))]


def _changed(piece: Piece, new: np.ndarray, _: np.ndarray, source: np.ndarray) -> Piece:
    """The piece with a new text. Byte k comes from byte source[k], or from the gap before byte ~source[k]."""
    gaps = [(first, first) for first, _ in piece.origin]
    return Piece(new.tobytes(), [piece.origin[at] if at >= 0 else gaps[~at] for at in source.tolist()])


def replaced(automaton: Any, content: bytes) -> Step:
    """Replaces the matches of an automaton. The content comes from the last character of the match."""

    def step(piece: Piece) -> list[Piece]:
        if not piece.text:
            return [piece]
        all_cuts, no_gaps = np.ones((2, 2), bool), np.array([True, False])
        start, end, rows = split_words(*_packed(piece), None, automaton, all_cuts, no_gaps, True)
        last = [len(piece.text[:b].decode()[:-1].encode()) if b else ~0 for b in end.tolist()]
        edits = rows, start, end, np.frombuffer(content, np.uint8), np.array(last, np.int64), True
        return [_changed(piece, *splice(*_packed(piece), *edits))]

    return step


def respelled(table: np.ndarray, replaces: bool, wants_prefix: Callable[[Piece], bool]) -> Step:
    """Replaces bytes, and puts a prefix before the pieces that want one; table: see `rewrite_bytes`."""

    def step(piece: Piece) -> list[Piece]:
        mode = np.array([replaces | (len(piece.text) > 0 and wants_prefix(piece)) << 1])
        columns = np.array(piece.origin, np.int64).reshape(-1, 2).T
        new, _, (begins, ends) = rewrite_bytes(*_packed(piece), mode, table, (columns[0], columns[1]))
        return [Piece(new.tobytes(), list(zip(begins.tolist(), ends.tolist(), strict=True)))]

    return step
