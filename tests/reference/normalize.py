"""Normalizers in plain Python; kernels/cpu/normalize.py explains the arguments and the results."""

from __future__ import annotations

import itertools

import numpy as np


def characters_of(data: np.ndarray, start: int, end: int) -> list[tuple[str, int]]:
    """The characters of a piece, each with the byte at which it begins."""
    text = data[start:end].tobytes().decode()
    sizes = [len(c.encode()) for c in text]
    return list(zip(text, np.cumsum([start, *sizes]).tolist(), strict=False))


def kind_of(page: np.ndarray, member: np.ndarray, character: str) -> int:
    """The value of a character in a two-stage table."""
    return int(member[page[ord(character) >> 7], ord(character) & 127])


def edit(data, start, end, frozen, aligned, normalize):
    """Packs the results of `normalize` for each piece: text, and the source of each of its characters."""
    new, source, offsets = bytearray(), [], [0]
    for i, (a, b) in enumerate(zip(start.tolist(), end.tolist(), strict=True)):
        if frozen is not None and frozen[i]:
            new += data[a:b].tobytes()
            source += range(a, b)
        else:
            for text, at in normalize(characters_of(data, a, b), a):
                new += text.encode()
                source += [at] * len(text.encode())
        offsets.append(len(new))
    return np.frombuffer(new, np.uint8), np.array(offsets), np.array(source if aligned else [], np.int64)


def is_inert(data, start, end, frozen, page, member, n_inert=1):
    """Whether all characters have a kind below n_inert."""
    live = [i for i in range(len(start)) if frozen is None or not frozen[i]]
    return all(kind_of(page, member, c) < n_inert for i in live for c, _ in characters_of(data, start[i], end[i]))


def follow(source, start, end):
    """Looks up where each source begins and ends; ~p is the gap before p."""
    empty = source < 0
    at = np.where(empty, ~source, source)
    return start[at], np.where(empty, start[at], end[at])


def map_characters(data, start, end, frozen, table, aligned):
    """Maps each character by a table."""
    page, member, _, text, offsets = table

    def normalize(characters, _):
        for c, at in characters:
            rule = kind_of(page, member, c)
            replacement = text[offsets[rule] : offsets[rule + 1]].tobytes().decode() if rule > 2 else ""
            yield {0: c, 1: "", 2: f" {c} "}.get(rule, replacement), at

    return edit(data, start, end, frozen, aligned, normalize)


def placed(changes, characters, first):
    """Gives each of `changes` (a character, and how many characters it adds) its source."""
    starts = [at for _, at in characters]
    used = 0
    for c, change in changes:
        if change > 0:
            yield c, starts[used - 1] if used else ~first
        else:
            yield c, starts[used]
            used += 1 - change


def normalize_form(data, start, end, frozen, form, compositions, aligned):
    """Decomposition, canonical ordering and composition, by Unicode Standard Annex #15."""
    page, member, _, ranks, offsets, parts, parts_rank = form
    pairs = {} if compositions is None else dict(zip(*(column.tolist() for column in compositions), strict=True))

    def decomposed(c):
        kind, syllable = kind_of(page, member, c), ord(c) - 0xAC00
        if 0 <= syllable < 11172:
            jamo = (0x1100 + syllable // 588, 0x1161 + syllable // 28 % 21, 0x11A7 + syllable % 28)
            return [(chr(j), 0) for j in jamo if j != 0x11A7]
        part = slice(offsets[kind], offsets[kind + 1])
        return list(zip(map(chr, parts[part]), parts_rank[part].tolist(), strict=True)) or [(c, int(ranks[kind]))]

    def composed(a, b):
        lead, vowel, syllable, trail = ord(a) - 0x1100, ord(b) - 0x1161, ord(a) - 0xAC00, ord(b) - 0x11A7
        if 0 <= lead < 19 and 0 <= vowel < 21:
            return chr(0xAC00 + (lead * 21 + vowel) * 28)
        if 0 <= syllable < 11172 and syllable % 28 == 0 and 0 < trail < 28:
            return chr(ord(a) + trail)
        return chr(pairs.get(ord(a) << 32 | ord(b), 0))

    def normalize(characters, first):
        run = [(part, rank, int(k > 0)) for c, _ in characters for k, (part, rank) in enumerate(decomposed(c))]
        starters = [k for k, (_, rank, _) in enumerate(run) if rank == 0]
        for a, b in itertools.pairwise([-1, *starters, len(run)]):
            run[a + 1 : b] = sorted(run[a + 1 : b], key=lambda part: part[1])
        kept = []
        starter, last = None, 0
        for c, rank, change in run:
            if compositions is not None and starter is not None and (last == 0 or last < rank):
                both = composed(kept[starter][0], c)
                if both != "\0":
                    kept[starter] = both, kept[starter][1] + change - 1
                    continue
            starter = len(kept) if rank == 0 else starter
            last = rank
            kept.append((c, change))
        return placed(kept, characters, first)

    return edit(data, start, end, frozen, aligned, normalize)
