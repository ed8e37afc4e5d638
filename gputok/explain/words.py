"""How each model takes a word apart, in plain Python: slow, and written to be read."""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gputok.models.bpe.model import BPE
from gputok.models.unigram.model import Unigram
from gputok.models.wordpiece.model import WordPiece
from gputok.types import public

if TYPE_CHECKING:
    from gputok.models import Model


@public("gputok.explain")
class Step(NamedTuple):
    """A step of a model in a word: it finds a token.

    Attributes:
        token: the token.
        at: where it stands: of BPE the number of its first symbol in the word, else of its first character.
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


class FoundSteps(NamedTuple):
    """What a model makes of a word: ids, BPE's first symbols, the steps, and what was not merged, and why."""

    ids: list[int]
    symbols: list[str]
    steps: list[Step]
    unmerged: list[str]


def tokens_of(model: Model, word: str) -> FoundSteps:
    """Finds the tokens of a word, and says how.

    Args:
        model: the model, without chance (`Model.is_random`).
        word: the word; bytes are written as characters of ByteLevel if the tokens are.
    """
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
    """Two ids -> the rank of their merge, and the id of the token that it makes."""
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
        # A symbol that was merged into the one before it is -1; as in tokenizers, what a merge makes must be the same
        if (pair := pair_at(i)) is None or pair[1] != made:
            continue
        rank, right = pair[0], after[i]
        chosen = names[i], names[right]
        for k in (before[i], right):
            if (other := pair_at(k)) is not None:
                why = (
                    f"{' + '.join(chosen)} (rank {rank}) {'has a lower rank' if other[0] > rank else 'is farther left'}"
                )
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
    """The tokens that a word begins as, one for each known character, and what happens to unknown ones."""
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
"""Where a sum of SentencePiece is farther from 0, it is subtracted from all sums."""


def _best_path(model: Unigram, word: str) -> FoundSteps:
    """Unigram: of all ways to cut the word into tokens, that with the highest sum of scores."""
    tables, hidden = model.tables, {*(model.sentencepiece or ())}
    known = {token: id for id, token in enumerate(model.vocabulary.tokens) if id not in hidden}
    longest, n = max(map(len, known), default=0), len(word)

    def rounded(value: float) -> float:
        return float(np.float32(value)) if tables.single else value

    # Where paths end -> the sum of the best one, where its last token begins, this token, and the next best such path
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
