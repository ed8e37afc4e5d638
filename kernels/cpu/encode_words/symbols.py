"""Where a word is cut before its merges, and the first symbols of a word: of its characters, or of its bytes."""

from __future__ import annotations

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.encode_words.characters import row_of_character
from gputok.kernels.cpu.lookup import NONE, rank_of
from gputok.kernels.cpu.primitives.constants import NO_ASCII, U0, U1, U3, U8
from gputok.kernels.cpu.primitives.memory import load_u64
from gputok.kernels.cpu.primitives.utf8 import decode, width


@kernel(inline=True)
def next_cut(text, at, end, inside, crossing, by_byte):
    """The first edge after `at` that no token crosses, or `end`.

    A token that crosses an edge contains the two characters there side by side, or, if bytes are symbols, ends or
    begins within one of them: `inside` and `crossing` of BpeTables tell. ASCII words are rarely cut, so if bytes are
    symbols (`by_byte`), only edges between two characters beyond ASCII are tested.
    """
    left, left_byte = U0, np.uint64(text[at])
    p = at
    while p < end:
        lead = text[p]
        size = np.uint64(width(lead)) if lead >= np.uint8(0xC0) else U1
        if p + size > end:
            return end
        right = decode(text, p)[0]
        if p > at and (not by_byte or (left >= np.uint64(0x80) and right >= np.uint64(0x80))):
            if not crossing[left_byte << U8 | np.uint64(lead)]:
                if rank_of(inside, left, right) == NONE:
                    return p
        p += size
        left, left_byte = right, np.uint64(text[p - U1])
    return end


@kernel(inline=True)
def is_ascii(text, at, end):
    """Whether text[at:end] is ASCII."""
    bits = U0
    while at + U8 <= end:
        bits |= load_u64(text, at)
        at += U8
    while at < end:
        bits |= np.uint64(text[at])
        at += U1
    return bits & NO_ASCII == U0


@kernel(inline=True)
def all_known(text, at, end, symbols):
    """Whether each character has a symbol; symbols: uint32[0x110000]."""
    while at < end:
        code, size = decode(text, at)
        if symbols[code] == np.uint32(0):
            return False
        at += size
    return True


@kernel(inline=True)
def bytes_as_symbols(text, begin, n, table, symbols, offsets):
    """`first_symbols` if each byte has a symbol, the same at all positions in words; table: uint32[256], symbol + 1."""
    for i in range(n):
        symbols[i] = table[text[begin + i]] - np.uint32(1)
        offsets[i] = i
    offsets[n] = n
    return n


@kernel
def characters_as_symbols(text, begin, n, tables, symbols, offsets):
    """Like `bytes_as_symbols`, but where the first merges inside a character are certain, writes what they make.

    tables: the symbol + 1 of each byte, and the two tables of `character_tables` (characters.py).
    """
    table, characters, edges = tables
    at, count = U0, U0
    while at < n:
        row, size = row_of_character(text, begin, begin + at, begin + n, characters, edges)
        offsets[count] = at
        if size:
            symbols[count] = characters[row] - np.uint32(1)
            second = characters[row + U1]
            if second:
                count += U1
                symbols[count] = second - np.uint32(1)
                offsets[count] = at + np.uint64(characters[row + U3])
            at += size
        else:
            symbols[count] = table[text[begin + at]] - np.uint32(1)
            at += U1
        count += U1
    offsets[count] = n
    return count


@kernel
def first_symbols(text, begin, n, model, symbols, offsets):
    """Writes the characters of n bytes from text[begin] on as symbols, and their positions, counted from `begin`.

    offsets: the last is the end of the last symbol. As in `tokenizers`, an unknown character is left out (the positions
    after it move up), or becomes an unknown token, or with fallback the tokens of its bytes and of the bytes of both
    affixes. Byte tokens are written before an unknown token that waits to be fused with the next one.
    """
    by_byte = model.symbols.columns == np.uint64(256)
    count = np.int64(0)
    offset, waiting = np.int64(0), np.int64(0)  # waiting: bytes of an unknown token that isn't written yet
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
                symbols[count], offsets[count] = model.unk[U0], offset
                count, offset, waiting = count + 1, offset + waiting, 0
            symbols[count], offsets[count] = symbol - np.uint32(1), offset
            count, offset = count + 1, offset + np.int64(size)
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
                offsets[i] = offset + i - old
            if known:
                offset += count - old
            else:
                count = old
        if not known and len(model.unk):
            if waiting and not model.fuse_unk:
                symbols[count], offsets[count] = model.unk[U0], offset
                count, offset, waiting = count + 1, offset + waiting, 0
            waiting += np.int64(size)
        at += size
    if waiting:
        symbols[count], offsets[count] = model.unk[U0], offset
        count, offset = count + 1, offset + waiting
    offsets[count] = offset
    return np.uint64(count)
