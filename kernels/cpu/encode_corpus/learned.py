"""Words that the caches of several threads learn from each other.

Each thread has its own cache, so that none waits for another. But then each learns every word by itself: two threads that
encoded 30 MB of fifteen languages asked the model for 309,000 words instead of 250,000, and for 166,000 when they encoded the
same text again, since each met what the other had had before.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque

import numpy as np
from gputok.kernels.cpu.encode_corpus.cache import WordCache, adopt
from gputok.kernels.cpu.rewrite import gather
from gputok.kernels.signatures import NamedTuple

MOST_BYTES = 1 << 22  # of the words of a round; more would be long words, which a cache does not keep
ROUNDS_KEPT = 4  # rounds of each thread that wait until the others take their words
_ROOM = np.zeros(16, np.uint8)  # `adopt` reads so many bytes from where a word begins


class _Learned(NamedTuple):
    """What a model has been asked in a round."""

    by: int  # the number of the member
    text: np.ndarray  # uint8[]: the words, and _ROOM
    bounds: np.ndarray  # uint32[n + 1], of the words in it
    ids: np.ndarray  # uint32[]
    rows: np.ndarray  # int64[n + 1]


class Learning:
    """Caches for the same model, of any number of threads, that take words from each other.

    No thread waits for the lock: one that finds it taken goes on, and learns later. A process that was forked while another thread
    had the lock would wait for ever.
    """

    def __init__(self) -> None:
        self.lock, self.numbers, self.n_members, self.n_rounds = threading.Lock(), itertools.count(), 0, 0
        self.rounds: deque[_Learned] = deque()

    def give(self, learned: _Learned) -> None:
        """Offers the words of a round to the others."""
        if self.lock.acquire(blocking=False):
            try:
                self.rounds.append(learned)
                self.n_rounds += 1
                if len(self.rounds) > ROUNDS_KEPT * self.n_members:
                    self.rounds.popleft()
            finally:
                self.lock.release()

    def since(self, n_seen: int) -> tuple[int, list[_Learned]]:
        """Returns the number of rounds so far, and those after the first `n_seen` that are kept, the newest first."""
        if not self.lock.acquire(blocking=False):
            return n_seen, []
        try:
            n_new = min(self.n_rounds - n_seen, len(self.rounds))
            return self.n_rounds, [self.rounds[-1 - k] for k in range(n_new)]
        finally:
            self.lock.release()


class Member:
    """One of the caches, which one thread uses at a time.

    Args:
        learning: of the model.
    """

    def __init__(self, learning: Learning) -> None:
        self._learning, self._credit, self._seen = learning, 0, 0
        self._number = next(learning.numbers)
        learning.n_members = max(learning.n_members, self._number + 1)

    def give(self, data: np.ndarray, begin: np.ndarray, end: np.ndarray, ids: np.ndarray, rows: np.ndarray) -> None:
        """Offers the words data[begin[i]:end[i]], with ids[rows[i]:rows[i + 1]], to the others."""
        self._credit += len(begin)
        if self._learning.n_members > 1 and (end - begin).sum() <= MOST_BYTES:
            text, offsets = gather(data, begin, end)
            text, bounds = np.concatenate([text, _ROOM]), offsets.astype(np.uint32)
            self._learning.give(_Learned(self._number, text, bounds, ids, rows))

    def take(self, cache: WordCache) -> None:
        """Takes from the others, the newest first, at most as many words as were given: so this takes less time than learning."""
        if not self._credit or self._seen == self._learning.n_rounds:
            return
        self._seen, new = self._learning.since(self._seen)
        for learned in new:
            n = min(len(learned.bounds) - 1, self._credit)
            if n and learned.by != self._number:
                adopt(cache, learned.text, learned.bounds[: n + 1], learned.ids, learned.rows[: n + 1])
                self._credit -= n
