"""Turns probabilities of tokens into entities in the text. Whole batches are processed as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

STRATEGIES = ("simple", "first", "average", "max")


class _Tokens(NamedTuple):
    """The tokens of all texts, one after the other, without special tokens."""

    row: np.ndarray  # int64[n], the number of the text
    start: np.ndarray  # int64[n], characters
    end: np.ndarray  # int64[n]
    probabilities: np.ndarray  # float[n, labels]
    is_subword: np.ndarray  # bool[n]


def group_entities(
    text: str | Sequence[str],
    offsets: Any,
    probabilities: Any,
    id2label: Mapping[int, str] | Sequence[str],
    *,
    strategy: str = "simple",
    is_subword: Any = None,
    special_tokens_mask: Any = None,
    ignore_labels: Sequence[str] = ("O",),
) -> list[dict[str, Any]] | list[list[dict[str, Any]]]:
    """Groups neighbouring tokens of the same label into entities.

    Args:
        text: The original text, or the texts of a batch.
        offsets: int[tokens, 2], the characters of each token; for a batch int[texts, tokens, 2], or one array a text.
        probabilities: float[tokens, labels]; for a batch float[texts, tokens, labels], or one array a text.
        id2label: The name of each label. `B-` begins an entity and `I-` continues an entity; a label without either
            counts as `I-`.
        strategy: "simple" labels each token alone. The others give all tokens of a word the same label: "first" that
            of the first token, "average" that of the mean of their probabilities, "max" that of the most certain token.
        is_subword: bool[tokens], True for tokens that continue the word of the token before (from `word_ids`); all
            strategies except "simple" need it.
        special_tokens_mask: bool[tokens], True for tokens to leave out, such as special tokens and padding. None:
            tokens without characters are left out.
        ignore_labels: Entities with these labels (without `B-` and `I-`) are left out.

    Returns:
        For each entity a dict of `entity_group`; `score`, the mean of its tokens' (or words') scores; `word`, the
        slice of the text; `start` and `end`, in characters. For a batch, a list of these for each text.

    Raises:
        ValueError: the strategy is unknown, or arrays do not fit each other or the text; the message names the text and
            the token.

    The groups and scores are those of `TokenClassificationPipeline` of transformers.

    Example:
        >>> probabilities = [[0.25, 0.75, 0.0], [0.0, 0.25, 0.75], [1.0, 0.0, 0.0]]
        >>> group_entities("New York is", [(0, 3), (4, 8), (9, 11)], probabilities, ["O", "B-LOC", "I-LOC"])
        [{'entity_group': 'LOC', 'score': 0.75, 'word': 'New York', 'start': 0, 'end': 8}]
    """
    if strategy not in STRATEGIES:
        raise ValueError(f"strategy must be one of {', '.join(STRATEGIES)}, not {strategy!r}")
    if strategy != "simple" and is_subword is None:
        raise ValueError(f"strategy {strategy!r} needs is_subword: which tokens continue a word (see word_ids)")
    single = isinstance(text, str)
    texts = [text] if single else list(text)
    labels = [id2label[i] for i in range(len(id2label))]

    def rows(values: Any) -> list[Any]:
        values = [None] * len(texts) if values is None else [values] if single else list(values)
        if len(values) != len(texts):
            raise ValueError(f"there are {len(texts)} texts, but arrays for {len(values)}")
        return values

    parts = zip(texts, rows(offsets), rows(probabilities), rows(is_subword), rows(special_tokens_mask), strict=True)
    tokens = _joined([_checked(i, *part, len(labels)) for i, part in enumerate(parts)])
    entities: list[list[dict[str, Any]]] = [[] for _ in texts]
    if len(tokens.row):
        if strategy != "simple":
            tokens = _words(tokens, strategy)
        for row, entity in _groups(tokens, texts, labels):
            if entity["entity_group"] not in ignore_labels:
                entities[row].append(entity)
    return entities[0] if single else entities


def _checked(
    row: int, text: str, offsets: Any, probabilities: Any, is_subword: Any, special: Any, n_labels: int
) -> _Tokens:
    """Checks the arrays of one text, and returns its tokens without special tokens."""
    offsets, probabilities = np.asarray(offsets), np.asarray(probabilities)
    if offsets.ndim != 2 or offsets.shape[1] != 2:
        raise ValueError(f"text {row}: offsets must be int[tokens, 2], not of shape {offsets.shape}")
    n = len(offsets)
    if probabilities.shape != (n, n_labels):
        kind = f"float[tokens, labels] = {(n, n_labels)}"
        raise ValueError(f"text {row}: probabilities must be {kind}, not {probabilities.shape}")
    start, end = offsets[:, 0].astype(np.int64), offsets[:, 1].astype(np.int64)
    keep = end > start if special is None else ~np.asarray(special, bool)
    is_subword = np.zeros(n, bool) if is_subword is None else np.asarray(is_subword, bool)
    for name, array in (("special_tokens_mask", keep), ("is_subword", is_subword)):
        if array.shape != (n,):
            raise ValueError(f"text {row}: {name} must have one value for each of {n} tokens, not {array.shape}")
    wrong = np.flatnonzero(keep & ((start < 0) | (end < start) | (end > len(text))))
    if len(wrong):
        token = int(wrong[0])
        misfit = f"offsets {tuple(offsets[token].tolist())}, which do not fit a text of {len(text)} characters"
        raise ValueError(f"text {row}: token {token} has {misfit}")
    return _Tokens(np.full(n, row)[keep], start[keep], end[keep], probabilities[keep], is_subword[keep])


def _joined(parts: list[_Tokens]) -> _Tokens:
    if not parts:
        none = np.empty(0, np.int64)
        return _Tokens(none, none, none, np.empty((0, 0)), np.empty(0, bool))
    return _Tokens(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _words(tokens: _Tokens, strategy: str) -> _Tokens:
    """Joins the tokens of each word; the strategy gives the probabilities of the word."""
    begins = ~tokens.is_subword
    begins[0] = True
    begins[1:] |= tokens.row[1:] != tokens.row[:-1]
    first = np.flatnonzero(begins)
    last = np.append(first[1:], len(begins)) - 1
    if strategy == "average":
        sizes, sums = last + 1 - first, tokens.probabilities[first]
        for i in range(1, sizes.max()):  # in order: the sum of float32 depends on the order
            longer = sizes > i
            sums[longer] += tokens.probabilities[first[longer] + i]
        probabilities = (sums / sizes[:, None]).astype(sums.dtype)
    elif strategy == "max":
        certainty = tokens.probabilities.max(axis=1)
        word = np.cumsum(begins) - 1
        order = np.lexsort((-certainty, word))  # stable: the first of equally certain tokens
        probabilities = tokens.probabilities[order[first]]
    else:
        probabilities = tokens.probabilities[first]
    return _Tokens(tokens.row[first], tokens.start[first], tokens.end[last], probabilities, tokens.is_subword[first])


def _groups(tokens: _Tokens, texts: Sequence[str], labels: Sequence[str]) -> Any:
    """Yields the number of the text and the entity of each run of tokens with the same tag."""
    best = tokens.probabilities.argmax(axis=1)
    scores = np.take_along_axis(tokens.probabilities, best[:, None], axis=1)[:, 0]
    tags = [label[2:] if label.startswith(("B-", "I-")) else label for label in labels]
    tag_ids = {tag: i for i, tag in enumerate(dict.fromkeys(tags))}
    tag = np.array([tag_ids[name] for name in tags])[best]
    begins = np.array([label.startswith("B-") for label in labels])[best]
    begins[0] = True
    begins[1:] |= (tag[1:] != tag[:-1]) | (tokens.row[1:] != tokens.row[:-1])
    first = np.flatnonzero(begins)
    for a, b in zip(first.tolist(), [*first[1:].tolist(), len(begins)], strict=True):
        row, start, end = int(tokens.row[a]), int(tokens.start[a]), int(tokens.end[b - 1])
        entity = {"entity_group": labels[int(best[a])].split("-", 1)[-1], "score": float(scores[a:b].mean())}
        yield row, {**entity, "word": texts[row][start:end], "start": start, "end": end}
