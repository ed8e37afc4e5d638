"""The first symbols of a word: of its characters, or of its bytes."""

from __future__ import annotations

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.encode_words.characters import row_of_character
from gputok.kernels.cpu.lookup import NONE
from gputok.kernels.cpu.primitives.constants import U0, U1, U3
from gputok.kernels.cpu.primitives.utf8 import decode


@kernel(inline=True)
def bytes_as_symbols(text, begin, n, table, symbols, places):
    """`first_symbols` if each byte is a known symbol, the same at all positions in the word; table: uint32[256]."""
    for i in range(n):
        symbols[i] = table[text[begin + i]] - np.uint32(1)
        places[i] = i
    places[n] = n
    return n


@kernel
def characters_as_symbols(text, begin, n, tables, symbols, places):
    """Like `bytes_as_symbols`, with few symbols of each character for which it is certain that its bytes merge to them.

    tables: the symbol + 1 of each byte, and the two tables of `character_tables`.
    """
    table, characters, edges = tables
    at, count = U0, U0
    while at < n:
        row, size = row_of_character(text, begin, begin + at, begin + n, characters, edges)
        places[count] = at
        if size:
            symbols[count] = characters[row] - np.uint32(1)
            second = characters[row + U1]
            if second:
                count += U1
                symbols[count] = second - np.uint32(1)
                places[count] = at + np.uint64(characters[row + U3])
            at += size
        else:
            symbols[count] = table[text[begin + at]] - np.uint32(1)
            at += U1
        count += U1
    places[count] = n
    return count


@kernel
def first_symbols(text, begin, n, model, symbols, places):
    """Writes the characters of n bytes from text[begin] on as symbols, and their positions, counted from `begin`.

    places has one more element, the end of the last symbol. An unknown character is left out (the positions after it move up,
    as in `tokenizers`), or becomes an unknown token, or with fallback the tokens of its bytes and of the bytes of both
    affixes. Byte tokens are written before an unknown token that waits to be fused with the next one, as `tokenizers` does.
    """
    by_byte = model.symbols.columns == np.uint64(256)
    count = np.int64(0)
    place, waiting = np.int64(0), np.int64(0)  # waiting: bytes of an unknown token that isn't written yet
    at = U0
    while at < n:
        if by_byte:
            code, size = np.uint64(text[begin + at]), U1
        else:
            code, size = decode(text, begin + at)
        kind = np.int64(at > U0) + 2 * np.int64(at + size >= n)
        symbol = model.symbols[np.uint64(model.variant[kind]) * model.symbols.columns + code]
        known = symbol > 0
        if known:
            if waiting:
                symbols[count], places[count] = model.unk[U0], place
                count, place, waiting = count + 1, place + waiting, 0
            symbols[count], places[count] = symbol - np.uint32(1), place
            count, place = count + 1, place + np.int64(size)
        elif len(model.fallback):
            known = True
            old = count
            if kind & 1:
                for i in range(len(model.prefix)):
                    symbols[count] = model.fallback[model.prefix[i]]
                    count += 1
            for i in range(size):
                symbols[count] = model.fallback[text[begin + at + i]]
                count += 1
            if kind & 2:
                for i in range(len(model.suffix)):
                    symbols[count] = model.fallback[model.suffix[i]]
                    count += 1
            for i in range(old, count):
                known = known and symbols[i] != NONE
                places[i] = place + i - old
            if known:
                place += count - old
            else:
                count = old
        if not known and len(model.unk):
            if waiting and not model.fuse_unk:
                symbols[count], places[count] = model.unk[U0], place
                count, place, waiting = count + 1, place + waiting, 0
            waiting += np.int64(size)
        at += size
    if waiting:
        symbols[count], places[count] = model.unk[U0], place
        count, place = count + 1, place + waiting
    places[count] = place
    return np.uint64(count)
