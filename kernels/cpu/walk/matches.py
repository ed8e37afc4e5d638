"""The plain walk, a character at a time: single matches, and where text may be cut (the strong cuts of `Walk`)."""

from __future__ import annotations

import numpy as np
from gputok.kernels import DEAD
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.arrays import pointer
from gputok.kernels.cpu.primitives.constants import U0, U1, U7
from gputok.kernels.cpu.primitives.memory import as_views, view
from gputok.kernels.cpu.primitives.utf8 import character_before, decode_wide
from gputok.kernels.cpu.walk.tables import END_OF_TEXT, Walk
from gputok.kernels.signatures import i64


@kernel(inline=True)
def classify(text, p, klass, page, member):
    """(class, number of bytes) of the character at text[p]."""
    byte = np.uint64(text[p])
    if byte < np.uint64(0x80) or byte == np.uint64(END_OF_TEXT):
        return np.uint64(klass[byte]), U1
    code, size = decode_wide(text, p)
    row = np.uint64(page[code >> U7]) << U7
    return np.uint64(member[row | code & np.uint64(0x7F)]), size


@kernel(inline=True)
def match_end(text, p, tables):
    """The end of the match that begins at text[p], by the plain walk: the last position that accepts."""
    klass, page, member, delta, accept, _, width, _ = tables
    state, found = U0, p
    while state != np.uint64(DEAD):
        c, size = classify(text, p, klass, page, member)
        if accept[state * width + c]:
            found = p
        state = np.uint64(delta[state * width + c])
        p += size
    return found


@kernel(inline=True)
def strong_cut_before(text, begin, end, walk):
    """The last strong cut in (begin, end] of text, or `begin` if there is none; a character begins at text[end]."""
    klass, page, member, strong, width = (walk.klass, walk.page, walk.member, walk.strong, np.uint64(walk.width))
    if end <= begin:
        return begin
    right, _ = classify(text, end, klass, page, member)
    while True:
        before = character_before(text, end)
        if before < begin:
            return begin
        left, _ = classify(text, before, klass, page, member)
        if strong[left * width + right]:
            return end
        if before == begin:
            return begin
        end, right = before, left


@kernel(inline=True)
def last_strong_cut(data, begin, end, walk):
    """Like `strong_cut_before`, for signed positions in `data`; a character need not begin at data[end]."""
    while data[end] & np.uint8(0xC0) == np.uint8(0x80):
        end -= 1
    return np.int64(strong_cut_before(data, np.uint64(begin), np.uint64(end), walk))


def slice_text(data: np.ndarray, offsets: np.ndarray, n_bytes: int, walk: Walk) -> np.ndarray:
    """Cuts text into slices of about n_bytes that can be counted separately: the ascending cuts, int64[slices + 1].

    data: uint8[n]; offsets: int64[d + 1]. The cuts lie between documents, or at strong cuts inside of long documents; a
    long document without strong cuts stays whole. A slice must be walked with an end of text after it: see `Walk`.
    """
    cuts, stop = [int(offsets[0])], int(offsets[-1])
    while cuts[-1] < stop:
        at, cut = cuts[-1], cuts[-1] + n_bytes
        if cut >= stop:
            cut = stop
        else:
            # The last document that begins no later than `cut`
            document = int(np.searchsorted(offsets, cut, "right")) - 1
            half = at + n_bytes // 2
            if offsets[document] > half:
                cut = int(offsets[document])
            else:
                strong = _last_strong_cut(pointer(data), half, cut, walk)
                cut = strong if strong > half else int(offsets[document + 1])
        cuts.append(cut)
    return np.array(cuts, np.int64)


@kernel(i64, i64, i64, Walk)
def _last_strong_cut(data, begin, end, walk):
    return last_strong_cut(view(data, np.uint8), begin, end, as_views(walk))
