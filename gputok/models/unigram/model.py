"""Unigram, the model that cuts a word into the tokens with the highest sum of scores."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from gputok.checks import ID, WrongType, WrongValue, brief, checked, field, integer, listed, optional, switch
from gputok.checks import number as finite
from gputok.components import derived
from gputok.files.json_text import Buffer, deeper, number, rows
from gputok.kernels import UnigramTables
from gputok.kernels.cpu import lookup, trie
from gputok.kernels.cpu import viterbi as lattice
from gputok.models import base
from gputok.models.base import Model, Tokens
from gputok.text.byte_alphabet import BYTE_CHARACTERS, BYTE_TOKENS
from gputok.tokens.vocabulary import Vocabulary, pack, packed_tokens, plain_array, switches
from gputok.types import Array, Bytes, Ids, Positions, Scores

UNK_PENALTY = 10.0
"""The score of an unknown character is the lowest score of all tokens minus this."""


class Scored(NamedTuple):
    """The vocabulary of a model with its scores, in the form of `gputok.files.json_text.Packed`."""

    vocabulary: Vocabulary
    scores: Scores  # float64[n_tokens]

    def plain(self) -> list[list[Any]]:
        """Returns [token, score] for each token."""
        return list(map(list, zip(self.vocabulary.tokens, self.scores.tolist(), strict=True)))

    def json(self, newline: str) -> Iterator[Buffer]:
        """Returns the JSON text of `plain`, in parts; newline: a line break and the indentation, or ""."""
        inner, innermost = deeper(newline), deeper(deeper(newline))
        order = np.arange(len(self.scores))
        tokens = self.vocabulary.data, self.vocabulary.offsets, order
        scores = *pack(list(map(number, self.scores.tolist()))), order
        opening, middle, closing = f',{inner}[{innermost}"', f'",{innermost}', f"{inner}]"
        columns = [opening.encode(), tokens, middle.encode(), scores, closing.encode()]
        return rows(columns, newline, "[]")


class Unigram(Model):
    """Cuts text into the tokens with the highest sum of scores (Kudo 2018).

    Args:
        vocab: (token, score) for each token, in the order of the ids; a score is the logarithm of a probability.
        unk_id: the id of the unknown token, or None.
        byte_fallback: unknown characters become the tokens `<0x..>` of their bytes, if the vocabulary has them all.
        alpha: None or 0: the segmentation of the highest sum. Else a random one; the smaller alpha, the more evenly.
        nbest_size: with alpha, draw only among this many segmentations with the highest sums.

    Attributes:
        sentencepiece: None by default. Else the ids of the pieces that never match text (control, unknown and byte
            pieces of a SentencePiece model); then sums of scores are rounded to single precision, and unknown
            characters never form a token together, as in SentencePiece. Files have it, too; `tokenizers` ignores it.

    Raises:
        TypeError: if an argument has a wrong type.
        ValueError: if a value is not allowed, or `unk_id` is given without `vocab`.

    Example:
        >>> unigram = Unigram([("<unk>", 0.0), ("a", -1.0), ("b", -1.5), ("ab", -2.0)], unk_id=0)
        >>> [token.value for token in unigram.tokenize("abb")]
        ['ab', 'b']
    """

    fixed = "a new token competes with all others, so that it changes how text without it is cut"
    turn = 3
    trainer = "unigram.UnigramTrainer"
    stored = ("edges",)
    unsaved: ClassVar[Mapping[str, Any]] = {"alpha": None, "nbest_size": None}
    scores: Any  # float64[n_tokens]
    unk_id: int | None = field(optional(integer(0, ID)))
    byte_fallback: bool | None = field(optional(switch, False))
    alpha: float | None = field(optional(finite()))
    nbest_size: int | None = field(optional(integer(0, 2**31 - 1)))
    sentencepiece: Sequence[int] | None = field(optional(listed(integer(0, ID))))

    def __init__(
        self,
        vocab: Sequence[tuple[str, float]] | None = None,
        unk_id: int | None = None,
        byte_fallback: bool | None = None,
        alpha: float | None = None,
        nbest_size: int | None = None,
    ) -> None:
        if vocab is None and unk_id is not None:
            raise ValueError("`vocab` and `unk_id` must be both specified")
        pairs, unk_id = ([("<unk>", 0.0)], 0) if vocab is None else (vocab, unk_id)
        self.vocabulary, self.scores = checked("vocab", _packed, pairs)
        self.unk_id = unk_id
        self.byte_fallback = byte_fallback
        self.alpha = alpha
        self.nbest_size = nbest_size
        self.sentencepiece = None

    def _check_together(self, state: Mapping[str, Any]) -> None:
        n_tokens = len(state["vocabulary"])
        unk_id, hidden = state.get("unk_id"), state.get("sentencepiece")
        if unk_id is not None and unk_id >= n_tokens:
            raise WrongValue(f"is {unk_id}, but the vocabulary has {n_tokens} tokens", "unk_id")
        if hidden is not None and max(hidden, default=-1) >= n_tokens:
            raise WrongValue(f"must hold ids below {n_tokens}, the size of the vocabulary", "sentencepiece")

    def save(self, folder: str, prefix: str | None = None) -> list[str]:
        """Writes `[prefix-]unigram.json` into a folder."""
        text = json.dumps(self.to_dict(), ensure_ascii=False, indent=2)
        return [base.written(folder, prefix, "unigram.json", text.encode())]

    def fields(self) -> dict[str, Any]:
        form = {"type": "Unigram", "unk_id": self.unk_id, "vocab": Scored(self.vocabulary, self.scores)}
        form["byte_fallback"] = self.byte_fallback
        return form if self.sentencepiece is None else form | {"sentencepiece": [*self.sentencepiece]}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        base.require(value, "Unigram", "vocab")
        model = cls(value["vocab"], value.get("unk_id"), value.get("byte_fallback"))
        model.sentencepiece = value.get("sentencepiece")
        return model

    def _clear_cache(self) -> None:
        """Does nothing, nor does `_resize_cache`: the model has no cache. `tokenizers` has these methods."""

    def _resize_cache(self, capacity: int) -> None: ...

    @property
    def is_random(self) -> bool:
        return bool(self.alpha or self.nbest_size)

    def handle(self, byte_level: bool) -> tuple[Any, Any] | None:
        return None if byte_level else (self.tables, None)

    def tokenize_pieces(self, data: Bytes, start: Positions, end: Positions, *, byte_level: bool) -> Tokens:
        if self.alpha and self.unk_id is None:
            raise ValueError("drawing segmentations at random (alpha) needs an unk_id, but unk_id is not set")
        return super().tokenize_pieces(data, start, end, byte_level=byte_level)

    def _tokenized(self, data: Bytes, start: Positions, end: Positions, n_before: int) -> Tokens:
        found: Any
        if self.alpha:
            random = np.frombuffer(os.urandom(8), np.uint64) | np.uint64(1)
            options = float(self.alpha), self.nbest_size or 0, random
            found = lattice.sample_paths(data, start, end, self.tables, *options)
        else:
            found = lattice.viterbi(data, start, end, self.tables)
        n_tokens, *tokens = found
        if n_tokens < 0:  # minus the number of the piece, from 1
            number = n_before - 1 - n_tokens
            raise ValueError(f"piece {number}: a character isn't in the vocabulary, and unk_id is not set")
        return Tokens(*tokens)

    def values(self, tokens: Tokens, data: Bytes, *, byte_level: bool = False) -> list[str]:
        """Returns the texts of tokens as `Encoding.tokens` shows them; the unknown token as the text that it covers."""
        values = super().values(tokens, data)
        if self.unk_id is not None:
            for i in np.flatnonzero(tokens.ids == self.unk_id).tolist():
                text = data[tokens.start[i] : tokens.end[i]].tobytes()
                values[i] = "".join(BYTE_CHARACTERS[byte] for byte in text) if byte_level else text.decode()
        return values

    @derived
    def _found(self) -> Ids:
        """The ids of the pieces that are found in text: uint32[n]."""
        return np.delete(self.vocabulary.ids, [*(self.sentencepiece or ())])

    @derived
    def edges(self) -> Array:
        """The trie of the pieces that are found in text, as `gputok.kernels.UnigramTables` has it."""
        return trie.build_trie(*self.vocabulary.packed(self._found), self._found)

    @derived
    def tables(self) -> UnigramTables:
        """The model as the kernels take it."""
        byte_ids = self.vocabulary.find(BYTE_TOKENS) if self.byte_fallback else []
        fallback = [lookup.NONE if id is None else id for id in byte_ids]
        single = self.sentencepiece is not None
        scores = self.scores.astype(np.float32).astype(np.float64) if single else self.scores
        worst = scores[self._found].min(initial=np.inf)
        return UnigramTables(
            edges=self.edges,
            scores=scores,
            unk=-1 if self.unk_id is None else self.unk_id,
            unk_score=float(np.float32(worst - UNK_PENALTY) if single else worst - UNK_PENALTY),
            fallback=np.array(fallback, np.uint32),
            single=single,
        )


def _packed(pairs: Any) -> tuple[Vocabulary, Scores]:
    """Packs (token, score) pairs: the tokens, and the scores, float64[n]; a FieldError names a wrong pair."""
    if isinstance(pairs, Scored):
        return pairs
    if isinstance(pairs, str) or not isinstance(pairs, Sequence):
        raise WrongType(f"must be a list of (token, score) pairs, not {brief(pairs)}")
    try:
        # Not by zip(*pairs), which makes an iterator for each pair and so starts the garbage collector, for 0.05 s.
        tokens, given = [token for token, _ in pairs], [score for _, score in pairs]
    except (TypeError, ValueError):
        wrong = next((i for i, pair in enumerate(pairs) if not isinstance(pair, list | tuple) or len(pair) != 2), 0)
        raise WrongValue(f"must be a list of (token, score) pairs, not {brief(pairs[wrong])}", f"[{wrong}]") from None
    scores = plain_array(given) if given else np.empty(0)
    if scores.ndim != 1 or scores.dtype.kind not in "fiu" or not np.isfinite(scores).all() or switches(scores, given):
        scores = np.array([checked(f"[{i}][1]", finite(), score) for i, score in enumerate(given)])
    return Vocabulary(*packed_tokens(tokens)), scores.astype(np.float64)
