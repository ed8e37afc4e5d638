"""Normalizers in plain Python; the arguments and the results are in kernels/cpu/normalize.py."""

from __future__ import annotations

import itertools
import re

import numpy as np


def _characters(data: np.ndarray, start: int, end: int) -> list[tuple[str, int]]:
    """The characters of a piece, and where each begins."""
    text = data[start:end].tobytes().decode()
    sizes = [len(c.encode()) for c in text]
    return list(zip(text, np.cumsum([start, *sizes]).tolist(), strict=False))


def _kind(page: np.ndarray, member: np.ndarray, character: str) -> int:
    return int(member[page[ord(character) >> 7], ord(character) & 127])


def _edit(data, start, end, frozen, aligned, normalize):
    """Packs what `normalize` makes of each piece: text and the source of each of its characters."""
    new, source, offsets = b"", [], [0]
    for i, (a, b) in enumerate(zip(start.tolist(), end.tolist(), strict=True)):
        if frozen is not None and frozen[i]:
            new, source = new + data[a:b].tobytes(), source + list(range(a, b))
        else:
            for text, place in normalize(_characters(data, a, b), a):
                new, source = new + text.encode(), source + [place] * len(text.encode())
        offsets.append(len(new))
    return np.frombuffer(new, np.uint8), np.array(offsets), np.array(source if aligned else [], np.int64)


def is_inert(data, start, end, frozen, page, member, n_inert=1):
    """Whether all characters have a kind below n_inert."""
    live = [i for i in range(len(start)) if frozen is None or not frozen[i]]
    return all(_kind(page, member, c) < n_inert for i in live for c, _ in _characters(data, start[i], end[i]))


def follow(source, start, end):
    """Where new bytes come from; ~p is the empty place before p."""
    empty = source < 0
    at = np.where(empty, ~source, source)
    return start[at], np.where(empty, start[at], end[at])


def map_characters(data, start, end, frozen, table, aligned):
    """Each character becomes what the table says."""
    page, member, _, text, offsets = table

    def normalize(characters, _):
        for c, place in characters:
            rule = _kind(page, member, c)
            replacement = text[offsets[rule] : offsets[rule + 1]].tobytes().decode() if rule > 2 else ""
            yield {0: c, 1: "", 2: f" {c} "}.get(rule, replacement), place

    return _edit(data, start, end, frozen, aligned, normalize)


def _placed(changes, characters, first):
    """Gives each of `changes` (a character, and how many characters it adds) its place."""
    places = [place for _, place in characters]
    used = 0
    for c, change in changes:
        if change > 0:
            yield c, places[used - 1] if used else ~first
        else:
            yield c, places[used]
            used += 1 - change


def normalize_form(data, start, end, frozen, form, compositions, aligned):
    """Decomposition, canonical ordering and composition, as Unicode Standard Annex #15 has them."""
    page, member, _, ranks, offsets, parts, parts_rank = form
    pairs = (
        {} if compositions is None else dict(zip(*(column.tolist() for column in compositions), strict=True))
    )

    def decomposed(c):
        kind, syllable = _kind(page, member, c), ord(c) - 0xAC00
        if 0 <= syllable < 11172:
            jamo = (0x1100 + syllable // 588, 0x1161 + syllable // 28 % 21, 0x11A7 + syllable % 28)
            return [(chr(j), 0) for j in jamo if j != 0x11A7]
        part = slice(offsets[kind], offsets[kind + 1])
        return list(zip(map(chr, parts[part]), parts_rank[part].tolist(), strict=True)) or [
            (c, int(ranks[kind]))
        ]

    def composed(a, b):
        lead, vowel, syllable, trail = ord(a) - 0x1100, ord(b) - 0x1161, ord(a) - 0xAC00, ord(b) - 0x11A7
        if 0 <= lead < 19 and 0 <= vowel < 21:
            return chr(0xAC00 + (lead * 21 + vowel) * 28)
        if 0 <= syllable < 11172 and syllable % 28 == 0 and 0 < trail < 28:
            return chr(ord(a) + trail)
        return chr(pairs.get(ord(a) << 32 | ord(b), 0))

    def normalize(characters, first):
        run = [
            (part, rank, int(k > 0)) for c, _ in characters for k, (part, rank) in enumerate(decomposed(c))
        ]
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
        return _placed(kept, characters, first)

    return _edit(data, start, end, frozen, aligned, normalize)


def splice(data, start, end, rows, cut_start, cut_end, content, place, aligned):
    """Puts `content` in place of each span."""
    new, source, offsets = [data[:0]], [], [0]
    for i, (a, b) in enumerate(zip(start.tolist(), end.tolist(), strict=True)):
        for j in range(rows[i], rows[i + 1]):
            new += [data[a : cut_start[j]], content]
            source += [*range(a, cut_start[j]), *[place[j]] * len(content)]
            a = cut_end[j]
        new.append(data[a:b])
        source += range(a, b)
        offsets.append(len(source))
    return np.concatenate(new), np.array(offsets), np.array(source if aligned else [], np.int64)


def find_literal(data, start, end, frozen, literal):
    """Where the literal stands in each piece, from left to right without overlap."""
    found, rows = [], [0]
    for i, (a, b) in enumerate(zip(start.tolist(), end.tolist(), strict=True)):
        places = re.finditer(re.escape(literal.tobytes()), data[a:b].tobytes())
        found += [] if frozen is not None and frozen[i] else [a + match.start() for match in places]
        rows.append(len(found))
    return np.array(found, np.int64), np.array(rows)


def strip(data, start, end, frozen, space, left, right):
    """The pieces without the characters at their ends that are in `space`."""
    start, end = start.copy(), end.copy()
    for i in range(len(start)):
        characters = _characters(data, start[i], end[i]) if frozen is None or not frozen[i] else []
        while left and characters and _kind(*space, characters[0][0]):
            start[i] += len(characters.pop(0)[0].encode())
        while right and characters and _kind(*space, characters[-1][0]):
            end[i] = characters.pop()[1]
    return start, end


def normalize_precompiled(data, start, end, frozen, trie, texts, graphemes, aligned):
    """Replaces grapheme clusters of up to five bytes, else characters: see kernels/cpu/precompiled.py."""

    def step(unit: int) -> int:
        return (unit >> 10) << ((unit & 512) >> 6)

    def look_up(text: bytes) -> str | None:
        at = step(int(trie[0])) if len(trie) else 0
        for byte in text:
            at ^= byte
            if byte == 0 or at >= len(trie) or int(trie[at]) & 0x800000FF != byte:
                return None
            leaf = int(trie[at]) >> 8 & 1
            at ^= step(int(trie[at]))
            if leaf:
                value = int(trie[at]) & 0x7FFFFFFF if at < len(trie) else len(texts)
                return None if value >= len(texts) else texts[value:].tobytes().partition(b"\0")[0].decode()
        return None

    def joined(before: list[int], kind: int) -> bool:
        """Does a character go on with the cluster of `before`? The rules GB3 to GB9c and GB11 of UAX #29."""
        # b CONTROL, c CR, d LF, e EXTEND, f ZWJ, g SPACING, ...
        history = "".join(chr(97 + k) for k in before)
        step = history[-1] + chr(97 + kind)
        return step == "cd" or (not re.fullmatch("[bcd].|.[bcd]", step) and (
            re.fullmatch("i[ijlm]|[lj][jk]|[mk]k|.[efgpq]|h.", step) is not None
            or (step[1] == "o" and re.search("o[pqf]*p[pqf]*$", history) is not None)
            or (step[1] == "n" and re.search("n[epq]*f$", history) is not None)
        ))  # fmt: skip

    def normalize(characters, first):
        clusters, kinds = [], []
        for c, _ in characters:
            kind = _kind(*graphemes, c)
            if clusters and joined(kinds, kind):
                clusters[-1] += c
                kinds.append(kind)
            else:
                clusters.append(c)
                kinds = [kind]
        changes = []
        for cluster in clusters:
            whole = look_up(cluster.encode()) if len(cluster.encode()) < 6 else None
            for old in [cluster] if whole is not None else cluster:
                new = look_up(old.encode())
                if new is None:
                    changes.append((old, 0))
                    continue
                changes += [(c, int(k >= len(old))) for k, c in enumerate(new)]
                if changes and len(new) < len(old):
                    changes[-1] = changes[-1][0], changes[-1][1] + len(new) - len(old)
        return _placed(changes, characters, first)

    return _edit(data, start, end, frozen, aligned, normalize)
