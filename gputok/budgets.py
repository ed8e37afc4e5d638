"""Budgets of tokens: the tokens of any part of a text, and texts that are split into parts of at most n tokens."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from gputok.checks import SIZE, checked, integer, typed
from gputok.lazy import public
from gputok.pipeline.encode import units
from gputok.pipeline.encode.seams import ID, Seams
from gputok.pipeline.encode.text import texts_of
from gputok.pipeline.pipeline import Pipeline
from gputok.text.pieces import TextBatch

SplitAt: TypeAlias = str | Sequence[str] | None
"""The texts to split after, the best one first."""


@public("gputok")
class Part(NamedTuple):
    """A part of a text: `text[start:stop]`, which alone has `n_tokens` tokens."""

    start: int
    stop: int
    n_tokens: int


@public("gputok")
class Counts:
    """Tells how many tokens any part of a text has; `Tokenizer.counts` makes it.

    A *seam* is a place at which both sides of a text are encoded alike, together or alone (but for a `▁` in front). The
    number of tokens before each of many seams is known, so only the text before the first and after the last seam of a
    part is encoded. If seams don't lie at words (`Incremental.seams` is not "pairs"), parts are encoded whole.

    Args:
        pipeline: the parts of the tokenizer (`Tokenizer.pipeline`).
        text: the text.
        step: the least number of bytes between two seams that are used.
    """

    def __init__(self, pipeline: Pipeline, text: str, step: int = 64) -> None:
        typed("text", str, text)
        self.text, self._seams, data = text, Seams.of(pipeline), text.encode()
        self._step = step
        self.at_words = self._seams.kind == "pairs"
        at, sums = self._seams.counted(data, step)
        if len(data) > len(text):  # converts positions in bytes to positions in characters
            begins = (np.frombuffer(data, np.uint8) & 0xC0 != 0x80).view(np.uint8)
            at = np.append(0, np.cumsum(np.add.reduceat(begins, at, dtype=np.int64))[:-1])
        self.seams: list[int] = at.tolist()
        """0, and the positions of the seams, in characters."""
        self.sums: list[int] = sums.tolist()
        """The number of tokens before each of these positions, and last the number of all tokens."""
        self._begun = 0, 0, 0  # the last part text[start:stop] that `before` has counted, and its tokens

    def __reduce__(self) -> tuple[Any, ...]:
        return Counts, (self._seams.pipeline, self.text, self._step)

    def between(self, start: int = 0, stop: int | None = None) -> int:
        """Returns the number of tokens of `text[start:stop]` alone, without special tokens.

        Args:
            start: the first character.
            stop: the character after the last; None: the end of the text.

        Raises:
            ValueError: the text has no such part.

        Example:
            >>> from gputok import Tokenizer, models, pre_tokenizers
            >>> tokenizer = Tokenizer(models.WordLevel({"so": 0, "it": 1}, unk_token="it"))
            >>> tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
            >>> counts = tokenizer.counts("so it goes")
            >>> counts.between(), counts.between(3, 8), counts.between(5, 6)
            (3, 2, 0)
        """
        stop = len(self.text) if stop is None else stop
        if not 0 <= start <= stop <= len(self.text):
            raise ValueError(f"between({start}, {stop}): the text has {len(self.text)} characters")
        first = bisect.bisect_right(self.seams, start)
        last = bisect.bisect_right(self.seams, stop) - 1
        if first > last:
            return len(self._seams.ids(self.text[start:stop].encode())) // ID
        return self.before(start, first) + self.after(last, stop) - self.sums[first]

    def before(self, start: int, seam: int) -> int:
        """Returns the number of tokens from a character to the next seam, self.seams[seam]."""
        at = self.seams[seam]
        if start == self.seams[seam - 1] and (not start or not self._seams.led):
            return self.sums[seam] - self.sums[seam - 1]
        if self._begun[:2] != (start, at):
            self._begun = start, at, len(self._seams.ids(self.text[start:at].encode())) // ID
        return self._begun[2]

    def after(self, seam: int, stop: int) -> int:
        """Returns the number of tokens before self.seams[seam], plus that from there to a character."""
        at = self.seams[seam]
        if stop in (at, len(self.text)):
            return self.sums[seam if stop == at else -1]
        led = self.text[at - 1 : at].encode() if self._seams.led and at else b""
        data = led + self.text[at:stop].encode()
        first, n_led = self._seams.after(data, len(led))
        return self.sums[seam] + len(self._seams.ids(data, first)) // ID - n_led


def count(pipeline: Pipeline, texts: list[str]) -> list[int]:
    """Returns the number of tokens of each text, without special tokens, truncation and padding."""
    found = texts_of(pipeline)
    if found is not None and (ids := found.ids_of_each(texts)) is not None:
        return [len(each) // ID for each in ids]
    rows = [rows for _, rows in units.encode_batch(pipeline, TextBatch.from_strings(texts), None)]
    return [n for each in rows for n in np.diff(each).tolist()]


def split(pipeline: Pipeline, text: str, most: int, overlap: int = 0, at: SplitAt = None) -> list[Part]:
    """Splits a text, as `Tokenizer.split` says."""
    most, overlap = checked("max_tokens", integer(0, SIZE), most), checked("overlap", integer(0, SIZE), overlap)
    separators: list[Any] = [*at] if isinstance(at, list | tuple) else [] if at is None else [at]
    if not all(isinstance(one, str) and one for one in separators):
        raise ValueError(f"at={at!r}: must be texts to split after, none of them empty")
    if not 0 <= overlap < most:
        raise ValueError(f"max_tokens={most}, overlap={overlap}: the overlap must be smaller, and not negative")
    # Parts end at seams, on average half a step of bytes earlier than they could: that is a hundredth of the part
    counts = Counts(pipeline, text, max(most // 16, 1))
    splitter = _Splitter(counts, most, overlap, separators if counts.at_words else [*separators, " "])
    found, start, done = list[Part](), 0, 0
    while done < len(text):
        part = splitter.at_separator(splitter.longest(start), done)
        if part.stop > done:
            found.append(part)
            done, start = part.stop, splitter.overlapping(part)
        else:  # the overlap leaves no room for new text: begin without it
            start = done
    return found


class _Splitter(NamedTuple):
    """Finds one part of a text after the other."""

    counts: Counts
    most: int
    overlap: int
    separators: list[str]

    def longest(self, start: int) -> Part:
        """Returns the longest part from `start` to a seam that is within the budget; cuts a word only if it must."""
        counts, most, n_chars = self.counts, self.most, len(self.counts.text)
        seams, sums, first = counts.seams, counts.sums, bisect.bisect_right(counts.seams, start)
        best, beyond, size = None, 0, 8 * most  # beyond: a place up to which there are too many tokens
        if first < len(seams):
            more = counts.before(start, first) - sums[first]
            last = bisect.bisect_right(sums, most - more, first, len(seams)) - 1
            if last >= first:
                best = Part(start, seams[last], more + sums[last])
            if last + 1 < len(seams):
                beyond = seams[last + 1]
        while not beyond:
            stop = min((best.stop if best else start) + size, n_chars)
            n = counts.between(start, stop)
            if n > most:
                beyond = stop
            elif stop == n_chars:
                return Part(start, stop, n)
            size *= 2
        if best is not None:
            return best
        # Not even one word fits, or the seams don't tell where words are
        stops = range(start + 1, beyond)
        n = bisect.bisect_right(stops, most, key=lambda stop: counts.between(start, stop))
        if not n:
            n = counts.between(start, start + 1)
            raise ValueError(f"max_tokens={most}: the character {counts.text[start]!r} at {start} alone has {n} tokens")
        return Part(start, stops[n - 1], counts.between(start, stops[n - 1]))

    def at_separator(self, part: Part, done: int) -> Part:
        """Returns the part up to the best separator in it that ends after `done`, or the part itself if it has none."""
        counts, (start, stop, _) = self.counts, part
        for separator in self.separators if stop < len(counts.text) else ():
            at = counts.text.rfind(separator, start, stop)
            while at >= 0 and (after := at + len(separator)) > done:
                n = counts.between(start, after)
                if n <= self.most:
                    return Part(start, after, n)
                at = counts.text.rfind(separator, start, after - 1)
        return part

    def overlapping(self, part: Part) -> int:
        """Returns where the next part begins: at a word, with at most `overlap` tokens of this part."""
        counts, (start, stop, n), most = self.counts, part, self.overlap
        if not most or stop == len(counts.text) or n <= most:
            return stop
        first, last = (bisect.bisect_right(counts.seams, at) for at in (start, stop))
        if not counts.at_words:
            places = range(start + 1, stop)
            n = bisect.bisect_left(places, -most, key=lambda at: -counts.between(at, stop))
            places = [counts.text.find(" ", start + 1 + n, stop) + 1 or stop]
        elif first < last:
            # The sums give the tokens up to `stop`, but the text from a seam on may have one more if it stands alone
            first = bisect.bisect_left(counts.sums, counts.after(last - 1, stop) - most, first, last)
            places = counts.seams[first:last]
        else:
            places = []
        return next((at for at in places if counts.between(at, stop) <= most), stop)
