"""Makes the arrays with which kernels encode text by a BPE model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from gputok.kernels import BpeTables, Pairs
from gputok.kernels.cpu import lookup
from gputok.kernels.cpu.encode_words.characters import NO_CHARACTERS, NO_EDGES, character_tables
from gputok.kernels.cpu.encode_words.merge import POSITION_BITS
from gputok.text.byte_alphabet import BYTE_CHARACTERS, BYTE_TOKENS
from gputok.tokens.vocabulary import Vocabulary, pack

if TYPE_CHECKING:
    from gputok.types import Array, Bytes, Ids, Positions


_BYTE_CODES = np.array([*map(ord, BYTE_CHARACTERS)])


class BpeOptions(Protocol):
    """The attributes of a BPE model that the tables depend on."""

    vocabulary: Vocabulary
    merges: Ids  # uint32[m, 3], the ids of the left, the right and the new token
    _ranked: Any  # None, or merges and the table of their pairs of positions
    dropout: float | None
    unk_token: str | None
    continuing_subword_prefix: str | None
    end_of_word_suffix: str | None
    fuse_unk: bool
    byte_fallback: bool
    ignore_merges: bool
    sentencepiece: bool
    byte_strings: Any  # Strings, of the bytes that tokens stand for
    byte_ranks: Any  # uint32[256, 256], see `byte_ranks`


def common(model: BpeOptions) -> BpeTables:
    """Makes the tables for text with the characters of the tokens (not byte-level). With them, no word is cut.

    A word may be cut, and its parts merged separately, between two characters that no merged token contains side by
    side; `with_neighbours` adds which these are. If the model has affixes or dropout, words are not cut, since these
    depend on the whole word; nor if a merge joins or makes the unknown token or a byte token, whose names are not the
    text that they cover; nor if two tokens have one id, since a merge then joins text that no token has.
    """
    vocabulary, strings = model.vocabulary, model.vocabulary.strings
    prefix, suffix = (
        np.frombuffer((affix or "").encode(), np.uint8).copy()
        for affix in (model.continuing_subword_prefix, model.end_of_word_suffix)
    )
    nothing = np.empty(0, np.uint32)
    # kinds[role]: the prefix and suffix of a character; role: 1 if it doesn't begin its word, plus 2 if it ends it
    kinds = [(prefix if kind & 1 else prefix[:0], suffix if kind & 2 else suffix[:0]) for kind in range(4)]
    distinct = {(before.tobytes(), after.tobytes()): (before, after) for before, after in kinds}
    symbols = np.zeros((len(distinct), 0x110000), np.uint32)  # pages never touched take no memory
    for row, affixes in zip(symbols, distinct.values(), strict=True):
        lookup.single_characters(strings, *affixes, row)
    variant = [list(distinct).index((before.tobytes(), after.tobytes())) for before, after in kinds]

    unk = nothing if model.unk_token is None else _find(vocabulary, [model.unk_token])
    fallback = _find(vocabulary, BYTE_TOKENS) if model.byte_fallback else nothing
    if len(vocabulary.shared):  # merges join ids: so of all tokens with the same id, one stands for all
        one = vocabulary.positions(vocabulary.ids).astype(np.uint32)
        symbols[symbols > 0] = one[symbols[symbols > 0] - 1] + 1
        for found in (unk, fallback):
            found[found != lookup.NONE] = one[found[found != lookup.NONE]]

    special = np.concatenate([fallback, unk])
    special = special[special != lookup.NONE]
    of_merges = np.zeros(len(vocabulary), bool)
    if len(special):
        of_merges[positions(model)] = True
    is_cut = not (len(prefix) or len(suffix) or model.dropout or len(vocabulary.shared) or of_merges[special].any())
    # If ids are positions, `merges` has them already: this avoids a copy of 64 bits
    merged = model.merges[:, 2] if vocabulary.in_order else positions(model, 2)
    if not model.sentencepiece and model._ranked is not None and model._ranked[0] is model.merges:
        pairs = model._ranked[1]
    else:
        ranks = np.arange(len(merged))
        if model.sentencepiece:  # all merges that make the same token have the rank of the first of them
            _, first, same = np.unique(merged, return_index=True, return_inverse=True)
            ranks, merged = np.argsort(np.argsort(first))[same], merged[np.sort(first)]
        left, right = positions(model, slice(2))
        pairs = lookup.index_pairs(left, right, ranks, len(vocabulary))

    empty = lookup.index_strings(nothing, np.zeros(1, np.int64))
    return BpeTables(
        ids=vocabulary.ids,
        pairs=pairs,
        merged=np.ascontiguousarray(merged, np.uint32),
        byte_ranks=np.empty((0, 256), np.uint32),
        symbols=symbols,
        variant=np.array(variant, np.int64),
        characters=nothing,
        edges=nothing,
        fallback=fallback,
        prefix=prefix,
        suffix=suffix,
        whole=strings if model.ignore_merges else empty,
        unk=unk,
        fuse_unk=model.fuse_unk,
        dropout=model.dropout or 0.0,
        divisible=is_cut,
        inside=Pairs(np.full(1, lookup.FREE), lookup.CODE_BITS),
        crossing=np.ones((256, 256), np.uint8),
        harmless=is_cut and len(fallback) > 0 and bool((fallback != lookup.NONE).all()),
        ordered=len(prefix) > 0 or len(merged) >> 32 - POSITION_BITS > 0,
    )


def for_bytes(model: BpeOptions, tables: BpeTables) -> BpeTables | None:
    """Makes tables for bytes that stand for ByteLevel characters, from those of `common`; None: some are no tokens."""
    symbols = np.ascontiguousarray(tables.symbols[:, _BYTE_CODES])
    if not symbols.all():
        return None
    tables = tables._replace(symbols=symbols)
    if model.ignore_merges:
        tables = tables._replace(whole=model.byte_strings)
    if len(symbols) > 1:
        return tables
    tables = tables._replace(byte_ranks=model.byte_ranks)
    return tables if tables.ordered else tables._replace(characters=NO_CHARACTERS, edges=NO_EDGES)


def byte_ranks(tables: BpeTables) -> Array:
    """Returns the `byte_ranks` of `for_bytes`; tables: those of `common`."""
    return lookup.pair_ranks(tables.pairs, tables.symbols[0, _BYTE_CODES] - 1)


def with_byte_neighbours(model: BpeOptions, tables: BpeTables) -> BpeTables:
    """Adds what `with_neighbours` adds, and the symbols that characters begin as (`encode_words.characters`)."""
    if tables.divisible:
        tables = with_neighbours(model, tables, *bytes_of(model.vocabulary), ascii=False)
    if not len(tables.characters):
        return tables
    characters, edges = character_tables(tables)
    return tables._replace(characters=characters, edges=edges)


def bytes_of(vocabulary: Vocabulary) -> tuple[Bytes, Positions]:
    """Returns the bytes that each token stands for: uint8[n_bytes], int64[n + 1]."""
    byte_of = np.full(512, -1, np.int16)
    byte_of[_BYTE_CODES] = np.arange(256)
    return lookup.spell_bytes(vocabulary.data, vocabulary.offsets, byte_of)


def positions(model: BpeOptions, of: int | slice = slice(3)) -> Positions:
    """Positions in the vocabulary of the left, right and new token of each merge, int64[3, m]; of: rows of these."""
    return model.vocabulary.positions(model.merges.T[of])


def _find(vocabulary: Vocabulary, names: list[str]) -> Ids:
    """Returns uint32[n]: the positions of tokens in the vocabulary, or NONE."""
    data, offsets = pack(names)
    found = lookup.find_strings(vocabulary.strings, data, offsets[:-1], offsets[1:])
    return np.where(found < 0, lookup.NONE, found).astype(np.uint32)


def with_neighbours(
    model: BpeOptions, tables: BpeTables, data: Bytes, offsets: Positions, *, ascii: bool = True
) -> BpeTables:
    """Adds which characters are side by side in merged tokens; words are cut between others.

    data, offsets: the tokens. ascii: False for bytes: then words are not cut beside ASCII.
    """
    if not tables.divisible:
        return tables
    made = np.zeros(len(model.vocabulary), bool)
    made[positions(model, 2)] = True
    inside, crossing = lookup.side_by_side(data, offsets, made, ascii=ascii)
    return tables._replace(inside=inside, crossing=crossing)
