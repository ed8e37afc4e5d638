"""Makes the arrays with which kernels encode text by a BPE model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from gputok.kernels import BpeTables, Pairs
from gputok.kernels.cpu import lookup
from gputok.kernels.cpu.encode_words.characters import character_tables
from gputok.kernels.cpu.encode_words.merge import POSITION_BITS
from gputok.text.byte_alphabet import BYTE_CHARACTERS
from gputok.tokens.vocabulary import Vocabulary, pack

if TYPE_CHECKING:
    from gputok.types import Bytes, Ids, Positions


class BpeOptions(Protocol):
    """The attributes of a BPE model that the tables depend on."""

    vocabulary: Vocabulary
    merges: Ids  # uint32[m, 3], the ids of the left, the right and the new token
    dropout: float | None
    unk_token: str | None
    continuing_subword_prefix: str | None
    end_of_word_suffix: str | None
    fuse_unk: bool
    byte_fallback: bool
    ignore_merges: bool
    sentencepiece: bool


def common(model: BpeOptions) -> BpeTables:
    """Makes tables that `for_characters` and `for_bytes` complete. By these tables, words are merged, and never cut."""
    vocabulary, strings = model.vocabulary, model.vocabulary.strings
    prefix, suffix = (
        np.frombuffer((affix or "").encode(), np.uint8).copy()
        for affix in (model.continuing_subword_prefix, model.end_of_word_suffix)
    )
    nothing, byte_tokens = np.empty(0, np.uint32), [f"<0x{byte:02X}>" for byte in range(256)]
    # kinds[role]: the prefix and suffix of a character; role: 1 if it doesn't begin its word, plus 2 if it ends its word
    kinds = [(prefix if kind & 1 else prefix[:0], suffix if kind & 2 else suffix[:0]) for kind in range(4)]
    distinct = {(before.tobytes(), after.tobytes()): (before, after) for before, after in kinds}
    symbols = np.zeros((len(distinct), 0x110000), np.uint32)  # pages never touched take no memory
    for row, affixes in zip(symbols, distinct.values(), strict=True):
        lookup.single_characters(strings, *affixes, row)
    variant = [list(distinct).index((before.tobytes(), after.tobytes())) for before, after in kinds]

    unk = nothing if model.unk_token is None else _find(vocabulary, [model.unk_token])
    fallback = _find(vocabulary, byte_tokens) if model.byte_fallback else nothing
    if len(vocabulary.shared):  # merges join ids: of tokens with one id, the same one stands for all
        one = vocabulary.positions(vocabulary.ids).astype(np.uint32)
        symbols[symbols > 0] = one[symbols[symbols > 0] - 1] + 1
        for found in (unk, fallback):
            found[found != lookup.NONE] = one[found[found != lookup.NONE]]

    left, right, merged = positions(model)
    ranks = np.arange(len(merged))
    if model.sentencepiece:  # all merges that make the same token have the rank of the first of them
        _, first, same = np.unique(merged, return_index=True, return_inverse=True)
        ranks, merged = np.argsort(np.argsort(first))[same], merged[np.sort(first)]

    empty = lookup.index_strings(nothing, np.zeros(1, np.int64))
    return BpeTables(
        ids=vocabulary.ids,
        pairs=lookup.index_pairs(left, right, ranks, len(vocabulary)),
        merged=merged.astype(np.uint32),
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
        divisible=False,
        inside=Pairs(np.full(1, lookup.FREE), lookup.CODE_BITS),
        crossing=np.zeros((256, 256), np.uint8),
        harmless=False,
        ordered=len(prefix) > 0 or len(merged) >> 32 - POSITION_BITS > 0,
    )


def for_characters(model: BpeOptions, tables: BpeTables) -> BpeTables:
    """Returns the tables for text whose characters are those of the tokens; tables: those of `common`."""
    return _with_cuts(model, tables, model.vocabulary.data, model.vocabulary.offsets, ascii=True)


def for_bytes(model: BpeOptions, tables: BpeTables) -> BpeTables | None:
    """Returns the tables for bytes that stand for ByteLevel characters, or None if such a character isn't a token.

    tables: those of `common`.
    """
    codes = np.array([ord(character) for character in BYTE_CHARACTERS])
    symbols = np.ascontiguousarray(tables.symbols[:, codes])
    if not symbols.all():
        return None
    byte_of = np.full(512, -1, np.int16)
    byte_of[codes] = np.arange(256)
    raw = lookup.spell_bytes(model.vocabulary.data, model.vocabulary.offsets, byte_of)
    tables = _with_cuts(model, tables._replace(symbols=symbols), *raw, ascii=False)
    if model.ignore_merges:
        tables = tables._replace(whole=lookup.index_strings(*raw))
    if len(symbols) > 1:
        return tables
    tables = tables._replace(byte_ranks=lookup.pair_ranks(tables.pairs, symbols[0] - 1))
    if tables.ordered:
        return tables
    characters, edges = character_tables(tables)
    return tables._replace(characters=characters, edges=edges)


def positions(model: BpeOptions) -> Positions:
    """Returns int64[3, m]: the positions in the vocabulary of the left, the right and the new token of each merge."""
    return model.vocabulary.positions(model.merges.T)


def _find(vocabulary: Vocabulary, names: list[str]) -> Ids:
    """Returns uint32[n]: the positions of tokens in the vocabulary, or NONE."""
    data, offsets = pack(names)
    found = lookup.find_strings(vocabulary.strings, data, offsets[:-1], offsets[1:])
    return np.where(found < 0, lookup.NONE, found).astype(np.uint32)


def _with_cuts(model: BpeOptions, tables: BpeTables, data: Bytes, offsets: Positions, *, ascii: bool) -> BpeTables:
    """Adds the tables by which words may be cut between two characters that no merged token contains side by side.

    data, offsets: the tokens as bytes of text. ascii: words may also be cut beside ASCII. If the model has affixes or dropout, words are not cut, since these depend
    on the whole word; nor if a merge makes the unknown token or a byte token, whose names are not the text that they
    cover; nor if two tokens have one id, since a merge then joins text that no token has.
    """
    merges = positions(model)
    special = np.concatenate([tables.fallback, tables.unk])
    affixes = model.continuing_subword_prefix or model.end_of_word_suffix
    if affixes or tables.dropout or len(model.vocabulary.shared) or np.isin(merges, special).any():
        return tables
    made = np.zeros(len(model.vocabulary), bool)
    made[merges[2]] = True
    inside, crossing = lookup.side_by_side(data, offsets, made, ascii=ascii)
    harmless = len(tables.fallback) > 0 and bool((tables.fallback != lookup.NONE).all())
    return tables._replace(divisible=True, inside=inside, crossing=crossing, harmless=harmless)
