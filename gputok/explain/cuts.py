"""Which part of a pre-tokenizer's pattern cut each word."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from gputok.automaton import PATTERNS, Backtracking
from gputok.automaton.backtracking import to_regex
from gputok.automaton.parser import branches
from gputok.automaton.pattern import Regex
from gputok.automaton.subsets import OutsideError, compile_node
from gputok.pre_tokenizers import ByteLevel
from gputok.pre_tokenizers.base import cut_pieces
from gputok.text.pieces import spell_out

if TYPE_CHECKING:
    from gputok.kernels import Automaton
    from gputok.pre_tokenizers import PreTokenizer
    from gputok.text.pieces import Pieces
    from gputok.types import Positions


def cut_apart(step: PreTokenizer, pieces: Pieces, reasons: list[list[str]]) -> tuple[Pieces, list[list[str]]]:
    """Applies a step of a pre-tokenizer, and says what cut each piece.

    Args:
        step: no Sequence.
        pieces: the pieces before, without empty ones.
        reasons: what cut each of them until now.

    Returns:
        The pieces after, and what cut each of them.
    """
    new, cut, name = step.apply(pieces).without_empty(), step.cut(), type(step).__name__
    if not step.in_files:
        return new, [[repr(step)]] * new.n_pieces
    # The same text as in `new`, but as it was cut before
    old = step.written(spell_out(pieces))
    owner = _piece_at(old, new.start)
    same = (new.start == old.start[owner]) & (new.end == old.end[owner]) if len(owner) else np.zeros(0, bool)
    matches = None if cut is None else cut_pieces(old, cut.matcher, "removed", invert=True)
    parts, first, last = [], owner, owner
    covered = np.zeros(1, np.int64)
    if matches is not None:
        parts = _parts(step, old, matches)
        first, last = np.searchsorted(matches.end, new.start, "right"), np.searchsorted(matches.start, new.end, "left")
        covered = np.append(0, np.cumsum(matches.end - matches.start))
    found: list[list[str]] = []
    for k, (i, size) in enumerate(zip(owner.tolist(), (new.end - new.start).tolist(), strict=True)):
        inside = [*dict.fromkeys(parts[first[k] : last[k]])] if parts else []
        is_added = new.token is not None and new.token[k] >= 0
        if is_added or (same[k] and not (inside and _expression(step))):
            found.append(reasons[i])
            continue
        if inside and covered[last[k]] - covered[first[k]] < size:
            inside.append("the text beside it")
        inside = [part for part in inside or ["between matches"] if part]
        found.append([*reasons[i], f"{name}: {' and '.join(inside)}" if _expression(step) else name])
    return new, found


def _piece_at(pieces: Pieces, at: Positions) -> Positions:
    """The piece that each byte is in."""
    return np.searchsorted(pieces.start, at, "right") - 1


def _parts(step: PreTokenizer, old: Pieces, matches: Pieces) -> list[str]:
    """The part of the pattern of a step that made each match."""
    if not _expression(step):
        return [type(step).__name__] * matches.n_pieces
    texts, owner = old.strings(), _piece_at(old, matches.start)
    n_before = np.append(0, np.cumsum((old.data & 0xC0) != 0x80))
    begins = n_before[old.start[owner]]
    spans = zip(
        owner.tolist(),
        (n_before[matches.start] - begins).tolist(),
        (n_before[matches.end] - begins).tolist(),
        strict=True,
    )
    return [_part(_expression(step), texts[i], start, end) for i, start, end in spans]


def _expression(step: Any) -> str | Regex | None:
    """What a step cuts by: a text, an expression, or None if it has a rule of its own."""
    return Regex(PATTERNS["gpt2"]) if isinstance(step, ByteLevel) else getattr(step, "pattern", None)


def _part(pattern: str | Regex | None, text: str, start: int, end: int) -> str:
    """The first of the alternatives of a pattern that matches text[start:end], as the pattern writes it."""
    if not isinstance(pattern, Regex):
        return repr(pattern)
    matching = (f"/{part}/" for part, matcher in _branches(pattern.pattern) if _match_end(matcher, text, start) == end)
    return next(matching, f"/{pattern.pattern}/")


@functools.lru_cache(maxsize=16)
def _branches(pattern: str) -> list[tuple[str, Automaton | Backtracking]]:
    found: list[tuple[str, Automaton | Backtracking]] = []
    for written, node in branches(pattern):
        try:
            found.append((written, compile_node(node)))
        except OutsideError:
            found.append((written, Backtracking(written, to_regex(node))))
    return found


def _match_end(matcher: Automaton | Backtracking, text: str, start: int) -> int | None:
    """Where a match that begins at a character ends; None: there is none."""
    if isinstance(matcher, Backtracking):
        match = matcher.compiled.match(text, start)
        return None if match is None else match.end()
    found, state, end_of_text = None, 0, matcher.delta.shape[1] - 1
    for at in range(start, len(text) + 1):
        code = ord(text[at]) if at < len(text) else -1
        if code < 0:
            kind = end_of_text
        else:
            kind = matcher.ascii_class[code] if code < 0x80 else matcher.member[matcher.page[code >> 7], code & 127]
        found = at if matcher.accept[state, kind] else found
        state = matcher.delta[state, kind]
        if state == 0xFFFF:
            break
    return found
