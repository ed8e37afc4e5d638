"""A BPE model as the arrays that kernels encode with."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from gputok.kernels import BpeTables, Pairs
from gputok.kernels.cpu import lookup
from gputok.kernels.cpu.encode_words import merge
from gputok.kernels.cpu.encode_words.backtrack import NOTHING, backtrack_tables
from gputok.text.byte_alphabet import BYTE_CHARACTERS
from gputok.tokens.vocabulary import Vocabulary, pack
from gputok.types import Array


class Options(Protocol):
    """What the tables are made of: the attributes of a BPE."""

    vocabulary: Vocabulary
    merges: Array  # uint32[m, 3], ids of the left, right and new token
    dropout: float | None
    unk_token: str | None
    continuing_subword_prefix: str | None
    end_of_word_suffix: str | None
    fuse_unk: bool
    byte_fallback: bool
    ignore_merges: bool
    sentencepiece: bool


def common(model: Options) -> BpeTables:
    """What both kinds of text need; words aren't cut yet, and are merged."""
    vocabulary, strings = model.vocabulary, model.vocabulary.strings
    prefix, suffix = (
        np.frombuffer((affix or "").encode(), np.uint8).copy()
        for affix in (model.continuing_subword_prefix, model.end_of_word_suffix)
    )
    # A character that is (1: not the first) + (2: the last) of its word has these affixes.
    kinds = [(prefix if kind & 1 else prefix[:0], suffix if kind & 2 else suffix[:0]) for kind in range(4)]
    distinct = {(before.tobytes(), after.tobytes()): (before, after) for before, after in kinds}
    symbols = np.zeros((len(distinct), 0x110000), np.uint32)  # pages never touched take no memory
    for row, affixes in zip(symbols, distinct.values(), strict=True):
        lookup.single_characters(strings, *affixes, row)
    variant = [list(distinct).index((before.tobytes(), after.tobytes())) for before, after in kinds]

    left, right, merged = positions(model)
    ranks = np.arange(len(merged))
    if model.sentencepiece:  # all merges that make one token have the rank of the first of them
        _, first, same = np.unique(merged, return_index=True, return_inverse=True)
        ranks, merged = np.argsort(np.argsort(first))[same], merged[np.sort(first)]

    nothing = np.empty(0, np.uint32)
    empty = lookup.index_strings(nothing, np.zeros(1, np.int64))
    byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)]
    return BpeTables(
        ids=vocabulary.ids,
        pairs=lookup.index_pairs(left, right, ranks, len(vocabulary)),
        merged=merged.astype(np.uint32),
        byte_ranks=np.empty((0, 256), np.uint32),
        symbols=symbols,
        variant=np.array(variant, np.int64),
        fallback=_find(vocabulary, byte_tokens) if model.byte_fallback else nothing,
        prefix=prefix,
        suffix=suffix,
        backtrack=NOTHING,
        whole=strings if model.ignore_merges else empty,
        unk=nothing if model.unk_token is None else _find(vocabulary, [model.unk_token]),
        fuse_unk=model.fuse_unk,
        dropout=model.dropout or 0.0,
        divisible=False,
        inside=Pairs(np.full(1, lookup.FREE), lookup.CODE_BITS),
        crossing=np.zeros((256, 256), np.uint8),
        harmless=False,
        ordered=len(prefix) > 0 or len(merged) >> 32 - merge.POSITION_BITS > 0,
    )


def for_characters(model: Options, tables: BpeTables) -> BpeTables:
    """For text as it is."""
    return _with_cuts(model, tables, model.vocabulary.data, model.vocabulary.offsets)


def for_bytes(model: Options, tables: BpeTables) -> BpeTables | None:
    """For bytes that stand for ByteLevel characters; None where such a character isn't a token."""
    codes = np.array([ord(character) for character in BYTE_CHARACTERS])
    symbols = np.ascontiguousarray(tables.symbols[:, codes])
    if not symbols.all():
        return None
    byte_of = np.full(512, -1, np.int16)
    byte_of[codes] = np.arange(256)
    raw = lookup.spell_bytes(model.vocabulary.data, model.vocabulary.offsets, byte_of)
    tables = _with_cuts(model, tables._replace(symbols=symbols), *raw)
    if model.ignore_merges:
        tables = tables._replace(whole=lookup.index_strings(*raw))
    if len(symbols) > 1:
        return tables
    tables = tables._replace(byte_ranks=lookup.pair_ranks(tables.pairs, symbols[0] - 1))
    if tables.ordered or model.sentencepiece:
        return tables
    return tables._replace(backtrack=backtrack_tables(tables.ids, symbols[0] - 1, *positions(model)))


def positions(model: Options) -> Array:
    """int64[3, m]: positions in the vocabulary of the left, right and new token of each merge."""
    ids, merges = model.vocabulary.ids, model.merges.T
    if len(ids) and ids[-1] == len(ids) - 1 and (ids[1:] > ids[:-1]).all():
        return merges.astype(np.int64)  # ids are positions
    order = np.argsort(ids, kind="stable")
    return order[np.searchsorted(ids, merges, sorter=order)]


def _find(vocabulary: Vocabulary, names: list[str]) -> Array:
    """uint32[n]: the positions of tokens in the vocabulary, or NONE."""
    data, offsets = pack(names)
    found = lookup.find_strings(vocabulary.strings, data, offsets[:-1], offsets[1:])
    return np.where(found < 0, lookup.NONE, found).astype(np.uint32)


def _with_cuts(model: Options, tables: BpeTables, data: Array, offsets: Array) -> BpeTables:
    """Words may be cut where no token that a merge makes reaches across; data, offsets: the tokens as bytes of text.

    Affixes and dropout look at the whole word, and a token of an unknown character isn't the text that it covers.
    """
    merges = positions(model)
    special = np.concatenate([tables.fallback, tables.unk])
    affixes = model.continuing_subword_prefix or model.end_of_word_suffix
    if affixes or tables.dropout or np.isin(merges, special).any():
        return tables
    made = np.zeros(len(model.vocabulary), bool)
    made[merges[2]] = True
    inside, crossing = lookup.side_by_side(*Vocabulary(data, offsets).packed(np.flatnonzero(made)))
    harmless = len(tables.fallback) > 0 and bool((tables.fallback != lookup.NONE).all())
    return tables._replace(divisible=True, inside=inside, crossing=crossing, harmless=harmless)
