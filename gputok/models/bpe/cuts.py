"""Where text can be cut without changing its tokens, by what the tokens of a vocabulary are made of.

A merge makes a token of the vocabulary. If no such token has two characters side by side, no merge ever reaches across
the edge between them, and what lies on both sides is merged as if it were alone. Vocabularies of SentencePiece are
learnt from words, so none of their tokens has a space after a letter, and few mix letters and punctuation. So a
document, which is one word for a model without a pre-tokenizer, becomes many short ones, most of them seen before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gputok.automaton.minimal import finished
from gputok.kernels import DEAD
from gputok.kernels.cpu.lookup import CODE_BITS, FREE

if TYPE_CHECKING:
    import numpy.typing as npt

    from gputok.kernels import Automaton, Pairs
    from gputok.types import Mask

SPACE, ALONE, LETTER, OTHER, ASCII = 0, 1, 2, 3, 4
"""Classes of characters: spaces (also the sign for one), characters that are in no longer token, ASCII letters, other
characters beyond ASCII. Other ASCII characters have class ASCII + code, until those with like neighbours share one."""


def safe_cuts(inside: Pairs, space: str) -> Automaton | None:
    """Makes the automaton whose words end between characters that no token has side by side.

    inside: the characters that are side by side in the tokens that merges make, of `lookup.side_by_side`. space: the
    character that stands for a space in these tokens; in the text, it and a space are the same. None if text can't be
    cut between a letter and a space, which would leave long words.

    Example:
        >>> from gputok.kernels.cpu.lookup import side_by_side
        >>> from gputok.tokens.vocabulary import pack
        >>> automaton = safe_cuts(side_by_side(*pack(["th", "the", "▁the", "▁▁"]), np.ones(4, bool))[0], "▁")
        >>> from gputok.pre_tokenizers import cut_pieces
        >>> from gputok.text.pieces import Pieces, TextBatch
        >>> cut_pieces(Pieces.from_batch(TextBatch.from_strings(["the  the"])), automaton, "isolated").strings()
        ['the', '  the']
    """
    pairs = inside.slots[inside.slots != FREE] >> np.uint64(64 - 2 * CODE_BITS)
    codes = np.concatenate(np.divmod(pairs.astype(np.int64), 1 << CODE_BITS))  # all left ones, then all right ones
    of_ascii = np.full(128, ALONE)
    for code in {*codes[codes < 128].tolist()}:
        of_ascii[code] = LETTER if chr(code).isalpha() else ASCII + code
    of_ascii[ord(" ")] = SPACE
    classes = np.where(codes < 128, of_ascii[np.minimum(codes, 127)], np.where(codes == ord(space), SPACE, OTHER))

    side_by_side = _relation(classes.reshape(2, -1), ASCII + 128)
    # Characters with like relations to the first classes and to digits share a class: the tables stay small.
    rows = np.hstack([side_by_side[:, :ASCII], side_by_side[:ASCII].T])
    digits = np.arange(ASCII + 128)[:, None] - ASCII
    rows = np.hstack([rows, (digits >= ord("0")) & (digits <= ord("9"))])
    rows[:ASCII] = False
    kinds, shared = np.unique(rows[ASCII:], axis=0, return_inverse=True)
    number = np.concatenate([np.arange(ASCII), ASCII + shared.ravel()]).astype(np.uint8)
    n_classes = ASCII + len(kinds)
    side_by_side = _relation(number[np.argwhere(side_by_side).T], n_classes)
    if side_by_side[LETTER, SPACE]:
        return None

    # A state is the class of the last character, and accepts where it does not go on: no match is ever undecided
    delta = np.full((n_classes + 1, n_classes + 1), DEAD)
    delta[0, :-1] = np.arange(1, n_classes + 1)
    delta[1:, :-1] = np.where(side_by_side, np.arange(1, n_classes + 1), DEAD)
    accept = delta == DEAD
    accept[0] = False
    class_of = np.full(0x110000, ALONE, np.uint8)
    class_of[ord(space)], class_of[codes], class_of[:128] = SPACE, number[classes], number[of_ascii]
    return finished(delta, accept, class_of)


def _relation(pairs: npt.NDArray[np.integer[Any]], n_classes: int) -> Mask:
    """bool[n_classes, n_classes]: True for classes pairs[0, i], pairs[1, i] of characters side by side in a token."""
    found = np.zeros((n_classes, n_classes), bool)
    found[*pairs] = True
    return found
