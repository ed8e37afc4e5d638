"""Incremental: the ids of a text that grows, of which only the end is encoded again."""

from __future__ import annotations

import bisect
import copy
from typing import Any, NamedTuple

import numpy as np

from gputok.checks import typed
from gputok.lazy import public
from gputok.pipeline.encode.seams import ID, Seams
from gputok.pipeline.pipeline import Pipeline
from gputok.pipeline.special_tokens import Frame
from gputok.types import Ids, Positions

CHUNK = 1 << 13
"""Characters of the parts in which a longer text is appended. About once for each part, a mark is kept (`_step`), to
which `truncate` can go back without encoding the text before it."""


class _Mark(NamedTuple):
    """What is known of the first `n_bytes` bytes of a text, which have `n_chars` characters."""

    n_bytes: int
    n_chars: int
    seam: int  # the position of the last seam, in bytes: no text that follows changes the ids before it
    first: int  # the byte from which the text after the seam is encoded: the seam, or the character before it
    n_led: int  # how many ids the text from `first` to the seam has: they are removed from the result
    n_ids: int  # how many ids are before the seam, with the special tokens before the text


@public("gputok")
class Incremental:
    """The ids of a text that grows, such as a chat: always those of `Tokenizer.encode` for the whole text.

    `Tokenizer.incremental` makes one. `append` encodes the new text and the text after the last *seam*: the last place
    at which no text that follows can change the ids before it. A copy, also by `pickle` or `copy`, grows on its own.
    Texts are neither truncated nor padded. One thread at a time may use an object.

    Args:
        pipeline: the parts of the tokenizer.
        add_special_tokens: the post-processor adds its tokens around the text.

    Raises:
        ValueError: the model draws random tokens, or the template of the post-processor has not the text exactly once.

    Example:
        >>> from gputok import Tokenizer, models, pre_tokenizers
        >>> tokenizer = Tokenizer(models.WordLevel({"so": 0, "it": 1, "goes": 2, "go": 3}))
        >>> tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        >>> chat = tokenizer.incremental()
        >>> chat.append("so it go"), chat.ids.tolist(), chat.final
        (0, [0, 1, 3], 2)
        >>> chat.append("es"), chat.ids.tolist()
        (2, [0, 1, 2])
        >>> chat.truncate(5), chat.ids.tolist(), chat.text
        (2, [0, 1], 'so it')
    """

    def __init__(self, pipeline: Pipeline, add_special_tokens: bool = False) -> None:
        frame = Frame.of(pipeline, add_special_tokens)
        if frame is None:
            why = "a text can't grow in two places"
            raise ValueError(f"the template of the post-processor must have the text exactly once: {why}")
        before, after = (np.array(side["ids"], np.uint32) for side in (frame.before, frame.after))
        start = _Mark(0, 0, 0, 0, 0, len(before))
        self._restore(pipeline, after.tobytes(), bytearray(), np.concatenate([before, after]), start, [start])

    def _restore(
        self, pipeline: Pipeline, after: bytes, text: bytearray, ids: Ids, now: _Mark, marks: list[_Mark]
    ) -> None:
        self._seams, self._after, self._text, self._now = Seams.of(pipeline), after, text, now
        self._marks, self._n, self._ids = marks, len(ids), ids
        self._view = ids.data
        # A mark, and the offsets of the tokens before its seam, int64[n, 2]: `offsets` computes the others
        self._measured = marks[0], np.zeros((marks[0].n_ids, 2), np.int64)

    def __getstate__(self) -> tuple[Any, ...]:
        """Returns the tokenizer, the text and its ids."""
        ids = self._ids[: self._n].copy()
        return self._seams.pipeline, self._after, bytes(self._text), ids, self._now, self._marks

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        pipeline, after, text, ids, now, marks = state
        self._restore(pipeline, after, bytearray(text), ids, now, [*marks])

    def __deepcopy__(self, memo: dict[int, Any]) -> Incremental:
        """Returns a copy that shares the pipeline, which never changes."""
        return copy.copy(self)

    @property
    def ids(self) -> Ids:
        """The ids, uint32[n_tokens], read-only; they are valid until the text changes."""
        ids = self._ids[: self._n]
        ids.flags.writeable = False
        return ids

    @property
    def final(self) -> int:
        """How many ids at the start stay the same, whatever is appended."""
        return self._now.n_ids

    @property
    def seams(self) -> str:
        """Where the last seam is, and so what `append` costs.

        "pairs": a few characters back, beside a word; "tokens": before the last added token; "whole": nowhere, so
        the whole text is encoded each time.
        """
        return self._seams.kind

    @property
    def text(self) -> str:
        """The text so far."""
        return self._text.decode()

    @property
    def offsets(self) -> Positions:
        """The characters begin:end of the text that each token covers, int64[n_tokens, 2].

        The offsets of the tokens before the last seam are kept, so that a call takes as long as the new text needs.
        """
        mark, known = self._measured
        data = bytes(self._text)
        head = data[mark.seam : mark.seam + 4].decode(errors="ignore")[:1]
        if self._seams.kind == "tokens" and (head.isspace() or head == "Ġ"):
            # An added token that begins with white space follows the seam. Its offsets are trimmed in another way if it
            # is the first token of a text, so it can't be measured from the seam on: measure the whole text
            mark = self._marks[0]
            known = known[: mark.n_ids]
        # led: begin one character before the seam, since a first token may be trimmed in another way than others
        first, n_led = self._seams.after(data, mark.seam, led=True)
        n_before = mark.n_chars - len(data[first : mark.n_bytes].decode())
        new = self._seams.offsets(data[first:].decode())[n_led:] + n_before
        after = np.zeros((len(self._after) // ID, 2), np.int64)
        found = np.concatenate([known, new, after])
        self._measured = self._now, found[: self._now.n_ids]
        return found

    def append(self, text: str) -> int:
        """Appends text.

        Args:
            text: the new text, of any length.

        Returns:
            How many of the first ids stayed the same: the entries of a key-value cache that a model can keep.

        Raises:
            TypeError: `text` is no string.
        """
        typed("text", str, text)
        return self._go_on(self._now, text)

    def truncate(self, n_chars: int) -> int:
        """Keeps the first characters.

        Args:
            n_chars: how many.

        Returns:
            How many of the first ids stayed the same.

        Raises:
            ValueError: the text has fewer characters.
        """
        if not 0 <= n_chars <= self._now.n_chars:
            raise ValueError(f"n_chars={n_chars}: the text has {self._now.n_chars} characters")
        mark = self._marks[bisect.bisect(self._marks, n_chars, key=lambda mark: mark.n_chars) - 1]
        n_more = n_chars - mark.n_chars
        some = self._text[mark.n_bytes : mark.n_bytes + 4 * n_more]  # enough bytes; may end inside of a character
        return self._go_on(mark, some.decode(errors="ignore")[:n_more])

    def _go_on(self, mark: _Mark, text: str) -> int:
        """Replaces all text after a mark by `text`; returns how many ids at the start stayed the same."""
        old = self._ids[mark.n_ids : self._n].tobytes()
        before = self._now, self._n, self._measured, self._marks
        removed = b""
        try:
            if mark is not self._now:
                removed = bytes(self._text[mark.n_bytes :])
                del self._text[mark.n_bytes :]
                self._now, self._marks = mark, [one for one in self._marks if one.n_bytes <= mark.n_bytes]
                if self._measured[0].n_bytes > mark.n_bytes:
                    self._measured = self._marks[0], self._measured[1][: self._marks[0].n_ids]
            at = 0
            while at < len(text) or not at:
                some = text[at : at + max(CHUNK, len(self._text) - self._now.first)]
                self._step(some)
                at += len(some) or 1
        except BaseException:  # also Ctrl-C leaves the text as it was
            self._now, self._n, self._measured, self._marks = before
            self._text[mark.n_bytes :] = removed
            self._put(old, mark.n_ids)
            raise
        new = self._ids[mark.n_ids : self._n].tobytes()
        n = min(len(old), len(new))
        differ = int.from_bytes(old[:n], "little") ^ int.from_bytes(new[:n], "little")
        return mark.n_ids + (((differ & -differ).bit_length() - 1) // (8 * ID) if differ else n // ID)

    def _step(self, text: str) -> None:
        """Appends one part of a text: encodes from the last seam on, and sets `_now` to what is known after it."""
        seams, (_, n_chars, seam, first, n_led, n) = self._seams, self._now
        self._text += text.encode()
        data, n_bytes = bytes(self._text[first:]), len(self._text)
        ids, cut, begin, n_led = seams.cut(data, seam - first, n_led)
        n = self._put(ids, n)
        seam, first = first + cut, first + begin
        self._n = self._put(seams.ids(data, begin)[ID * n_led :] + self._after, n)
        self._now = _Mark(n_bytes, n_chars + len(text), seam, first, n_led, n)
        if seam - self._marks[-1].seam >= CHUNK:
            self._marks = [*self._marks, self._now]

    def _put(self, ids: bytes, at: int) -> int:
        """Writes ids, uint32 in bytes, into `_ids` from position `at` on; returns the position after them."""
        stop = at + len(ids) // ID
        if stop > len(self._ids):
            longer = np.empty(2 * stop, np.uint32)
            longer[:at] = self._ids[:at]
            self._ids, self._view = longer, longer.data
        self._view[at:stop] = memoryview(ids).cast("I")
        return stop
