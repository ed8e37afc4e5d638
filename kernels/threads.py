"""Running kernels, which release the GIL, on several threads."""

from __future__ import annotations

import _thread
import contextlib
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from queue import Empty, SimpleQueue
from typing import Any, Self, TypeVar

Tag = TypeVar("Tag")
Result = TypeVar("Result")
# Symbols of distinct words; with fewer, threads that train BPE wait for each other too long
PLACES_PER_THREAD = 500_000


class Task:
    """A call of a function in another thread: `begin` makes one, or `Pool.submit`.

    Tasks and Pool are what this package needs of `concurrent.futures`, whose import takes 4 ms, as logging's does. A thread
    starts without the half millisecond in which `threading.Thread` waits for the thread to say so.
    """

    __slots__ = "_call", "_claim", "_ended", "_error", "_running", "_value"

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self._call: Any = function, arguments
        self._claim, self._running = _thread.allocate_lock(), _thread.allocate_lock()
        self._running.acquire()
        self._ended, self._value, self._error = False, None, None

    def __call__(self) -> None:
        """Calls the function, unless the task was cancelled."""
        if not self._claim.acquire(blocking=False):
            return
        function, arguments = self._call
        try:
            self._value = function(*arguments)
        except BaseException as error:
            self._error = error
        del function, arguments
        self._call = None  # the arguments may be large
        self._ended = True
        self._running.release()

    def cancel(self) -> bool:
        """Prevents the call; False if it has begun."""
        return self._claim.acquire(blocking=False)

    def done(self) -> bool:
        """True if the call has ended."""
        return self._ended

    def wait(self, seconds: float = -1) -> bool:
        """Waits until the call has ended, for so many seconds at most; below 0: for ever. True if it has ended."""
        if not self._ended and self._running.acquire(timeout=seconds):
            self._running.release()
        return self._ended

    def result(self) -> Any:
        """Waits until the call has ended; returns what it returned, or raises what it raised."""
        self.wait()
        try:
            if self._error is not None:
                raise self._error
            return self._value
        finally:
            del self  # else the error and its traceback would keep each other alive


Submit = Callable[..., Task]
"""submit(function, *arguments), like the method of a pool."""


def begin(function: Callable[..., Any], *arguments: Any) -> Task:
    """Calls a function in a new thread, which does not keep the process from ending.

    >>> begin(pow, 3, 2).result()
    9
    """
    task = Task(function, arguments)
    _thread.start_new_thread(_run, (task,))
    return task


def _run(task: Task) -> None:
    if (trace := threading.gettrace()) is not None:  # as threading.Thread does, for debuggers and coverage
        sys.settrace(trace)
    task()


class Pool:
    """Threads that make calls in order. At the end of a `with` block, it waits for all calls.

    >>> with Pool(2) as pool:
    ...     [task.result() for task in [pool.submit(pow, n, 2) for n in range(4)]]
    [0, 1, 4, 9]
    """

    def __init__(self, threads: int) -> None:
        self._most, self._tasks = threads, SimpleQueue[Task | None]()
        self._threads: list[Task] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.wait()

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Task:
        """Has a thread call a function."""
        task = Task(function, arguments)
        self._tasks.put(task)
        if len(self._threads) < self._most:
            self._threads.append(begin(_work, self._tasks))
        return task

    def drop(self) -> None:
        """Drops the calls that have not begun. Their tasks never end."""
        with contextlib.suppress(Empty):
            while True:
                self._tasks.get_nowait()


def _work(tasks: SimpleQueue[Task | None]) -> None:
    while (task := tasks.get()) is not None:
        task()
        del task  # frees its result before the next task comes


def thread_count(threads: int | None = None) -> int:
    """The number of threads: `threads`, or GPUTOK_NUM_THREADS, or the number of cores that this process may use.

    Raises:
        ValueError: The setting is not a whole number of at least 1.

    >>> thread_count(3)
    3
    """
    source = "threads"
    if threads is None:
        source, threads = "GPUTOK_NUM_THREADS", os.environ.get("GPUTOK_NUM_THREADS")
    if threads in (None, ""):
        cores = getattr(os, "process_cpu_count", None)  # Python 3.13
        return (cores() if cores else len(os.sched_getaffinity(0))) or 1
    try:
        count = int(threads)
    except ValueError:
        count = 0
    if count < 1:
        raise ValueError(f"{source} must be a whole number of at least 1, got {threads!r}")
    return count


def yield_core() -> None:
    """Lets another thread have the core of this one, if any waits for it."""
    if hasattr(os, "sched_yield"):
        os.sched_yield()
    else:
        time.sleep(0)


def run(task: Callable[..., Any], arguments: Iterable[tuple[Any, ...]], threads: int) -> Iterator[Any]:
    """Yields task(*a) for each a of `arguments`, in order, and runs the tasks on several threads.

    If the caller stops early (an error, Ctrl-C), tasks that have not begun are dropped, and running tasks are finished. So
    a task should take at most about 0.2 s.
    """
    arguments = list(arguments)
    if threads == 1 or len(arguments) < 2:
        yield from (task(*a) for a in arguments)
        return
    # If each task has a thread, the last one has this thread
    n_pooled = len(arguments) - (len(arguments) <= threads)
    with Pool(min(threads, n_pooled)) as pool:
        try:
            begun = [pool.submit(task, *a) for a in arguments[:n_pooled]]
            for a in arguments[n_pooled:]:
                begun.append(Task(task, a))
                begun[-1]()
            for each in begun:
                yield each.result()
        except BaseException:
            pool.drop()
            raise


def in_order(
    tasks: Iterable[tuple[Tag, Callable[[Submit], Callable[[], Result]]]], threads: int, ahead: int
) -> Generator[tuple[Tag, Result], None, None]:
    """Yields (tag, result) of each (tag, begin), in order.

    If the caller stops early (an error, Ctrl-C), work that has not begun is dropped.

    Args:
        tasks: Pairs of a tag and a function `begin`. `begin(submit)` hands work to the pool, and returns a function that
            waits for the result.
        threads: Number of threads.
        ahead: Number of tasks that may wait for a thread, besides those at work.

    >>> tasks = ((n, lambda submit, n=n: submit(pow, n, 2).result) for n in range(4))
    >>> list(in_order(tasks, threads=2, ahead=1))
    [(0, 0), (1, 1), (2, 4), (3, 9)]
    """
    begun: deque[tuple[Tag, Callable[[], Result]]] = deque()
    with Pool(threads) as pool:
        try:
            for tag, begin in tasks:
                begun.append((tag, begin(pool.submit)))
                if len(begun) > threads + ahead:
                    tag, result = begun.popleft()
                    yield tag, result()
            while begun:
                tag, result = begun.popleft()
                yield tag, result()
        finally:
            pool.drop()
