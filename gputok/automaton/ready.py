"""Automata of well-known patterns, compiled when this package was written.

Compiling GPT-2's pattern would take 6 ms of each process, and importing the compiler 3 ms, as long as a small training.
"""

from __future__ import annotations

import functools
import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from gputok.kernels import Automaton

if TYPE_CHECKING:
    from gputok.types import Bytes

FILE = os.path.join(os.path.dirname(__file__), "ready.npy")
"""Uint8[n], keys (patterns) and their automata, one after the other; `tests/make_automata.py` writes them."""
BERT_WORDS = b"\xffBertPreTokenizer"
"""The key of the words of BertPreTokenizer. Patterns are stored in UTF-8, which never has the byte 0xFF."""
# The int64 numbers before each key: the number of bytes that follow, the bytes of the key, the numbers of states, of
# classes and of pages, and `gapless`
_HEAD = 6


def ready(pattern: str) -> Automaton | None:
    """Returns the automaton of a pattern, if the file has it.

    >>> from gputok.automaton.patterns import PATTERNS
    >>> ready(PATTERNS["gpt2"]).gapless, ready("a|b")
    (True, None)
    """
    return named(pattern.encode(errors="surrogatepass"))


@functools.cache
def ready_splits(patterns: tuple[str, ...]) -> Automaton | None:
    """Returns the automaton that cuts as these patterns do, each within the words of the one before; or None."""
    return named(splits_key(patterns))


def splits_key(patterns: tuple[str, ...]) -> bytes:
    """Returns the key for `ready_splits`: the patterns, and between them the byte 0xFE, which UTF-8 never has."""
    return b"\xfe".join(pattern.encode(errors="surrogatepass") for pattern in patterns)


def named(key: bytes) -> Automaton | None:
    """Returns an automaton by its key in the file: a pattern in UTF-8, BERT_WORDS, or a `splits_key`."""
    found = _ready().get(key)
    if found is None:
        return None
    head, data = found
    arrays, at = [], 0
    for dtype, shape in forms(head):
        n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
        arrays.append(data[at : at + n_bytes].view(dtype).reshape(shape))
        at += rounded(n_bytes)
    return Automaton(*arrays, gapless=bool(head[-1]))


@functools.cache
def _ready() -> dict[bytes, tuple[list[int], Bytes]]:
    """Key -> the numbers before it (`_HEAD`) without the first, and the bytes of the arrays of its automaton."""
    data, at, found = np.load(FILE), 0, {}
    while at < len(data):
        n_bytes, *head = data[at : at + 8 * _HEAD].view(np.int64).tolist()
        at += 8 * _HEAD
        key = data[at : at + head[0]].tobytes()
        found[key] = head, data[at + rounded(head[0]) : at + n_bytes]
        at += n_bytes
    return found


def forms(head: list[int]) -> list[tuple[Any, tuple[int, ...]]]:
    """The dtype and the shape of each array of an automaton, in the order of its fields; head: of `_ready`."""
    _, n_states, n_classes, n_pages, _ = head
    by_state = n_states, n_classes + 1
    return [
        (np.uint8, (128,)),
        (np.uint16, (0x110000 >> 7,)),
        (np.uint8, (n_pages, 128)),
        (np.uint16, by_state),
        (np.uint8, by_state),
        (np.uint8, (n_classes, n_classes)),
    ]


def rounded(n_bytes: int) -> int:
    """Returns the next multiple of 8: in the file, each array begins at one."""
    return -(-n_bytes // 8) * 8
