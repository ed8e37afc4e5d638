"""Explains how a text becomes tokens, step by step: encodes it slowly, in plain Python, and compares with `encode`."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import heapq
import html
import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from gputok.automaton import PATTERNS
from gputok.automaton.parser import branches
from gputok.automaton.pattern import Regex
from gputok.automaton.syntax import to_regex
from gputok.checks import first_difference
from gputok.encoding.encoding import Encoding
from gputok.models import Model
from gputok.models.bpe.model import BPE
from gputok.models.unigram.model import Unigram
from gputok.models.wordpiece.model import WordPiece
from gputok.pipeline.encode import stepwise
from gputok.pipeline.pipeline import Pipeline
from gputok.pre_tokenizers import ByteLevel, PreTokenizer, cut_pieces
from gputok.text.pieces import Pieces, TextBatch, spell_out
from gputok.types import Positions

__all__ = ["Explanation", "Step", "Word"]


class Step(NamedTuple):
    """A step of a model in a word: it finds a token.

    Attributes:
        token: the token.
        at: where the token begins: BPE: the number of its first symbol in the word; else of its first character.
        parts: BPE: the two tokens that are merged.
        rank: BPE: the position of the merge in the list of merges; the lowest one is merged first.
        score: Unigram: the logarithm of the probability of the token.
        why: more for people, such as the shorter tokens that WordPiece didn't take.
    """

    token: str
    at: int = 0
    parts: tuple[str, ...] = ()
    rank: int | None = None
    score: float | None = None
    why: str = ""


class Word(NamedTuple):
    """A word, or an added token, and what became of it.

    Attributes:
        text: what the model reads: the normalized text; bytes are written as characters of ByteLevel.
        added: the word is an added token, which no model takes apart.
        cut_by: the steps of the pre-tokenizer that cut it, each with the part of its pattern that matched.
        symbols: BPE: the tokens of the word before any merge.
        steps: what the model did, in order.
        unmerged: BPE: which neighbours were not merged, and why.
        ids: the ids of its tokens.
        tokens: the texts of its tokens, as `Encoding.tokens` has them.
        offsets: (first, last + 1) character of the text that they cover.
    """

    text: str
    added: bool
    cut_by: list[str]
    symbols: list[str]
    steps: list[Step]
    unmerged: list[str]
    ids: list[int]
    tokens: list[str]
    offsets: tuple[int, int]

    def states(self) -> Iterator[tuple[Step, list[str]]]:
        """Yields each step of BPE, and all tokens of the word after it."""
        now: list[str] = [*self.symbols]
        alive = [True] * len(now)
        for step in self.steps:
            if step.parts:
                second = next(i for i in range(step.at + 1, len(now)) if alive[i])
                alive[second], now[step.at] = False, step.token
            yield step, [token for token, is_alive in zip(now, alive, strict=True) if is_alive]


@dataclasses.dataclass(frozen=True, repr=False)
class Explanation:
    """How a text becomes tokens (`Tokenizer.explain`): `print` shows it, and so does a notebook.

    Attributes:
        text: the text.
        normalized: (step, new text) for each step of the normalizer that changed the text; `│` is beside added tokens.
        words: the words and added tokens in order.
        special: (token, id, place) for each token of the post-processor, in order.
        encoding: what `encode` returns, with the tokens of the post-processor, truncated and padded.
    """

    text: str
    normalized: list[tuple[str, str]]
    words: list[Word]
    special: list[tuple[str, int, str]]
    encoding: Encoding

    def to_dict(self) -> dict[str, Any]:
        """Returns all of it as JSON values."""
        words = [word._asdict() | {"steps": [step._asdict() for step in word.steps]} for word in self.words]
        listed = {"text": self.text, "normalized": self.normalized, "words": words, "special": self.special}
        return {**listed, "ids": self.encoding.ids, "tokens": self.encoding.tokens}

    def __str__(self) -> str:
        lines = [f"text  {self.text!r}", *(f"      {text!r}  after {step}" for step, text in self.normalized)]
        for number, word in enumerate(self.words):
            lines += ["", f"{number}  {_visible(word.text)}  {_origin(word)}"]
            lines += ["    " + "  ".join(row).rstrip() for row in _aligned(_rows(word))]
            lines += [f"    not merged: {one}" for one in map(_visible, word.unmerged)]
        ends = [f"{_visible(token)} {id} {place}" for token, id, place in self.special]
        lines += ["", *([f"the post-processor adds {', '.join(ends)}"] if ends else [])]
        n_cut = sum(map(len, self.encoding.overflowing))
        lines += [f"truncation cuts off {n_cut} tokens"] if n_cut else []
        ids = [id for id, is_text in zip(self.encoding.ids, self.encoding.attention_mask, strict=True) if is_text]
        n_padding = len(self.encoding) - len(ids)
        lines += [f"padding adds {n_padding} tokens"] if n_padding else []
        return "\n".join([*lines, f"ids   {' '.join(map(str, ids))}"])

    def __repr__(self) -> str:
        return f"<Explanation: {len(self.words)} words, {len(self.encoding)} tokens>"

    def _repr_html_(self) -> str:
        def lines(texts: list[str]) -> str:
            return "<br>".join(html.escape(_visible(text)) for text in texts)

        head = "".join(f"<th>{name}</th>" for name in ("", "word", "cut by", "steps", "tokens", "not merged"))
        rows = [f"<tr>{head}</tr>"]
        for number, word in enumerate(self.words):
            steps = ["  ".join(part for part in row if part) for row in _rows(word)[:-1]]
            tokens = [f"{token} {id}" for token, id in zip(word.tokens, word.ids, strict=False)]
            cut_by = word.cut_by or ["added token"] * word.added
            cells = [[str(number)], [word.text], cut_by, steps, tokens, word.unmerged]
            rows.append(f"<tr>{''.join(f'<td>{lines(cell)}</td>' for cell in cells)}</tr>")
        before = "".join(f"<p>after {html.escape(step)}: {html.escape(text)}</p>" for step, text in self.normalized)
        return (
            f'<style>{_STYLE}</style>{self.encoding._repr_html_()}<div class="gputok-steps">{before}'
            f"<table>{''.join(rows)}</table></div>"
        )


_STYLE = """
.gputok-steps { overflow-x: auto; }
.gputok-steps table { border-collapse: collapse; font: 12px ui-monospace, monospace; }
.gputok-steps th, .gputok-steps td { text-align: left; vertical-align: top; white-space: pre-wrap; }
.gputok-steps th, .gputok-steps td { padding: 4px 10px; border-bottom: 1px solid #8886; }
.gputok-steps th, .gputok-steps td:not(:first-child) { overflow-wrap: anywhere; }
"""
_WIDEST = 60
"""A line shows all tokens of a word after a merge if these have at most this many characters."""


def _origin(word: Word) -> str:
    where = f"characters {word.offsets[0]}:{word.offsets[1]}"
    if word.added:
        return f"an added token, {where}"
    return ", ".join([where, *(f"cut by {step}" for step in word.cut_by)])


def _rows(word: Word) -> list[tuple[str, ...]]:
    """Returns the steps of a word as rows of a table; the last row has the tokens of the word."""
    rows: list[tuple[str, ...]] = []
    for step, state in word.states():
        if step.parts:
            now = "│".join(state)
            merged = f"{' + '.join(step.parts)} → {step.token}"
            shown = (f"rank {step.rank}", merged, now if len(now) <= _WIDEST else "")
        else:
            shown = (step.token, "" if step.score is None else f"{step.score:.2f}", step.why)
        rows.append((*map(_visible, shown),))
    tokens = [f"{_visible(token)} {id}" for token, id in zip(word.tokens, word.ids, strict=False)]
    return [*rows, ("tokens" if tokens else "no tokens", ", ".join(tokens), "")]


def _aligned(rows: list[tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
    """Pads the cells of a table to the widths of the columns; the last row doesn't count for these."""
    widths = [max((len(row[i]) for row in rows[:-1]), default=0) for i in range(3)]
    return ((*(cell.ljust(width) for cell, width in zip(row, widths, strict=True)),) for row in rows)


def _visible(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def explain(pipeline: Pipeline, text: str, add_special_tokens: bool = True) -> Explanation:
    """Explains how a text becomes tokens, as `Tokenizer.explain` says; raises RuntimeError if `encode` disagrees."""
    text = stepwise.check_sequence(text, False)  # pyright: ignore[reportAssignmentType]
    model = pipeline.model
    if model.is_random:
        remedy = f"set tokenizer.model.{'dropout' if isinstance(model, BPE) else 'alpha'} = None, and explain again"
        raise ValueError(f"the model draws tokens at random, so that no other call need give the same: {remedy}")
    bare = pipeline.with_limits(truncation=None, padding=None)
    encoding = stepwise.encode(bare, [(text,)], False, False, offsets=True)[0]
    once = stepwise.encode(dataclasses.replace(bare, post_processor=None), [(text,)], False, False, offsets=True)[0]
    if len(once) != len(encoding):  # a template of the post-processor repeats the text, or leaves it out
        encoding = once
    pieces, normalized = _normalized(pipeline, text)
    pieces, reasons = _cut(pipeline, pieces)
    words: list[Word] = []
    at, names, offsets = 0, encoding.tokens, encoding.offsets
    added = [-1] * pieces.n_pieces if pieces.token is None else pieces.token.tolist()
    for word, token, cut_by in zip(pieces.strings(), added, reasons, strict=True):
        if token >= 0:
            ids, symbols, steps, unmerged = [token], [], [], []
        else:
            ids, symbols, steps, unmerged = tokens_of(model, word)
        some = slice(at, at + len(ids))
        span = (min(a for a, _ in offsets[some]), max(b for _, b in offsets[some])) if offsets[some] else (0, 0)
        words.append(Word(word, token >= 0, cut_by, symbols, steps, unmerged, ids, names[some], span))
        at += len(ids)
    found, ids = [id for word in words for id in word.ids], encoding.ids
    if (at := first_difference(found, ids)) < max(len(found), len(ids)):
        raise RuntimeError(
            f"this is a fault of gputok, please report it: for the text {text!r}, explain finds other ids than encode "
            f"from token {at} on: {found[at : at + 8]}, not {ids[at : at + 8]}"
        )
    if isinstance(model, BPE):
        _name_limits(model, words)
    finished = stepwise.encode(pipeline, [(text,)], False, add_special_tokens, offsets=True)[0]
    return Explanation(text, normalized, words, _special(pipeline, encoding, add_special_tokens), finished)


def _normalized(pipeline: Pipeline, text: str) -> tuple[Pieces, list[tuple[str, str]]]:
    """Finds added tokens and normalizes the text, as `AddedVocabulary.apart`; also returns `Explanation.normalized`."""
    pieces = pipeline.added.extract(Pieces.from_batch(TextBatch.from_strings([text]), aligned=True), normalized=False)
    found: list[tuple[str, str]] = []
    for step in [] if pipeline.normalizer is None else pipeline.normalizer.leaves():
        before = spell_out(pieces).strings()
        pieces = step.apply(pieces)
        if (after := spell_out(pieces).strings()) != before:
            found.append((repr(step), "│".join(after)))
    return pipeline.added.extract(pieces, normalized=True), found


def _cut(pipeline: Pipeline, pieces: Pieces) -> tuple[Pieces, list[list[str]]]:
    """Cuts text into words; returns them, and for each what `Word.cut_by` has."""
    reasons: list[list[str]] = [[] for _ in range(pieces.n_pieces)]
    for step in [] if pipeline.pre_tokenizer is None else pipeline.pre_tokenizer.leaves():
        pieces, reasons = cut_apart(step, pieces.without_empty(), reasons)
    return spell_out(pieces), reasons


def _name_limits(model: BPE, words: list[Word]) -> None:
    """Adds to `Word.unmerged` the merges that do not happen because a limit between two words lies in between."""
    merges = merges_of(model)
    for one, other in itertools.pairwise(words):
        are_words = one.ids and other.ids and not (one.added or other.added)
        if are_words and (pair := merges.get((one.ids[-1], other.ids[0]))) is not None:
            left, right = name_of(model, one.ids[-1]), name_of(model, other.ids[0])
            one.unmerged.append(f"{left} + {right} (rank {pair[0]}): a limit of words lies between them")


def _special(pipeline: Pipeline, encoding: Encoding, add_special_tokens: bool) -> list[tuple[str, int, str]]:
    """The tokens that the post-processor adds, and where."""
    bare = pipeline.with_limits(truncation=None, padding=None)
    whole = stepwise.post_process(bare, [(encoding, None)], add_special_tokens)[0]
    tokens, ids = whole.tokens, whole.ids
    added = [i for i, is_special in enumerate(whole.special_tokens_mask) if is_special]
    own = {*range(len(ids))}.difference(added)
    first, last = min(own, default=-1), max(own, default=-1)
    places = ["before the text" if i < first else "after it" if i > last else "between its copies" for i in added]
    return [(tokens[i], ids[i], place) for i, place in zip(added, places, strict=True)]


def cut_apart(step: PreTokenizer, pieces: Pieces, reasons: list[list[str]]) -> tuple[Pieces, list[list[str]]]:
    """Applies a step (no Sequence) to pieces (none empty); returns the new ones, and for each all that has cut it."""
    new, cut, name = step.apply(pieces).without_empty(), step.cut(), type(step).__name__
    if not step.in_files:
        return new, [[repr(step)]] * new.n_pieces
    # The old pieces with the text that `new` has: the step may write the text in another way before it cuts
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
    """Returns the number of the piece that each byte `at` is in."""
    return np.searchsorted(pieces.start, at, "right") - 1


def _parts(step: PreTokenizer, old: Pieces, matches: Pieces) -> list[str]:
    """Returns for each match the alternative of the step's pattern that made it, or else the name of the step."""
    if not _expression(step):
        return [type(step).__name__] * matches.n_pieces
    texts, owner = old.strings(), _piece_at(old, matches.start)
    n_before = np.append(0, np.cumsum((old.data & 0xC0) != 0x80))
    begins = n_before[old.start[owner]]
    spans = np.stack([owner, n_before[matches.start] - begins, n_before[matches.end] - begins], axis=1).tolist()
    return [_part(_expression(step), texts[i], start, end) for i, start, end in spans]


def _expression(step: Any) -> str | Regex | None:
    """Returns what a step cuts by: a text, a regular expression, or None if the step has no pattern that users see."""
    return Regex(PATTERNS["gpt2"]) if isinstance(step, ByteLevel) else getattr(step, "pattern", None)


def _part(pattern: str | Regex | None, text: str, start: int, end: int) -> str:
    """Returns the first alternative of a pattern that matches text[start:end], as it is written in the pattern."""
    if not isinstance(pattern, Regex):
        return repr(pattern)
    with contextlib.suppress(TimeoutError):  # `regex` takes exponential time for a few patterns
        for part, compiled in _branches(pattern.pattern):
            if (match := compiled.match(text, start, timeout=1)) and match.end() == end:
                return f"/{part}/"
    return f"/{pattern.pattern}/"


@functools.lru_cache(maxsize=16)
def _branches(pattern: str) -> list[tuple[str, Any]]:
    """The alternatives of a pattern as it writes them, each compiled by `regex`; none if that takes too long."""
    with contextlib.suppress(ValueError):
        return [(written, to_regex(node)) for written, node in branches(pattern)]
    return []


# -- how each model takes a word apart, in plain Python: slow, and written to be read


class FoundSteps(NamedTuple):
    """What a model makes of a word; the fields are those of `Word`."""

    ids: list[int]
    symbols: list[str]
    steps: list[Step]
    unmerged: list[str]


def tokens_of(model: Model, word: str) -> FoundSteps:
    """Finds the tokens of a word, and says how. The model must not draw tokens at random (`Model.is_random`)."""
    match model:
        case BPE():
            return _merged(model, word)
        case WordPiece():
            return _longest(model, word)
        case Unigram():
            return _best_path(model, word)
    found = model.token_to_id(word)
    why = "the word is a token" if found is not None else "no token is this word: it is unknown"
    token: Any = found if found is not None else model.token_to_id(getattr(model, "unk_token", ""))
    return FoundSteps([token], [], [Step(name_of(model, token), why=why)], [])


def name_of(model: Model, id: int) -> str:
    """The text of a token of the vocabulary."""
    return model.vocabulary.name(id) or ""


def merges_of(model: BPE) -> dict[tuple[int, int], tuple[int, int]]:
    """Returns (left id, right id) -> (rank of their merge, id of the token that it makes)."""
    if "merges" not in model.shared:
        rows = model.merges.tolist()
        # In SentencePiece, all merges that make the same token have the rank of the first of them
        first: dict[int, int] = {}
        for rank, (_, _, made) in enumerate(rows):
            first.setdefault(made, rank)
        ranks = [first[made] for _, _, made in rows] if model.sentencepiece else range(len(rows))
        pairs = zip(rows, ranks, strict=True)
        model.shared["merges"] = {(left, right): (rank, made) for (left, right, made), rank in pairs}
    return model.shared["merges"]


def _merged(model: BPE, word: str) -> FoundSteps:
    """BPE: merges the pair of lowest rank and, of these, the leftmost, until no pair of neighbours has a rank."""
    whole = model.token_to_id(word) if model.ignore_merges else None
    if whole is not None:
        return FoundSteps([whole], [], [Step(word, why="the word is a token, and ignore_merges is set")], [])
    symbols, steps = _symbols(model, word)
    unmerged: list[str] = []
    names, merges = [name_of(model, id) for id in symbols], merges_of(model)
    first, n = [*names], len(symbols)
    before, after = [*range(-1, n)], [*range(1, n + 1)]
    heap: list[tuple[int, int, int]] = []

    def pair_at(i: int) -> tuple[int, int] | None:
        return merges.get((symbols[i], symbols[after[i]])) if i >= 0 and after[i] < n else None

    def offer(i: int) -> None:
        if (pair := pair_at(i)) is not None:
            heapq.heappush(heap, (pair[0], i, pair[1]))

    for i in range(n):
        offer(i)
    while heap:
        _, i, made = heapq.heappop(heap)
        # The pair here may have changed (-1: merged into the one before); as in tokenizers, it must make the same token
        if (pair := pair_at(i)) is None or pair[1] != made:
            continue
        rank, right = pair[0], after[i]
        chosen = names[i], names[right]
        for k in (before[i], right):
            if (other := pair_at(k)) is not None:
                how = "has a lower rank" if other[0] > rank else "is farther left"
                why = f"{' + '.join(chosen)} (rank {rank}) {how}"
                unmerged.append(f"{names[k]} + {names[after[k]]} (rank {other[0]}): {why}")
        steps.append(Step(name_of(model, made), i, chosen, rank))
        symbols[i], names[i], symbols[right] = made, steps[-1].token, -1
        after[i] = after[right]
        before[after[i]] = i
        offer(before[i])
        offer(i)
    left = [i for i, id in enumerate(symbols) if id >= 0]
    known, prefix = model.vocabulary.mapping, model.continuing_subword_prefix or ""
    apart: list[str] = []
    for i, k in itertools.pairwise(left):
        joined = names[i] + names[k].removeprefix(prefix)
        but = f" ({joined} is a token, but no merge of these two)" if joined in known else ""
        apart.append(f"{names[i]} + {names[k]}{but}")
    if apart:
        unmerged.append(f"no such merge: {', '.join(dict.fromkeys(apart))}")
    return FoundSteps([symbols[i] for i in left], first, steps, [*dict.fromkeys(unmerged)])


def _symbols(model: BPE, word: str) -> tuple[list[int], list[Step]]:
    """Returns the ids of a word before any merge, one for each known character, and a step for each unknown one."""
    find, unknown = model.vocabulary.mapping.get, model.unk_token
    symbols: list[int] = []
    waiting: list[int] = []
    unknowns: list[Step] = []
    for i, character in enumerate(word):
        prefix = model.continuing_subword_prefix if i else ""
        suffix = model.end_of_word_suffix if i + 1 == len(word) else ""
        spelled = f"{prefix or ''}{character}{suffix or ''}"
        if (id := find(spelled)) is not None:
            symbols += [*waiting, id]
            waiting = []
            continue
        fallback = [find(f"<0x{byte:02X}>") for byte in spelled.encode()] if model.byte_fallback else [None]
        why = "unknown: its bytes are tokens"
        if None not in fallback:
            symbols += [id for id in fallback if id is not None]
        elif unknown is None:
            why = "unknown, and removed: the model has no unknown token"
        else:
            why = f"unknown: it becomes {unknown}"
            if not (waiting and model.fuse_unk):
                symbols += waiting
                waiting = [find(unknown, 0)]
        unknowns.append(Step(spelled, i, why=why))
    return symbols + waiting, unknowns


def _longest(model: WordPiece, word: str) -> FoundSteps:
    """WordPiece: from the start of the word, always the longest token that fits."""
    find = model.vocabulary.mapping.get
    unknown: Any = find(model.unk_token)
    if len(word) > (most := model.max_input_chars_per_word):
        why = f"the word has {len(word)} characters, more than max_input_chars_per_word={most}: it is unknown"
        return FoundSteps([unknown], [], [Step(model.unk_token, why=why)], [])
    at, longest = 0, int(np.diff(model.vocabulary.offsets).max(initial=0))
    ids: list[int] = []
    steps: list[Step] = []
    while at < len(word):
        prefix = model.continuing_subword_prefix if at else ""
        stops = range(min(len(word), at + longest), at, -1)
        fits = [(stop, id) for stop in stops if (id := find(prefix + word[at:stop])) is not None]
        if not fits:
            why = f"no token fits at {prefix}{word[at:]}: the whole word is unknown"
            return FoundSteps([unknown], [], [*steps, Step(model.unk_token, why=why)], [])
        shorter = [prefix + word[at:stop] for stop, _ in fits[1:]]
        why = f"the longest that fits; shorter: {', '.join(shorter)}" if shorter else "the only one that fits"
        stop, id = fits[0]
        steps.append(Step(prefix + word[at:stop], at, why=why))
        ids.append(id)
        at = stop
    return FoundSteps(ids, [], steps, [])


_RESET = 100_000.0
"""SentencePiece rounds sums to float32. As there, a sum farther from 0 is subtracted from itself and all later sums."""


def _best_path(model: Unigram, word: str) -> FoundSteps:
    """Unigram: of all ways to cut the word into tokens, that with the highest sum of scores."""
    tables, hidden = model.tables, {*(model.sentencepiece or ())}
    known = {token: id for id, token in enumerate(model.vocabulary.tokens) if id not in hidden}
    longest, n = max(map(len, known), default=0), len(word)

    def rounded(value: float) -> float:
        return float(np.float32(value)) if tables.single else value

    # Position -> of the best path that ends there: its sum, where its last token begins, and the id of this token; and
    # a note on another path that ends there
    best: dict[int, tuple[float, int, int, str]] = {0: (0.0, 0, -1, "")}
    for at in range(n):
        if tables.single and abs(offset := best[at][0]) > _RESET:
            best |= {stop: (rounded(one[0] - offset), *one[1:]) for stop, one in best.items() if stop >= at}
        stops = range(at + 1, min(n, at + longest) + 1)
        arcs = [(stop, float(tables.scores[id]), id) for stop in stops if (id := known.get(word[at:stop])) is not None]
        if not arcs or arcs[0][0] != at + 1:
            arcs.append((at + 1, tables.unk_score, tables.unk))
        for stop, score, id in arcs:
            total, old = rounded(score + best[at][0]), best.get(stop)
            if old is None or total > old[0]:
                instead = "" if old is None else f"{word[old[1] : stop]} would give {old[0]:.2f}"
                best[stop] = total, at, id, instead
            elif not old[3]:
                best[stop] = (*old[:3], f"{word[at:stop]} would give {total:.2f}")
    path: list[tuple[int, int, int]] = []
    stop = n
    while stop > 0:
        _, at, id, _ = best[stop]
        if id == tables.unk and path and path[-1][0] == id:
            path[-1] = id, at, path[-1][2]
        else:
            path.append((id, at, stop))
        stop = at
    ids: list[int] = []
    steps: list[Step] = []
    for id, at, stop in reversed(path):
        text, why = word[at:stop], f"sum {best[stop][0]:.2f}"
        if best[stop][3]:
            why += f"; {best[stop][3]}"
        if id != tables.unk or id == known.get(text):
            ids.append(id)
            steps.append(Step(text, at, score=float(tables.scores[id]), why=why))
            continue
        score = tables.unk_score * (stop - at)
        # As in tokenizers, several unknown characters side by side may spell a token
        spelled = None if tables.single else known.get(text)
        fallback = [int(tables.fallback[byte]) for byte in text.encode()] if len(tables.fallback) else [2**32 - 1]
        if spelled is not None:
            ids.append(spelled)
        elif 2**32 - 1 not in fallback:
            ids += fallback
            why += "; unknown: its bytes are tokens"
        else:
            ids.append(id)
            why += "; unknown"
        steps.append(Step(text, at, score=score, why=why))
    return FoundSteps(ids, [], steps, [])
