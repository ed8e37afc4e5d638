"""Seams: the places at which a text may be cut for good, and the ids of the parts between them.

A seam is a place at which both sides are texts of their own, whatever the text goes on with (`minimal._strong`, and the
kernel `last_seam`, which finds it): ids(A + B) = ids(A up to the seam) + the ids of the rest.
"""

from __future__ import annotations

import sys

import numpy as np

from gputok.kernels.cpu.encode_one import seams as kernels
from gputok.kernels.cpu.encode_one import steps as short_steps
from gputok.kernels.cpu.primitives.handle import Handle
from gputok.kernels.cpu.rewrite import gather
from gputok.pipeline.encode import stepwise, units
from gputok.pipeline.encode.handle import HEAD, extract_step
from gputok.pipeline.encode.text import texts_of
from gputok.pipeline.pipeline import Pipeline
from gputok.pre_tokenizers import PreTokenizer
from gputok.text.pieces import TextBatch
from gputok.text.way import Before, Unit
from gputok.types import Positions

ID = 4  # bytes of an id


class Seams:
    """Finds the seams in the texts of a pipeline, without limits, and encodes the text between them.

    Attributes:
        kind: where seams are: "pairs" (at words, a few characters apart), "tokens" (before added tokens) or "whole"
            (nowhere).
        led: text after a seam must be encoded together with the character before the seam, whose ids are then removed:
            alone, the text would get a `▁` in front.
        longest: the bytes of the longest added token.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        if pipeline.model.is_random:
            raise ValueError(
                "the model draws random tokens (dropout): a text has no ids that stay; set `model.dropout` to None"
            )
        # A copy: the pipeline keeps this object, and a circle of references would keep both alive
        self.pipeline = pipeline.with_limits(truncation=None, padding=None)
        self._texts, self._last, self._all = texts_of(self.pipeline), kernels.last_seam, kernels.all_seams
        way, added, normalizer = pipeline.way, pipeline.added, pipeline.normalizer
        raw, other = added.finder(False), added.finder(True)
        hidden = normalizer is not None and other is not None  # those tokens are found in normalized text only
        finders = [False] * (raw is not None) + [True] * (other is not None and not hidden)
        self.kind = "tokens" if finders else "whole"
        self._handle = Handle(kernels.SeamTables)
        engine = units.engine_of(self.pipeline)
        if sys.implementation.name != "cpython" or _sees_all(pipeline.pre_tokenizer):
            self.kind = "whole"
        elif isinstance(engine, units.Walked):
            if way.unit != Unit.WORD or normalizer is None:
                self.kind = "pairs"
            elif not hidden and (inert := normalizer.inert) is not None:
                self.kind = "pairs"
                self._handle.put(page=inert[0], member=inert[1], n_inert=inert[2])
            self._handle.put(walk=engine.walks.of(0), pairs=self.kind == "pairs")
        self.led = self.kind == "pairs" and (way.at_start or way.before != Before.NONE)
        self.longest = max((len(added.pattern(token_id).encode()) for token_id in added.tokens), default=0)
        options = [0, *(int(np.bitwise_or.reduce(some.options)) for some in (raw, other) if some is not None)]
        self._handle.put(longest=self.longest, options=int(np.bitwise_or.reduce(options)))
        steps = [extract_step(pipeline, normalized) for normalized in finders]
        short_steps.put_steps(self._handle, steps if self.kind == "pairs" else steps[:1])
        self._address = self._handle.address

    @staticmethod
    def of(pipeline: Pipeline) -> Seams:
        """Returns the Seams of a pipeline, made at the first call."""
        return pipeline.kept.once("seams", lambda: Seams(pipeline))

    def last(self, data: bytes, least: int = 0) -> int:
        """Returns the last seam after byte `least`, or 0; data: UTF-8 from the start of a text, or from a seam on."""
        if self.kind == "whole":
            return 0
        return self._last(self._address, id(data) + HEAD, len(data), least)

    def ids(self, data: bytes, begin: int = 0, stop: int | None = None) -> bytes:
        """Returns the ids of the text data[begin:stop], without special tokens, as uint32 in bytes."""
        n = (len(data) if stop is None else stop) - begin
        if n <= 0:
            return b""
        if self._texts is not None:
            engine, ids = self._texts.engine, None
            memory = engine.scratch.take(engine)
            memory.expect(n)
            for call in (memory.units, memory.steps):
                if call is not None and n <= call.longest[0]:
                    found = call.kernel(call.address, id(data) + HEAD + begin, n, 0)
                    if found >= 0:
                        ids = call.ids[:found].tobytes()
                        break
            engine.scratch.give(memory)
            if ids is not None:
                return ids
        batch = TextBatch(np.frombuffer(data, np.uint8, n, begin), np.array([0, n], np.int64))
        parts = units.encode_batch(self.pipeline, batch, None)
        return b"".join(ids.astype(np.uint32, copy=False).tobytes() for ids, _ in parts)

    def after(self, data: bytes, seam: int, led: bool = False) -> tuple[int, int]:
        """Returns the byte from which the text after a seam is encoded, and how many ids are then removed at the front.

        seam: the byte after a seam, or 0; led: True: begins at the character before, if `kind` is "pairs".
        """
        if not (self.led or (led and self.kind == "pairs")) or seam == 0:
            return seam, 0
        first = seam - 1
        while data[first] & 0xC0 == 0x80:
            first -= 1
        return first, len(self.ids(data, first, seam)) // ID

    def cut(self, data: bytes, seam: int = 0, n_led: int = 0) -> tuple[bytes, int, int, int]:
        """Encodes a text that may grow, up to its last seam: the ids before that can't change any more.

        data: the text, from its beginning or the byte that `after` gave; seam: the last known seam; n_led: how many ids
        are removed at the front. Returns the ids up to the last seam, this seam, and what `after` returns for it.
        """
        found = self.last(data, seam)
        if not found:
            return b"", seam, 0, n_led
        return self.ids(data, 0, found)[ID * n_led :], found, *self.after(data, found)

    def all(self, data: bytes, step: int = 1) -> Positions:
        """Returns the seams of a text, in bytes, at least `step` bytes after one another; only for seams at pairs."""
        return self._all(self._address, np.frombuffer(data, np.uint8), step)

    def counted(self, data: bytes, step: int) -> tuple[Positions, Positions]:
        """Counts tokens between seams that are at least `step` bytes apart.

        Returns byte 0 and the bytes at seams, int64[n]; how many tokens are before each, then of all, int64[n + 1].
        """
        text = np.frombuffer(data, np.uint8)
        begin = np.zeros(1, np.int64)
        if self.kind == "pairs":
            begin = np.append(begin, self.all(data, step))
        end, n = np.append(begin[1:], len(data)), len(begin)
        batch = TextBatch(text, np.append(begin, len(data)))
        if self.led:
            first = begin.copy()
            first[1:] -= 1
            for _ in range(3):  # a character has at most four bytes
                first[1:] -= text[first[1:]] & 0xC0 == 0x80
            batch = TextBatch(*gather(text, np.append(first, first[1:]), np.append(end, begin[1:])))
        found = units.encode_batch(self.pipeline, batch, None)
        counts = np.concatenate([np.diff(rows) for _, rows in found])
        counts[1:n] -= counts[n:] if self.led else 0
        return begin, np.append(0, np.cumsum(counts[:n]))

    def offsets(self, text: str) -> Positions:
        """Returns the characters begin:end of each token of a text, int64[n_tokens, 2], without special tokens."""
        found = None if self._texts is None else self._texts.encode(text, False)
        if found is None:
            found = stepwise.encode(self.pipeline, [(text,)], False, False, offsets=True)[0]
        return np.array(found.offsets, np.int64).reshape(-1, 2)


def _sees_all(pre_tokenizer: PreTokenizer | None) -> bool:
    """Whether a step of the pre-tokenizer is the user's Python code, which may look at all pieces of a text."""
    return pre_tokenizer is not None and not all(leaf.in_files for leaf in pre_tokenizer.leaves())
