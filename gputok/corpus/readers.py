"""Reads with several threads, and gives the batches in order.

A task reads a part of a corpus: a range of a file, a few small files, some row groups, or a stream that can't be cut.
Threads take the tasks in order; the batches of a task wait until its turn comes. How much may wait is limited: a few
more tasks than threads, if a task gives about a batch; if tasks give more (a compressed file, a row group),
`ahead_bytes` bytes, so that threads unpack the next files before their turn.
"""

from __future__ import annotations

import itertools
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from threading import Condition, RLock, Thread
from typing import NamedTuple

from gputok.text.pieces import RawLines, TextBatch

_TASKS_AHEAD = 1  # tasks that may wait, besides one for each thread
_BATCHES_WAITING = 2  # the most batches that wait of the task whose turn it is
_JOIN_SECONDS = 1.0  # how long to wait for the end of a thread, which may itself wait for a network or a pipe


class Task(NamedTuple):
    """What one thread reads."""

    read: Callable[[], Iterable[TextBatch | RawLines]]  # returns the batches
    is_long: bool = False  # True if it may give many batches


class _Taken:
    """A task that a thread has taken, and its batches that wait."""

    def __init__(self) -> None:
        self.batches: deque[TextBatch | RawLines] = deque()
        self.error: BaseException | None = None
        self.is_done = False


def in_order(tasks: Iterable[Task], threads: int, ahead_bytes: int) -> Iterator[TextBatch | RawLines]:
    """Reads tasks with several threads; yields their batches in order, and raises an error in its turn.

    One thread at a time takes the next task when it is ready to read it. The caller's thread reads if `threads` is 1,
    or if only one task exists. ahead_bytes: how many bytes may wait for their turn before long tasks pause.
    """
    tasks = iter(tasks)
    first = list(itertools.islice(tasks, 2))
    if threads == 1 or len(first) < 2:
        for task in itertools.chain(first, tasks):
            yield from task.read()
        return
    reading = _Reading(itertools.chain(first, tasks), threads, ahead_bytes)
    try:
        yield from reading.batches()
    finally:
        reading.stop()


class _Reading:
    """The state that the threads and their reader share; it is read and changed only under the lock `_lock`."""

    def __init__(self, tasks: Iterator[Task], threads: int, ahead_bytes: int) -> None:
        self._tasks, self._most, self._ahead_bytes = tasks, threads + _TASKS_AHEAD, ahead_bytes
        # `with` enters it, not the Condition: Ctrl-C amid the Python code of Condition.__enter__ would leave it locked
        self._lock = RLock()
        self._changed = Condition(self._lock)
        self._taken: deque[_Taken] = deque()  # in order
        self._waiting_bytes = 0  # of the batches that wait, of tasks whose turn has not come
        self._is_last = self._is_stopped = False  # no task is left; the reader has stopped
        self._threads = [Thread(target=self._work, daemon=True, name="gputok-reader") for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def batches(self) -> Iterator[TextBatch | RawLines]:
        while True:
            batch = None  # frees the last batch before waiting for the next
            with self._lock:
                while not (self._taken and (self._taken[0].batches or self._taken[0].is_done)):
                    if self._is_last and not self._taken:
                        return
                    self._changed.wait()
                head = self._taken[0]
                if head.batches:
                    batch = head.batches.popleft()
                else:
                    self._taken.popleft()
                    if self._taken:  # its turn has come, so its batches no longer count as ahead
                        self._waiting_bytes -= sum(batch.data.nbytes for batch in self._taken[0].batches)
                self._changed.notify_all()
            if batch is not None:
                yield batch
            elif head.error is not None:
                raise head.error

    def stop(self) -> None:
        if sys.is_finalizing():  # then daemon threads never end (see `ThreadPool.stop`)
            return
        with self._lock:
            self._is_stopped = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(_JOIN_SECONDS)

    def _work(self) -> None:
        while (begun := self._take()) is not None:
            task, taken = begun
            error = None
            try:
                for batch in task.read():
                    if not self._put(batch, task, taken):
                        return
            except BaseException as raised:
                error = raised
            with self._lock:
                taken.error, taken.is_done = error, True
                self._changed.notify_all()

    def _take(self) -> tuple[Task, _Taken] | None:
        with self._lock:
            while len(self._taken) >= self._most and not self._is_stopped:
                self._changed.wait()
            if self._is_last or self._is_stopped:
                return None
            taken = _Taken()
            try:
                task = next(self._tasks)
            except StopIteration:
                self._is_last = True
                self._changed.notify_all()
                return None
            except BaseException as error:
                taken.error, taken.is_done, self._is_last = error, True, True
                self._taken.append(taken)
                self._changed.notify_all()
                return None
            self._taken.append(taken)
            return task, taken

    def _put(self, batch: TextBatch | RawLines, task: Task, taken: _Taken) -> bool:
        """Waits until a batch may be added, and adds it; returns False if the reader has stopped."""
        with self._lock:
            while not self._is_stopped and not self._has_room(batch, task, taken):
                self._changed.wait()
            if taken is not self._taken[0]:
                self._waiting_bytes += batch.data.nbytes
            taken.batches.append(batch)
            self._changed.notify_all()
            return not self._is_stopped

    def _has_room(self, batch: TextBatch | RawLines, task: Task, taken: _Taken) -> bool:
        if taken is self._taken[0]:
            return len(taken.batches) < _BATCHES_WAITING
        return not task.is_long or self._waiting_bytes + batch.data.nbytes <= self._ahead_bytes
