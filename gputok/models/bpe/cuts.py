"""Where text can be cut without changing its tokens, by what the tokens of a vocabulary are made of.

A merge makes a token of the vocabulary. If no such token has two characters side by side, no merge ever reaches across
the edge between them, and what lies on both sides is merged as if it were alone. Vocabularies of SentencePiece are
learnt from words, so none of their tokens has a space after a letter, and few mix letters and punctuation. So a
document, which is one word for a model without a pre-tokenizer, becomes many short ones, most of them seen before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gputok.automaton.subsets import finished
from gputok.kernels import DEAD, Automaton

if TYPE_CHECKING:
    import numpy.typing as npt

    from gputok.types import Bytes, Mask, Positions

SPACE, ALONE, LETTER, OTHER, ASCII = 0, 1, 2, 3, 4
"""Classes of characters: spaces (also the sign for one), characters of no longer token, ASCII letters, other characters
beyond ASCII. Other ASCII characters have class ASCII + code, until those with like neighbours share a class."""


def safe_cuts(data: Bytes, offsets: Positions, space: str) -> Automaton | None:
    """Makes the automaton whose words end where no token reaches across.

    data, offsets: the tokens that merges make, as UTF-8. space: the character that stands for a space in these tokens; in the text,
    it and a space are the same. None if text can't be cut between a letter and a space, which would leave long words.

    Example:
        >>> from gputok.tokens.vocabulary import pack
        >>> automaton = safe_cuts(*pack(["th", "the", "▁the", "▁▁"]), "▁")
        >>> from gputok.pre_tokenizers import cut_pieces
        >>> from gputok.text.pieces import Pieces, TextBatch
        >>> cut_pieces(Pieces.from_batch(TextBatch.from_strings(["the  the"])), automaton, "isolated").strings()
        ['the', '  the']
    """
    codes = np.frombuffer(data.tobytes().decode().encode("utf-32-le"), np.uint32)
    inside = np.ones(len(codes) + 1, bool)
    n_before = np.append(np.int32(0), np.cumsum((data & 0xC0) != 0x80, dtype=np.int32))
    inside[n_before[offsets]] = False
    inside = inside[1:-1]  # between two characters of a token
    left, right = codes[:-1][inside], codes[1:][inside]

    class_of = np.full(0x110000, ALONE, np.uint8)
    class_of[left] = class_of[right] = OTHER
    ascii_codes = np.flatnonzero(class_of[:128] == OTHER)
    class_of[ascii_codes] = ASCII + ascii_codes
    letters = np.array([code for code in ascii_codes if chr(code).isalpha()], np.int64)
    class_of[letters] = LETTER
    class_of[[ord(" "), ord(space)]] = SPACE

    side_by_side = _relation(class_of[left], class_of[right], ASCII + 128)
    # Characters with like relations to the first classes and to digits share a class: the tables stay small.
    rows = np.hstack([side_by_side[:, :ASCII], side_by_side[:ASCII].T])
    digits = np.arange(ASCII + 128)[:, None] - ASCII
    rows = np.hstack([rows, (digits >= ord("0")) & (digits <= ord("9"))])
    rows[:ASCII] = False
    kinds, shared = np.unique(rows[ASCII:], axis=0, return_inverse=True)
    number = np.concatenate([np.arange(ASCII), ASCII + shared.ravel()]).astype(np.uint8)
    n_classes = ASCII + len(kinds)
    left, right = number[np.argwhere(side_by_side).T]
    side_by_side = _relation(left, right, n_classes)
    if side_by_side[LETTER, SPACE]:
        return None

    # A state is the class of the last character, and accepts where it does not go on: no match is ever undecided
    delta = np.full((n_classes + 1, n_classes + 1), DEAD)
    delta[0, :-1] = np.arange(1, n_classes + 1)
    delta[1:, :-1] = np.where(side_by_side, np.arange(1, n_classes + 1), DEAD)
    accept = delta == DEAD
    accept[0] = False
    return finished(delta, accept, number[class_of])


def _relation(left: npt.NDArray[np.integer[Any]], right: npt.NDArray[np.integer[Any]], n_classes: int) -> Mask:
    """bool[n_classes, n_classes]: True for the classes left[i] and right[i] of characters side by side in a token."""
    found = np.zeros((n_classes, n_classes), bool)
    found.ravel()[left.astype(np.int32) * np.int32(n_classes) + right] = True
    return found
