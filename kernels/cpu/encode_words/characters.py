"""The symbols that a character begins as, instead of its bytes, before a word is merged.

A byte-level vocabulary merges the bytes of a character first: 0xE4 0xB8 0xAD become 中 in two merges, before 中 merges
with other characters. That is certain if no merge across the two edges of the character can come before these two. Such
a merge joins the first bytes of the character to what comes before them, or its last bytes to what comes after them.
`crossing` has the lowest rank of all such merges, for the two bytes at the edge; a character begins as few symbols if
this rank, at both edges, is higher than the ranks of the merges inside the character. If it begins as one symbol, all
merges of this symbol must have higher ranks than those inside, too. That holds for all vocabularies that were learnt:
they make a token before they merge it. Of the Chinese characters of a text, 73 % begin as few symbols with the
vocabulary of Llama 3, 83 % with that of Qwen 3, and 99 % with one learnt from Chinese. So a word needs one look-up a
character, not six for its bytes.
"""

from __future__ import annotations

import numpy as np
from gputok.kernels import BpeTables, Pairs
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.lookup import FREE, NONE, rank_of
from gputok.kernels.cpu.primitives.constants import U0, U1, U2, U8, U64
from gputok.kernels.cpu.primitives.memory import as_views, scratch
from gputok.kernels.cpu.primitives.utf8 import decode_wide, put, width
from gputok.kernels.signatures import u8, u32

N_CODES = np.uint64(0x20000)  # code points in the table: with emoji, without rare Chinese characters
MOST_SYMBOLS = 2  # the most symbols that a character in the table begins as
# Of a character: its first symbol + 1 (0: it begins as bytes), the second + 1 or 0, the highest rank inside, and the
# bytes of the first symbol
FIELDS = 4
# What is known of a symbol: first and last byte, length up to 5 (0: no merge makes it), and whether it has only bytes
# 0x80 to 0xBF, which continue a character
_FIRST, _LAST, _LENGTH, _CONTINUES = range(4)
# The two tables of `character_tables`, by which each character begins as its bytes
NO_CHARACTERS, NO_EDGES = np.zeros(FIELDS * int(N_CODES), np.uint32), np.zeros(256 * 256, np.uint32)


def character_tables(tables: BpeTables) -> tuple[np.ndarray, np.ndarray]:
    """Makes the tables of the characters of a byte-level vocabulary (10 milliseconds for 280,000 merges).

    -> uint32[FIELDS * N_CODES]; `crossing`, uint32[256 * 256], the rank for the two bytes at an edge, or NONE.
    """
    symbols, n = tables.symbols[0] - np.uint32(1), len(tables.ids)
    known = np.zeros((n, 4), np.uint8)
    known[symbols, _FIRST] = known[symbols, _LAST] = np.arange(256)
    known[symbols, _LENGTH], known[symbols, _CONTINUES] = 1, np.arange(256) & 0xC0 == 0x80
    parts = np.full((len(tables.merged), 2), NONE, np.uint32)  # left and right of a merge of each rank
    lowest = np.full(n, NONE, np.uint32)  # rank of a merge with each symbol
    crossing = np.full(256 * 256, NONE, np.uint32)
    _find_crossing(tables.pairs, tables.merged, known, parts, lowest, crossing)
    characters = np.zeros(FIELDS * int(N_CODES), np.uint32)
    _find_characters(tables.pairs, tables.byte_ranks, tables.merged, symbols, lowest, characters)
    return characters, crossing


@kernel(Pairs, u32[:], u8[:, :], u32[:, :], u32[:], u32[:])
def _find_crossing(pairs, merged, known, parts, lowest, crossing):
    """Fills in what is known of all symbols and pairs of bytes, by the merges in `pairs`."""
    bits = np.uint64(pairs.bits)
    rank_bits = U64 - bits - bits
    low, low_rank = (U1 << bits) - U1, (U1 << rank_bits) - U1
    for slot in pairs.slots:
        if slot != FREE:
            key, rank = slot >> rank_bits, np.uint32(slot & low_rank)
            a, b = np.uint32(key >> bits), np.uint32(key & low)
            parts[rank, 0], parts[rank, 1] = a, b
            lowest[a], lowest[b] = min(lowest[a], rank), min(lowest[b], rank)
    found = True
    while found:  # two turns, unless a merge has a lower rank than those that make its parts
        found = False
        for rank in range(len(merged)):
            a, b, new = parts[rank, 0], parts[rank, 1], merged[rank]
            if a == NONE or known[new, _LENGTH]:
                continue
            if known[a, _LENGTH] and known[b, _LENGTH]:
                found = True
                known[new, _FIRST], known[new, _LAST] = known[a, _FIRST], known[b, _LAST]
                known[new, _LENGTH] = min(5, known[a, _LENGTH] + known[b, _LENGTH])
                known[new, _CONTINUES] = known[a, _CONTINUES] & known[b, _CONTINUES]
    for rank in range(len(merged)):
        a, b = parts[rank, 0], parts[rank, 1]
        if a == NONE or known[a, _LENGTH] == 0 or known[b, _LENGTH] == 0 or known[b, _FIRST] & 0xC0 == 0x80:
            continue
        lead = known[b, _FIRST]
        if known[a, _CONTINUES] or (lead >= 0xC0 and known[b, _LENGTH] < width(lead)):
            at = np.int64(known[a, _LAST]) << 8 | np.int64(lead)
            crossing[at] = min(crossing[at], np.uint32(rank))


@kernel(Pairs, u32[:, :], u32[:], u32[:], u32[:], u32[:])
def _find_characters(pairs, byte_ranks, merged, symbols, lowest, characters):
    """Fills in the fields of all characters, each merged by itself."""
    table = as_views(pairs)
    spelled, work, sizes = scratch(4, np.uint8), scratch(4, np.uint32), scratch(4, np.uint32)
    ranks = scratch(3, np.uint32)  # of the pairs side by side
    for code in range(0x80, np.int64(N_CODES)):
        n_bytes = put(spelled, 0, code)
        n, highest = n_bytes, np.uint32(0)
        for i in range(n):
            work[i], sizes[i] = symbols[spelled[i]], 1
        for i in range(n - 1):
            ranks[i] = byte_ranks[spelled[i], spelled[i + 1]]
        while n > 1:
            least, at = NONE, 0
            for i in range(n - 1):
                if ranks[i] < least:
                    least, at = ranks[i], i
            if least == NONE:
                break
            highest = max(highest, least)
            work[at] = merged[least]
            sizes[at] += sizes[at + 1]
            n -= 1
            for i in range(at + 1, n):
                work[i], sizes[i] = work[i + 1], sizes[i + 1]
            for i in range(max(at - 1, 0), n - 1):
                ranks[i] = rank_of(table, work[i], work[i + 1])
        if n == 1 and lowest[work[0]] <= highest:
            continue
        if n <= MOST_SYMBOLS and n < n_bytes:
            row = FIELDS * code
            characters[row] = work[0] + np.uint32(1)
            characters[row + 1] = work[1] + np.uint32(1) if n > 1 else np.uint32(0)
            characters[row + 2] = highest
            characters[row + 3] = sizes[0]


@kernel(inline=True)
def row_of_character(text, begin, at, end, characters, crossing):
    """(index of the fields, number of bytes) of the character at text[at], in the word text[begin:end].

    The number is 0 if the byte has to begin as a symbol by itself. Bounds: at < end, and codes are below N_CODES.
    """
    lead = np.uint64(text[at])
    size = np.uint64(width(lead))
    if lead < np.uint64(0xC0) or at + size > end:
        return U0, U0
    code, _ = decode_wide(text, at)
    if code >= N_CODES:
        return U0, U0
    row = np.uint64(FIELDS) * code
    rank, last = characters[row + U2], np.uint64(text[at + size - U1])
    if characters[row] == np.uint32(0):
        return U0, U0
    if at > begin and crossing[np.uint64(text[at - U1]) << U8 | lead] <= rank:
        return U0, U0
    if at + size < end and crossing[last << U8 | np.uint64(text[at + size])] <= rank:
        return U0, U0
    return row, size
