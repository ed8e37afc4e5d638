"""Adding tokens to a BPE model: BPE goes on where the training of the model ended.

The words are first encoded by the model. Then BPE merges the neighbouring tokens of these sequences, as a training
merges characters. Each merge comes after all merges of the model: text is first encoded as before, then tokens join.

- Every token boundary of the new model is one of the old model, and text without new tokens keeps its ids.
- Every new token is reachable. No merge reaches across the ends of a token's text where the token stands in the corpus,
  so the same merges lead to it in this text alone.

Training anew and appending the missing tokens, as many do, leaves a tenth to two thirds of them unreachable.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from gputok.components import view
from gputok.kernels import BpeLimits, BpeMerges
from gputok.kernels.cpu.train_bpe import train_bpe
from gputok.kernels.threads import thread_count
from gputok.models.bpe.model import BPE
from gputok.models.bpe.tables import positions
from gputok.text.byte_alphabet import BYTE_TOKENS
from gputok.tokens.vocabulary import Vocabulary, pack
from gputok.types import Bytes, Counts, Ids, Mask, PackedIds, Positions

_MOST_ROUNDS = 100
_NONE = 2**32 - 1


class Sequences(NamedTuple):
    """Sequences of symbols that merges may join: ids of the model or, from `first_character` on, missing characters."""

    symbols: Ids  # uint32[n]
    offsets: Positions  # int64[n_sequences + 1]
    counts: Counts  # int64[n_sequences]


class Extended(NamedTuple):
    """A model with more tokens."""

    model: BPE
    tokens: list[str]  # the new ones
    parts: list[list[int]]  # the old ids that each was made of


class Symbols:
    """How a model's ids are cut into sequences for continued BPE.

    Merges reach neither across the tokens of `alone`, nor make them, nor reach into a token that begins with a space
    sign (`▁`, of SentencePiece), which begins a word. If the model falls back to bytes, the byte tokens of a character
    that the vocabulary lacks become one symbol, which can be a new token by itself.
    """

    def __init__(self, model: BPE, alone: Sequence[int]) -> None:
        ids = model.vocabulary.ids
        self.first_character = 1 + max([int(ids.max()) if len(ids) else -1, *alone])
        """The symbol of a missing character is this plus its code point."""
        self._begins = np.zeros(self.first_character, bool)
        self.alone = np.zeros(self.first_character, bool)
        self.alone[[*alone]] = True
        if model.unk_token is not None and (unk := model.token_to_id(model.unk_token)) is not None:
            self.alone[unk] = True
        self._byte_of = np.full(self.first_character, -1, np.int16)
        if model.byte_fallback:
            for byte, id in enumerate(model.vocabulary.find(BYTE_TOKENS)):
                if id is not None:
                    self._byte_of[id] = byte
                    self.alone[id] = True
        if model.byte_tables is None:
            data, offsets = model.vocabulary.data, model.vocabulary.offsets
            sign = np.frombuffer("▁".encode(), np.uint8)
            padded = np.concatenate([data, np.zeros(len(sign), np.uint8)])
            starts = offsets[:-1]
            self._begins[ids] = (padded[starts[:, None] + np.arange(len(sign))] == sign).all(axis=1) & (
                np.diff(offsets) >= len(sign)
            )

    def cut(self, ids: PackedIds, rows: Positions) -> tuple[Ids, Positions, Positions]:
        """Cuts rows of ids into sequences: symbols uint32[n], offsets int64[n_sequences + 1], each sequence's row."""
        symbols = ids.astype(np.uint32, copy=False)
        if not self.alone[ids].any() and not self._begins[ids].any() and (rows[1:] > rows[:-1]).all():
            return symbols, rows, np.arange(len(rows) - 1)
        at, edge = np.arange(len(ids)), np.zeros(len(ids) + 1, bool)
        edge[rows] = True
        edge[:-1] |= self._begins[ids]
        alone = self.alone[ids]
        if (self._byte_of >= 0).any() and alone.any():
            symbols, alone, kept = self._joined(symbols, alone)
            at = np.flatnonzero(kept)
            edge = np.append(edge[:-1][kept], True)
        edge[:-1] |= alone
        edge[1:] |= alone
        offsets = np.flatnonzero(edge)
        row = np.repeat(np.arange(len(rows) - 1), np.diff(rows))
        return symbols, offsets, row[at[offsets[:-1]]]

    def _joined(self, ids: Ids, alone: Mask) -> tuple[Ids, Mask, Mask]:
        """Makes the byte tokens of each character one symbol.

        Returns the symbols, which of them stay alone, and which ids are kept: all but a character's further bytes.
        """
        byte = self._byte_of[ids].astype(np.int64)
        n = len(byte)
        # A character of one byte is one token already
        length = np.select([byte < 0xC0, byte < 0xE0, byte < 0xF0, byte < 0xF8], [0, 2, 3, 4], 0)
        code = np.select([length == 2, length == 3, length == 4], [byte & 0x1F, byte & 0xF, byte & 7], 0)
        first = length > 0
        for k in range(1, 4):
            at = np.flatnonzero(first & (length > k))
            follows = np.where(at + k < n, byte[np.minimum(at + k, n - 1)], -1)
            fits = (follows >= 0x80) & (follows < 0xC0)
            first[at[~fits]] = False  # bytes of no character, which only tokens of the user can give
            code[at] = code[at] << 6 | follows & 0x3F
        least = np.array([0, 0, 0x80, 0x800, 0x10000])[length]
        first &= (code >= least) & (code < 0x110000) & ((code < 0xD800) | (code > 0xDFFF))
        dropped = np.zeros(n + 1, bool)
        for k in range(1, 4):
            dropped[np.flatnonzero(first & (length > k)) + k] = True
        kept = ~dropped[:-1]
        symbols = np.where(first, self.first_character + code, ids).astype(np.uint32)
        alone = alone & ~first
        return symbols[kept], alone[kept], kept


def extend(
    model: BPE,
    sequences: Sequences,
    symbols: Symbols,
    taken: dict[str, int],
    n_tokens: int,
    min_frequency: int = 0,
    progress: Callable[[int, int], None] | None = None,
    threads: int | None = None,
) -> Extended:
    """Adds tokens to a model, fewer than `n_tokens` if no pair of tokens is left that may be merged.

    sequences: the words, encoded by the model (without dropout) and cut by `symbols`. taken: added tokens that the
    model lacks, with their ids. They join the vocabulary, since files keep their ids only so. min_frequency: merges and
    characters that occur less often are not added. progress: called as progress(done, total).
    """
    known = _with_tokens(model.vocabulary, *pack(list(taken)), np.array([*taken.values()], np.int64))
    reserved = np.union1d(np.flatnonzero(symbols.alone), [*taken.values()])
    learner = _Learner(model, known, sequences, symbols.first_character, reserved)
    return learner.extended(*learner.learnt(n_tokens, min_frequency, progress, threads))


class _Learner:
    """Continued BPE. It numbers symbols in the order of their ids, which decides between equally frequent pairs."""

    def __init__(
        self, model: BPE, known: Vocabulary, sequences: Sequences, first_character: int, reserved: Positions
    ) -> None:
        self._model, self._known = model, known
        self._ids = known.ids[known.order].astype(np.int64)
        """int64[n_known], the id of each symbol."""
        missing = np.bincount(sequences.symbols[sequences.symbols >= first_character] - first_character)
        names = list(map(chr, np.flatnonzero(missing).tolist()))
        found = known.find(names) if names else []
        self._characters = [name for name, id in zip(names, found, strict=True) if id is None]
        every = np.append(self._ids, [first_character + ord(name) for name in self._characters])
        symbol_of = np.full(first_character + len(missing), _NONE, np.uint32)
        symbol_of[every.astype(np.int64)] = np.arange(len(every))
        symbols = symbol_of[sequences.symbols]
        self._offsets, self._counts = sequences.offsets, sequences.counts
        if len(self._characters) < len(names):  # a missing character can be an added token, which stays alone
            at = np.flatnonzero(symbols == _NONE)
            symbols[at] = 0
            self._cut_at(np.union1d(at, at + 1))
        self._symbols = symbols.astype(np.uint16 if len(every) < 0xFFFF else np.uint32, copy=False)
        # In a model of SentencePiece, all merges that make a token have the rank of the first of them. A new merge that
        # makes an old token would get that early rank: so all old tokens are reserved
        self._reserved = np.arange(len(self._ids)) if model.sentencepiece else np.searchsorted(self._ids, reserved)

    def learnt(
        self, n_tokens: int, min_frequency: int, progress: Callable[[int, int], None] | None, threads: int | None
    ) -> tuple[BpeMerges, Positions, Positions]:
        """Returns all merges, and, in order, the characters and merges to add: int64[n] each, one of the two is -1.

        If a merge spells a reserved token, the sequences are cut there, and all is learnt again.
        """
        data, offsets = self._known.packed(self._known.order)
        characters, ends = pack(self._characters)
        tokens, token_offsets = np.concatenate([data, characters]), np.append(offsets, offsets[-1] + ends[1:])
        n_symbols = len(token_offsets) - 1
        prefix = (self._model.continuing_subword_prefix or "").encode()
        limits = BpeLimits(n_symbols + n_tokens, min_frequency, prefix=prefix)
        for _ in range(_MOST_ROUNDS):
            words = self._symbols, self._offsets, self._counts
            found = train_bpe(*words, tokens, token_offsets, limits, progress, threads=thread_count(threads))
            wrong = np.flatnonzero(np.isin(found.merged, self._reserved))
            if not len(wrong):
                return found, *self._chosen(found, n_tokens, min_frequency)
            self._cut_apart(found, int(wrong[0]))
        symbols = np.unique(found.merged[wrong])[:3]
        names = ", ".join(Vocabulary(found.tokens, found.token_offsets).tokens[i] for i in symbols.tolist())
        raise ValueError(f"the corpus spells reserved tokens in too many ways, among them {names}")

    def _chosen(self, found: BpeMerges, n_tokens: int, min_frequency: int) -> tuple[Positions, Positions]:
        """Takes characters and merges by falling count, characters before their pairs, up to `n_tokens` new tokens."""
        n_known, n_characters = len(self._ids), len(self._characters)
        frequent, totals = np.empty(0, np.int64), np.zeros(n_characters, np.int64)
        if n_characters:
            weights = np.repeat(self._counts, np.diff(self._offsets))
            at = np.flatnonzero(self._symbols >= n_known)
            np.add.at(totals, self._symbols[at].astype(np.int64) - n_known, weights[at])
            frequent = np.flatnonzero(totals >= max(1, min_frequency))
        n_merges = len(found.merged)
        character = np.append(frequent, np.full(n_merges, -1))
        merge = np.append(np.full(len(frequent), -1), np.arange(n_merges))
        count = np.append(totals[frequent], np.minimum.accumulate(found.count))
        order = np.lexsort((merge, character, merge >= 0, -count))
        is_new = (merge < 0) | (found.merged[merge] >= n_known + n_characters if n_merges else True)
        n_new = np.cumsum(is_new[order])
        order = order[: int(np.searchsorted(n_new, n_tokens)) + 1] if n_tokens else order[:0]
        return character[order], merge[order]

    def _cut_apart(self, found: BpeMerges, rank: int) -> None:
        """Cuts the sequences wherever the parts of a merge stand side by side."""
        spelled: dict[int, list[int]] = {}

        def parts(symbol: int) -> list[int]:
            return spelled.get(symbol, [symbol])

        merges = zip(found.left.tolist(), found.right.tolist(), found.merged.tolist(), strict=True)
        for left, right, made in itertools.islice(merges, rank):
            spelled[made] = parts(left) + parts(right)
        before, after = (parts(int(column[rank])) for column in (found.left, found.right))
        pattern, symbols = before + after, self._symbols
        at = np.flatnonzero(symbols[: max(0, len(symbols) - len(pattern) + 1)] == pattern[0])
        for k, symbol in enumerate(pattern):
            at = at[symbols[at + k] == symbol]
        sequence = np.searchsorted(self._offsets, at, side="right")
        at = at[self._offsets[sequence] >= at + len(pattern)]
        self._cut_at(at + len(before))

    def _cut_at(self, at: Positions) -> None:
        """Cuts the sequences at more positions."""
        cut = np.union1d(self._offsets, at)
        self._counts = self._counts[np.searchsorted(self._offsets, cut[:-1], side="right") - 1]
        self._offsets = cut

    def extended(self, found: BpeMerges, character: Positions, merge: Positions) -> Extended:
        """Makes the model with the chosen characters and merges."""
        n_known, known = len(self._ids), self._known
        made = np.where(merge < 0, n_known + character, np.append(found.merged, 0)[merge])
        symbols = made[made >= n_known]  # other merges make an old token that the old merges don't lead to
        position = np.concatenate([known.order, np.full(len(found.token_offsets) - 1 - n_known, -1)])
        position[symbols] = np.arange(len(known), len(known) + len(symbols))
        strings = Vocabulary(found.tokens, found.token_offsets).packed(symbols)
        first = int(self._ids.max(initial=-1)) + 1
        vocabulary = _with_tokens(known, *strings, np.arange(first, first + len(symbols)))

        merges = np.column_stack([found.left, found.right])[merge[merge >= 0]]
        model = view(self._model, vars(self._model))
        model.set_vocabulary(vocabulary, np.concatenate([positions(model)[:2].T, position[merges]]))
        return Extended(model, Vocabulary(*strings).tokens, self._parts(found, made, merge))

    def _parts(self, found: BpeMerges, made: Positions, merge: Positions) -> list[list[int]]:
        """Returns the old ids that each new token is made of."""
        n_known, ids = len(self._ids), self._ids
        parts: dict[int, list[int]] = {}

        def parts_of(symbol: int) -> list[int]:
            return [int(ids[symbol])] if symbol < n_known else parts[symbol]

        lefts, rights = found.left.tolist(), found.right.tolist()
        for symbol, rank in zip(made.tolist(), merge.tolist(), strict=True):
            if rank >= 0 and symbol >= n_known:
                parts[symbol] = parts_of(lefts[rank]) + parts_of(rights[rank])
            elif rank < 0:
                names = [BYTE_TOKENS[byte] for byte in self._characters[symbol - n_known].encode()]
                parts[symbol] = [id for id in self._model.vocabulary.find(names) if id is not None]
        return list(parts.values())


def _with_tokens(vocabulary: Vocabulary, data: Bytes, offsets: Positions, ids: Positions) -> Vocabulary:
    """Returns a vocabulary with more tokens at its end."""
    return Vocabulary(
        np.concatenate([vocabulary.data, data]),
        np.append(vocabulary.offsets, vocabulary.offsets[-1] + offsets[1:]),
        np.append(vocabulary.ids.astype(np.int64), ids).astype(np.uint32),
    )
