"""PrefixCache: the ids of texts that begin like texts before them, as the prompts of a server do."""

from __future__ import annotations

import collections
import sys
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gputok.checks import SIZE, checked, integer, switch, typed, unwrapped
from gputok.lazy import public
from gputok.pipeline.encode.seams import ID, Seams
from gputok.pipeline.special_tokens import Frame

if TYPE_CHECKING:
    from gputok.pipeline.pipeline import Pipeline
    from gputok.types import Ids

BLOCK = 1 << 12
"""Bytes of text of a node: of a text that is known, less than this and a word is encoded again."""
NODE = 400
"""About so many bytes a node takes besides its text and ids."""
LONGEST_TAIL = 1 << 18
"""Text after so many bytes without a seam is not kept: each node would have all of these bytes."""
HEADS = 64
"""So many texts that are not ASCII are kept as they came, in an eighth of the memory: to compare one takes a tenth of
the time that it takes to turn it into UTF-8."""


class _Known(NamedTuple):
    """The pipeline that a tree is for.

    Attributes:
        frames: the ids around a text, in bytes: without and with special tokens; None: there is no one place for a text.
    """

    pipeline: Pipeline
    seams: Seams
    frames: list[tuple[bytes, bytes] | None]


class _Node:
    """The next BLOCK bytes of texts that begin alike, and what they prove: the ids up to the last seam."""

    __slots__ = ("ids", "key", "last", "n_led", "seam", "tail")

    def __init__(self, key: Any, ids: bytes, tail: bytes, seam: int, n_led: int) -> None:
        self.key = key  # the node before, and the text
        self.ids = ids  # from the seam of the node before to this seam
        self.tail = tail  # the text from which the text after the seam is encoded
        self.seam, self.n_led = seam, n_led  # the bytes of it before the seam, and their ids
        self.last: _Node | None = None  # the node that came after this one last time

    @property
    def size(self) -> int:
        """About how much memory it takes."""
        return NODE + len(self.key[1]) + len(self.ids) + len(self.tail)


@public("gputok")
class PrefixCache:
    """Encodes texts, and keeps the ids of their beginnings: of a text that begins like one before it, the rest is encoded.

    The ids are always those of `tokenizer.encode`. The key is the text itself, not a hash. What was used longest ago is
    dropped. Threads may share it; a copy, also by `pickle`, begins empty. If the tokenizer changes (`add_tokens`), the cache
    begins anew. For one chat, `Tokenizer.incremental` is faster.

    Args:
        tokenizer: a `Tokenizer`, also one that changes, or a `PreTrainedTokenizer`.
        max_bytes: the memory that the cache may take.

    Attributes:
        hits: how many texts began like one before them, for at least 4096 bytes.
        misses: how many did not.

    Raises:
        ValueError: `max_bytes` is negative, or the model draws random tokens.

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
        """Begins anew with another pipeline."""
        found = [Frame.of(pipeline, special) for special in (False, True)]
        around = [
            None if frame is None else (_packed(frame.before["ids"]), _packed(frame.after["ids"])) for frame in found
        ]
        known = _Known(pipeline, Seams.of(pipeline), around)
        self._root = _Node((None, b""), b"", b"", 0, 0)
        # The least recently used first. A path is used from its end to the root, so no node comes before those after it
        self._nodes: collections.OrderedDict[Any, _Node] = collections.OrderedDict()
        # Where a text ends in the tree -> the text up to there
        self._heads: dict[_Node, str] = {}
        self._in_nodes = self._in_heads = 0
        return known

    def __reduce__(self) -> tuple[Any, ...]:
        """Returns what makes an empty cache for the same tokenizer."""
        return PrefixCache, (self._tokenizer, self.max_bytes)

    @property
    def used(self) -> int:
        """About so many bytes are in use, at most `max_bytes`."""
        return self._in_nodes + self._in_heads

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
            head, n_chars = self._head(text)
            data = text[n_chars:].encode()
            node, at = self._end(head, data)
            if node is self._root:
                self.misses += 1
            else:
                self.hits += 1
        if (frame := known.frames[bool(add_special_tokens)]) is None:
            raise ValueError("the template of the post-processor must have the text exactly once")
        new, seams, end = list[_Node](), known.seams, node
        while at + BLOCK <= len(data) and seams.kind != "whole" and len(end.tail) < LONGEST_TAIL:
            block = data[at : at + BLOCK]
            at += BLOCK
            some, n_part = end.tail + block, 0
            while _goes_on(data, at - n_part):  # the next text may have another character there
                n_part += 1
            ids, seam, first, n_led = seams.cut(some[: len(some) - n_part], end.seam, end.n_led)
            end = _Node((end, block), ids, some[first:], seam - first, n_led)
            new.append(end)
        rest = seams.ids(end.tail + data[at:])[ID * end.n_led :]
        path = list[_Node]()
        while node.key[0] is not None:
            path.append(node)
            node = node.key[0]
        path.reverse()
        ids = b"".join([frame[0], *[one.ids for one in path], *[one.ids for one in new], rest, frame[1]])
        with self._lock:
            if known is self._known and self._keep(path, new):
                while path and _goes_on(data, at):  # a text can't be cut there
                    path.pop()
                    at -= BLOCK
                if path and path[-1] is not head and not text.isascii():
                    self._put_head(head, path[-1], text[: len(text) - len(data[at:].decode())])
                self._drop()
        return np.frombuffer(ids, np.uint32)

    def _head(self, text: str) -> tuple[_Node, int]:
        """Returns the end of the longest text that was kept as it came and that this text begins with, and its characters."""
        node, head = max(
            ((node, head) for node, head in self._heads.items() if text.startswith(head)),
            key=lambda found: len(found[1]),
            default=(self._root, ""),
        )
        return node, len(head)

    def _put_head(self, old: _Node, node: _Node, text: str) -> None:
        """Keeps a text that the tree has as it came, in place of one that it begins with."""
        self._drop_head(old)
        self._drop_head(node)
        self._heads[node] = text
        self._in_heads += sys.getsizeof(text)
        while len(self._heads) > HEADS or self._in_heads > self.max_bytes // 8:
            self._drop_head(next(iter(self._heads)))

    def _drop_head(self, node: _Node) -> None:
        if (head := self._heads.pop(node, None)) is not None:
            self._in_heads -= sys.getsizeof(head)

    def _end(self, node: _Node, data: bytes) -> tuple[_Node, int]:
        """Returns the last node of a text that goes on after a node, and the bytes up to there."""
        at = 0
        while True:
            found = node.last  # mostly the same again, and then no hash of the text is needed
            if found is None or not data.startswith(found.key[1], at):
                found = self._nodes.get((node, data[at : at + BLOCK]))
                if found is None:
                    return node, at
                node.last = found
            node, at = found, at + BLOCK

    def _keep(self, path: list[_Node], new: list[_Node]) -> bool:
        """Adds nodes to the end of a path; False if the path was dropped meanwhile."""
        nodes, node = self._nodes, path[-1] if path else self._root
        if path and node.key not in nodes:
            return False
        for one in new:
            one.key = node, one.key[1]
            if one.key not in nodes:  # else another thread was faster
                self._in_nodes += one.size
                nodes[one.key] = one
            node.last = nodes[one.key]
            node = node.last
            path.append(node)
        for one in reversed(path):
            nodes.move_to_end(one.key)
        return True

    def _drop(self) -> None:
        """Drops what was used longest ago."""
        while self.used > self.max_bytes:
            (before, _), one = self._nodes.popitem(last=False)
            self._in_nodes -= one.size
            self._drop_head(one)
            if before.last is one:
                before.last = None


def _goes_on(data: bytes, at: int) -> bool:
    """Whether a byte is not the first one of a character."""
    return 0 <= at < len(data) and data[at] & 0xC0 == 0x80


def _packed(ids: list[int]) -> bytes:
    return np.array(ids, np.uint32).tobytes()
