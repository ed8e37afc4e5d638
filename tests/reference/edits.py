"""Cutting and replacing parts of pieces, in plain Python."""

from __future__ import annotations

import re

import numpy as np

from tests.reference.normalize import characters_of, kind_of


def splice(data, start, end, rows, cut_start, cut_end, content, origin, aligned):
    """Replaces each span by `content`."""
    new, source, offsets = [data[:0]], [], [0]
    for i, (a, b) in enumerate(zip(start.tolist(), end.tolist(), strict=True)):
        for j in range(rows[i], rows[i + 1]):
            new += [data[a : cut_start[j]], content]
            source += [*range(a, cut_start[j]), *[origin[j]] * len(content)]
            a = cut_end[j]
        new.append(data[a:b])
        source += range(a, b)
        offsets.append(len(source))
    return np.concatenate(new), np.array(offsets), np.array(source if aligned else [], np.int64)


def find_literal(data, start, end, frozen, literal):
    """Finds the literal in each piece, from left to right without overlap."""
    found, rows = [], [0]
    for i, (a, b) in enumerate(zip(start.tolist(), end.tolist(), strict=True)):
        matches = re.finditer(re.escape(literal.tobytes()), data[a:b].tobytes())
        found += [] if frozen is not None and frozen[i] else [a + match.start() for match in matches]
        rows.append(len(found))
    return np.array(found, np.int64), np.array(rows)


def strip(data, start, end, frozen, space, left, right):
    """Strips characters of `space` from the ends of pieces."""
    start, end = start.copy(), end.copy()
    for i in range(len(start)):
        characters = characters_of(data, start[i], end[i]) if frozen is None or not frozen[i] else []
        while left and characters and kind_of(*space, characters[0][0]):
            start[i] += len(characters.pop(0)[0].encode())
        while right and characters and kind_of(*space, characters[-1][0]):
            end[i] = characters.pop()[1]
    return start, end
