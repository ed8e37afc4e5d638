"""Where a text may be cut for good: seams.

A *seam* is a place in a text at which both sides are texts of their own, whatever stands before or after them: the ids
of the text are those of the left side, then those of the right side (which gets no space in front). Text that grows, a
cache of prefixes, and the counts of parts of a text rely on seams.

The characters beside a place tell whether it is a seam. A place between words is a seam under three conditions. The two
characters there are a *strong pair* of the automaton: a cut between them changes no words, whatever stands around them
(`_strong` in gputok/automaton/minimal.py). No normalizer joins them. And no added token can reach across: neither a
token nor the beginning of a token ends there, and none takes white space from the other side. Where words are unknown,
a seam is before an added token that can't be longer, and that no other token reaches into.
"""

from __future__ import annotations

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.encode_one.steps import Extract, finder_of, step_of
from gputok.kernels.cpu.find_tokens import IGNORED, LSTRIP, RSTRIP, SINGLE_WORD, is_space, longest_token, reaches
from gputok.kernels.cpu.normalize import kind_of
from gputok.kernels.cpu.primitives.memory import as_views, record_at, view
from gputok.kernels.cpu.primitives.utf8 import character, character_before, width
from gputok.kernels.cpu.walk.matches import classify, strong_cut_before
from gputok.kernels.cpu.walk.tables import Walk
from gputok.kernels.signatures import NamedTuple, U16s, U16x2, U64s, i64, u8


class SeamTables(NamedTuple):
    """The fields of a handle; `steps.put_steps` puts one or two EXTRACT steps into it."""

    steps: U64s
    n_steps: int
    longest: int  # bytes of the longest added token
    options: int  # the bits of find_tokens.py that any added token has
    pairs: bool  # seams are at strong pairs; else before added tokens of the first step
    walk: Walk
    page: U16s  # the kinds of characters in a normalization form
    member: U16x2
    n_inert: int  # kinds of characters that stay as they are; 0: nothing is normalized


@kernel(i64, i64, i64, i64)
def last_seam(address, text, n_bytes, least):
    """The last seam after byte `least` of a text that may go on; 0 if there is none.

    address: of a handle; text: the address of n_bytes bytes, valid UTF-8. Bounds: least is not negative, and a seam is
    the first byte of a character after it, so a character stands on either side.
    """
    handle, data = record_at(address, SeamTables), view((np.uint64(text), np.uint64(n_bytes)), np.uint8)
    begin, at, walk = np.uint64(least), np.uint64(n_bytes), as_views(handle.walk)
    while at > begin:
        at = character_before(data, at)
        if handle.pairs and at > begin:
            at = strong_cut_before(data, begin, at, walk)
        if at <= begin:
            break
        if handle.pairs and _parts_words(handle, data, np.int64(at), n_bytes):
            first = max(np.int64(at) - handle.longest, 0)
            if not _any_reaches(handle, data, first, np.int64(at)):
                return np.int64(at)
        if not handle.pairs and _parts_token(handle, data, np.int64(at), n_bytes):
            return np.int64(at)
    return np.int64(0)


@kernel(i64, u8[:], i64)
def all_seams(address, text, step):
    """The seams of a text, `step` bytes apart or more: int64[n]. address: of a handle with seams at strong pairs."""
    handle, data, n_bytes = record_at(address, SeamTables), view(text), len(text)
    walk, found = as_views(handle.walk), np.empty(n_bytes // max(step, 1) + 1, np.int64)
    # reach: the byte up to which tokens that begin before `at` can reach; left: the class of the character before `at`
    n, reach, last, left = 0, np.int64(-1), np.int64(0), np.uint64(0)
    at = np.int64(0)
    while at < n_bytes:
        right, size = classify(data, np.uint64(at), walk.klass, walk.page, walk.member)
        if at - last >= step and at > reach and at > 0 and walk.strong[left * np.uint64(walk.width) + right]:
            if _parts_words(handle, data, at, n_bytes):
                found[n] = at
                last = at
                n += 1
        for i in range(handle.n_steps):
            finder, _, any_tokens = finder_of(record_at(step_of(handle, i), Extract))
            if any_tokens:
                reach = max(reach, at + longest_token(data, at, n_bytes, finder)[1])
        at += np.int64(size)
        left = right
    return found[:n].copy()


@kernel
def _parts_words(handle, data, at, n_bytes):
    """Whether a strong pair of characters at byte `at` is a seam, if no token reaches across."""
    before, options = np.int64(character_before(data, np.uint64(at))), handle.options
    left, right = character(data, before)[0], character(data, at)[0]
    if options & (LSTRIP | RSTRIP) and is_space(left):
        return False
    if handle.n_inert:
        # The character after `right` could join it, and change how `right` joins `left`: so it must be inert, too
        after = at + width(data[at])
        if after >= n_bytes:
            return False
        for code in (left, right, character(data, after)[0]):
            if kind_of(handle.page, handle.member, code) >= handle.n_inert:
                return False
    if options & SINGLE_WORD:
        for i in range(handle.n_steps):
            finder, _, any_tokens = finder_of(record_at(step_of(handle, i), Extract))
            if any_tokens and finder[1][data[at]]:
                return False
    return True


@kernel
def _any_reaches(handle, data, begin, at):
    """Whether a token of any step, or the beginning of one, that starts in data[begin:at] reaches `at`."""
    for i in range(handle.n_steps):
        finder, _, any_tokens = finder_of(record_at(step_of(handle, i), Extract))
        if any_tokens and reaches(data, begin, at, finder):
            return True
    return False


@kernel
def _parts_token(handle, data, at, n_bytes):
    """Whether a token is found at byte `at`, whatever stands before and after."""
    finder, _, any_tokens = finder_of(record_at(step_of(handle, 0), Extract))
    if not any_tokens:
        return False
    match, size = longest_token(data, at, n_bytes, finder)
    if match < 0 or at + size == n_bytes or finder[3][match] & (SINGLE_WORD | LSTRIP | IGNORED):
        return False
    return not reaches(data, max(at - handle.longest, 0), at, finder)
