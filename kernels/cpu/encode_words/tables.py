"""The tables of a BPE model in the forms that encoding takes: plain tuples for the call, and views for the hot loop."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from gputok.kernels import BpeTables, Pairs, Strings
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.lookup import pairs_of, strings_of
from gputok.kernels.cpu.primitives.memory import View, view


class Prepared(NamedTuple):
    """BpeTables for the kernel, as plain tuples: reading a named tuple takes Numba longer than encoding a short text."""

    tables: tuple  # the same in plain tuples
    widening: int  # no more tokens than this times its bytes come of a word


def prepare(tables):
    """The tables as `encode_words` takes them at once."""
    return Prepared(
        _plain(tables), 1 + (len(tables.prefix) + len(tables.suffix)) * (len(tables.fallback) > 0)
    )


def _plain(value):
    return tuple(map(_plain, value)) if isinstance(value, tuple) else value


@kernel(inline=True)
def named(plain):
    """The BpeTables of which these are the plain tuples."""
    ids, pairs, merged, byte_ranks, symbols, variant, characters, edges, fallback, prefix, suffix = plain[:11]
    whole, unk, fuse_unk, dropout, divisible, inside, crossing, harmless, ordered = plain[11:]
    return BpeTables(
        *(ids, Pairs(*pairs), merged, byte_ranks, symbols, variant, characters, edges),
        *(fallback, prefix, suffix, Strings(*whole), unk, fuse_unk, dropout),
        *(divisible, Pairs(*inside), crossing, harmless, ordered),
    )


class Model(NamedTuple):
    """BpeTables as a hot loop sees them: arrays would cost more than the merges."""

    names: View  # of uint32, the ids
    pairs: tuple  # of pairs_of
    merged: View  # of uint32
    byte_ranks: View  # of uint32
    nothing: np.uint32  # a symbol that is in no pair
    symbols: View  # of uint32, rows one after the other
    n_columns: np.uint64  # of symbols
    variant: View  # of int64
    characters: View  # of uint32
    edges: View  # of uint32
    fallback: View  # of uint32
    prefix: View  # of uint8
    suffix: View  # of uint8
    unk: View  # of uint32
    n_fallback: np.int64
    n_prefix: np.int64
    n_suffix: np.int64
    n_unk: np.int64
    fuse_unk: bool
    dropout: float
    whole: tuple  # of strings_of
    has_whole: bool
    inside: tuple  # of pairs_of
    crossing: View  # of uint8
    divisible: bool
    harmless: bool
    ordered: bool
    by_byte: bool  # each byte is a symbol, the same one wherever it stands
    by_character: bool  # `characters` tells which characters begin as few symbols


@kernel(inline=True)
def model_of(tables):
    """The Model of BpeTables."""
    merging = tables.dropout == 0.0
    return Model(
        view(tables.ids),
        pairs_of(tables.pairs),
        view(tables.merged),
        view(tables.byte_ranks),
        np.uint32(len(tables.ids)),
        view(tables.symbols),
        np.uint64(tables.symbols.shape[1]),
        view(tables.variant),
        view(tables.characters),
        view(tables.edges),
        view(tables.fallback),
        view(tables.prefix),
        view(tables.suffix),
        view(tables.unk),
        len(tables.fallback),
        len(tables.prefix),
        len(tables.suffix),
        len(tables.unk),
        tables.fuse_unk,
        tables.dropout,
        strings_of(tables.whole),
        len(tables.whole.offsets) > 1 and merging,
        pairs_of(tables.inside),
        view(tables.crossing),
        tables.divisible,
        tables.harmless,
        tables.ordered,
        len(tables.byte_ranks) > 0,
        len(tables.characters) > 0 and merging,
    )
