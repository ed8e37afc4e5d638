"""Embeddings for the tokens of another tokenizer, as sums of those that both have.

Orthogonal Matching Pursuit, as arXiv 2506.06607 uses it to give a model a tokenizer of another one: the embedding that the
other model has for a token is written as a sum of a few embeddings of shared tokens, and the same sum of the model's own
embeddings of them is the token's embedding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from gputok.types import Array, Positions

_TOGETHER = 512  # targets that are worked on together: one product of matrices finds the next part of each
_LEAST = 1e-6  # a residual of this share of the target is none; it also keeps systems of equations solvable


def pursue(targets: Array, shared: Array, n_parts: int) -> tuple[Positions, Array]:
    """Writes `targets`, float[n, size], as sums of at most `n_parts` of `shared`, float[m, size].

    Each round takes the vector that is most like what is left of the target, and chooses all weights anew by least squares.
    Returns int64[n, k], rows of `shared`; and float64[n, k], the weight of each, 0 where fewer suffice.

    >>> chosen, weights = pursue(np.array([[0.0, 2.0, 3.0]]), np.eye(3), 2)
    >>> chosen.tolist(), weights.round(4).tolist()
    ([[2, 1]], [[3.0, 2.0]])
    """
    targets, shared = np.asarray(targets, np.float64), np.asarray(shared, np.float64)
    k = min(n_parts, len(shared))
    lengths = np.linalg.norm(shared, axis=1)
    directions = shared / np.where(lengths > 0, lengths, 1)[:, None]
    chosen, weights = np.zeros((len(targets), k), np.int64), np.zeros((len(targets), k))
    for first in range(0, len(targets), _TOGETHER):
        some = targets[first : first + _TOGETHER]
        picked, factors, rest = chosen[first : first + _TOGETHER], weights[first : first + _TOGETHER], some.copy()
        rows = np.arange(len(some))
        for n in range(1, k + 1):
            likeness = np.abs(rest @ directions.T)
            likeness[rows[:, None], picked[:, : n - 1]] = -1
            picked[:, n - 1] = likeness.argmax(1)
            parts = directions[picked[:, :n]]
            gram = parts @ parts.transpose(0, 2, 1) + _LEAST * np.eye(n)
            solved: Array = np.asarray(np.linalg.solve(gram, parts @ some[:, :, None]), np.float64)[:, :, 0]
            open_ = np.linalg.norm(rest, axis=1) > _LEAST * np.linalg.norm(some, axis=1)
            factors[open_, :n] = solved[open_]
            rest = some - (factors[:, None, :n] @ parts)[:, 0]
        factors /= np.where(lengths > 0, lengths, 1)[picked]
    return chosen, weights


def spelled_by(texts: list[bytes], known: dict[bytes, int]) -> list[list[int]]:
    """Cuts each text into the longest known pieces from the left; bytes that none begins with are left out.

    >>> spelled_by([b"abcx"], {b"a": 0, b"ab": 1, b"c": 2})
    [[1, 2]]
    """
    longest = max(map(len, known), default=0)
    found: list[list[int]] = []
    for text in texts:
        parts: list[int] = []
        at = 0
        while at < len(text):
            ends = range(min(len(text), at + longest), at, -1)
            end = next((end for end in ends if text[at:end] in known), None)
            if end is not None:
                parts.append(known[text[at:end]])
            at = end or at + 1
        found.append(parts)
    return found
