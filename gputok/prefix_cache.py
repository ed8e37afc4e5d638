"""PrefixCache: of a text that begins like an earlier one, as the prompts of a server do, encodes only the rest.

The cache is a tree: a path from the root spells the beginning of a text. Each node knows the ids up to the last *seam*
in it, a place at which no text that follows can change the ids before it (`gputok.pipeline.encode.seams`).
"""

from __future__ import annotations

import collections
import sys
import threading
from typing import Any, NamedTuple

import numpy as np

from gputok.checks import SIZE, checked, integer, switch, typed, unwrapped
from gputok.lazy import public
from gputok.pipeline.encode.seams import ID, Seams
from gputok.pipeline.pipeline import Pipeline
from gputok.pipeline.special_tokens import Frame
from gputok.types import Ids

BLOCK = 1 << 12
"""Characters of text in a node. Of a text that was encoded before, less than this and a word is encoded again."""
NODE = 400
"""About how many bytes a node takes besides its text and ids."""
LONGEST_TAIL = 1 << 18
"""Bytes after a seam from which on no more nodes are made: each would hold all text since that seam (`_Node.tail`)."""


class _Known(NamedTuple):
    """The pipeline whose ids the tree holds, and what is derived from it."""

    pipeline: Pipeline
    seams: Seams
    # Bytes of the ids before and after a text, without and with special tokens; None: the text isn't there exactly once
    frames: list[tuple[bytes, bytes] | None]


class _Node:
    """A block of BLOCK characters of texts that are the same up to here, and the ids that are certain after it."""

    __slots__ = ("ids", "key", "last", "n_led", "seam", "size", "tail")

    def __init__(self, key: Any, ids: bytes, tail: bytes, seam: int, n_led: int) -> None:
        self.key = key  # the node before this one, and the text of the block
        self.ids = ids  # the ids from the last seam of the node before to the last seam here, uint32 in bytes
        self.tail = tail  # the text from the last seam on, or from the character before it (`Seams.after`), in UTF-8
        self.seam, self.n_led = seam, n_led  # how many bytes of `tail` are before the seam, and how many ids they have
        self.last: _Node | None = None  # the node that followed this one in the text that came last
        # About how much memory the node takes. It is computed once, since it may grow: `key[1]` may be a string of the
        # caller, to which Python adds a copy in UTF-8
        self.size = NODE + sys.getsizeof(key[1]) + len(ids) + len(tail)


@public("gputok")
class PrefixCache:
    """Encodes texts, and keeps the ids of their beginnings: of a text that begins like another, it encodes the rest.

    The ids are always those of `tokenizer.encode`. Texts are compared themselves, not by a hash. If the cache is full,
    it drops what was used longest ago. Threads may share a cache; a copy, also by `pickle`, begins empty. If the
    tokenizer changes (`add_tokens`), the cache is emptied. For one chat, `Tokenizer.incremental` is faster.

    Args:
        tokenizer: a `Tokenizer`, which may be changed later, or a `PreTrainedTokenizer`.
        max_bytes: how much memory the cache may take.

    Attributes:
        hits: how many texts began like one before them, for at least 4096 characters.
        misses: how many did not.

    Raises:
        ValueError: `max_bytes` is negative, or the model draws tokens at random.

    Example:
        >>> from gputok import Tokenizer, models, pre_tokenizers
        >>> tokenizer = Tokenizer(models.WordLevel({"so": 0, "it": 1, "goes": 2}))
        >>> tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        >>> cache = PrefixCache(tokenizer)
        >>> len(cache.encode("so it goes " * 1000)), cache.encode("so it goes " * 1000 + "so")[-2:].tolist()
        (3000, [2, 0])
        >>> cache.hits, cache.misses
        (1, 1)
    """

    def __init__(self, tokenizer: Any, max_bytes: int = 256 << 20) -> None:
        checked("max_bytes", integer(0, SIZE), max_bytes)
        self._tokenizer = unwrapped(tokenizer)
        self.max_bytes, self._lock, self.hits, self.misses = max_bytes, threading.Lock(), 0, 0
        self._known = self._begin(self._tokenizer.pipeline)

    def _begin(self, pipeline: Pipeline) -> _Known:
        """Empties the cache, for another pipeline."""
        found = [Frame.of(pipeline, special) for special in (False, True)]
        around = [one and (_packed(one.before["ids"]), _packed(one.after["ids"])) for one in found]
        known = _Known(pipeline, Seams.of(pipeline), around)
        self._root = _Node((None, ""), b"", b"", 0, 0)
        # The least recently used first. `_keep` moves the nodes of a text to the end, the last node of the text first,
        # so a node is dropped only after the nodes that follow it in texts
        self._nodes: collections.OrderedDict[Any, _Node] = collections.OrderedDict()
        self._used = 0
        return known

    def __reduce__(self) -> tuple[Any, ...]:
        """Returns what makes an empty cache for the same tokenizer."""
        return PrefixCache, (self._tokenizer, self.max_bytes)

    @property
    def used(self) -> int:
        """About how many bytes are in use, at most `max_bytes`."""
        return self._used

    def encode(self, text: str, add_special_tokens: bool = True) -> Ids:
        """Encodes a text.

        Args:
            text: the text.
            add_special_tokens: let the post-processor add its tokens.

        Returns:
            The ids, uint32[n_tokens], read-only.

        Raises:
            TypeError: `text` is no string.
            ValueError: the tokenizer truncates, or the template of its post-processor has not the text exactly once.
        """
        typed("text", str, text)
        checked("add_special_tokens", switch, add_special_tokens)
        pipeline = self._tokenizer.pipeline
        if pipeline.truncation is not None:
            raise ValueError("a PrefixCache truncates no text: call no_truncation(), and cut the ids")
        with self._lock:
            if pipeline is not self._known.pipeline:
                self._known = self._begin(pipeline)
            known = self._known
            node, at = self._end(text)
            if node is self._root:
                self.misses += 1
            else:
                self.hits += 1
        if (frame := known.frames[bool(add_special_tokens)]) is None:
            raise ValueError("the template of the post-processor must have the text exactly once")
        new, seams, end = list[_Node](), known.seams, node
        while at + BLOCK <= len(text) and seams.kind != "whole" and len(end.tail) < LONGEST_TAIL:
            block = text[at : at + BLOCK]
            at += BLOCK
            some = end.tail + block.encode()
            ids, seam, first, n_led = seams.cut(some, end.seam, end.n_led)
            end = _Node((end, block), ids, some[first:], seam - first, n_led)
            new.append(end)
        rest = seams.ids(end.tail + text[at:].encode())[ID * end.n_led :]
        path = list[_Node]()
        while node.key[0] is not None:
            path.append(node)
            node = node.key[0]
        path.reverse()
        ids = b"".join([frame[0], *[one.ids for one in path], *[one.ids for one in new], rest, frame[1]])
        with self._lock:
            if known is self._known:
                self._keep(path, new)
                while self._used > self.max_bytes:
                    self._drop()
        return np.frombuffer(ids, np.uint32)

    def _end(self, text: str) -> tuple[_Node, int]:
        """Returns the last node of the tree that a text goes through, and how many characters are before its end."""
        node, at = self._root, 0
        while True:
            found, block = node.last, text[at : at + BLOCK]
            if found is None or found.key[1] != block:  # mostly it is the same as last time: no hash is needed
                found = self._nodes.get((node, block))
                if found is None:
                    return node, at
                node.last = found
            node, at = found, at + BLOCK

    def _keep(self, path: list[_Node], new: list[_Node]) -> None:
        """Adds nodes after those of a path, and marks all as just used; nothing if the path was dropped meanwhile."""
        nodes, node = self._nodes, path[-1] if path else self._root
        if path and node.key not in nodes:
            return
        for one in new:
            one.key = node, one.key[1]
            if one.key not in nodes:  # else another thread was faster
                self._used += one.size
                nodes[one.key] = one
            node.last = nodes[one.key]
            node = node.last
            path.append(node)
        for one in reversed(path):
            nodes.move_to_end(one.key)

    def _drop(self) -> None:
        """Drops the node that was used longest ago."""
        (before, _), one = self._nodes.popitem(last=False)
        self._used -= one.size
        if before.last is one:
            before.last = None


def _packed(ids: list[int]) -> bytes:
    return np.array(ids, np.uint32).tobytes()
