"""Running kernels, which release the GIL, on several threads."""

from __future__ import annotations

import contextlib
import functools
import itertools
import operator
import os
import sys
import time
from _queue import Empty, SimpleQueue  # those of queue and threading, which take a millisecond to import
from _thread import allocate_lock
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, TypeVar

Item = TypeVar("Item")
Tag = TypeVar("Tag")
Result = TypeVar("Result")
# Symbols of distinct words for each thread that trains BPE: with fewer, threads wait for each other too long
PLACES_PER_THREAD = 500_000
Submit = Callable[..., "ThreadCall"]
"""submit(function, *arguments) lets a thread make a call, like the method of a thread pool."""


def thread_count(threads: int | None = None) -> int:
    """The number of threads: `threads`, or GPUTOK_NUM_THREADS, or the number of cores that this process may use.

    Raises:
        ValueError: The setting is not a whole number of at least 1.

    >>> thread_count(3)
    3
    """
    if sys.is_finalizing():
        return 1  # while Python ends, it starts no thread: whoever waits for one waits for ever
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


def run(
    task: Callable[..., Any], arguments: Iterable[tuple[Any, ...]], threads: int, ahead: int | None = None
) -> Iterator[Any]:
    """Yields task(*a) for each a of `arguments`, in order, and runs the tasks on several threads.

    If the caller stops early (an error, Ctrl-C), tasks that have not begun are dropped, and running ones are finished.
    So a task should take at most about 0.2 s. ahead: as for `in_order`; None: all tasks may wait.
    """
    arguments = list(arguments)
    if threads == 1 or len(arguments) < 2:
        yield from (task(*a) for a in arguments)
        return
    tasks = ((None, lambda submit, a=a: submit(task, *a).result) for a in arguments)
    for _, result in in_order(tasks, min(threads, len(arguments)), len(arguments) if ahead is None else ahead):
        yield result


def share(work: Callable[[Iterator[Item]], Result], items: Iterable[Item], threads: int) -> list[Result]:
    """Returns work(taken) of each thread, the caller's among them; `taken` yields the items that this thread takes.

    Cheaper than `run` if each thread prepares something, or if items take long to make: they are not all made before
    the work begins. If a thread fails, or with Ctrl-C, the others stop after the item that they work on. So an item
    should take at most about 0.2 s. Of several errors, the one at the first item is raised.

    Args:
        work: what each thread does with the items that it takes.
        items: may be long: an item is made when a thread takes it, in order, and one at a time.
        threads: the most threads that work.

    >>> sum(share(sum, range(5), threads=2))
    10
    """
    source = iter(items)
    first = [*itertools.islice(source, threads)]
    left, numbers, lock = itertools.chain(first, source), itertools.count(), allocate_lock()
    made: list[Result] = []
    errors: list[tuple[int, BaseException]] = []  # each with the number of its item; -1: Ctrl-C, which is raised first

    def one() -> None:
        number = -1

        def taken() -> Iterator[Item]:
            nonlocal number
            while True:
                with lock:
                    if errors:
                        return
                    number = next(numbers)
                    try:
                        item = next(left)
                    except StopIteration:
                        return
                yield item

        try:
            made.append(work(taken()))
        except BaseException as error:
            errors.append((number if isinstance(error, Exception) else -1, error))

    pool = ThreadPool(len(first) - 1)
    try:
        for _ in first[1:]:
            pool.submit(one)
        one()
        pool.stop()
    except BaseException as error:  # Ctrl-C, or no thread could be started
        errors.append((-1, error))
        pool.stop()
        raise
    if errors:
        raise min(errors, key=operator.itemgetter(0))[1]
    return made


def results(task: Callable[..., Result], arguments: Iterable[tuple[Any, ...]], threads: int) -> list[Result]:
    """Returns [task(*a) for a in arguments] when all results are there; by `share`, which is cheaper than `run`.

    >>> results(pow, [(n, 2) for n in range(4)], threads=2)
    [0, 1, 4, 9]
    """

    def work(taken: Iterator[tuple[int, tuple[Any, ...]]]) -> list[tuple[int, Result]]:
        return [(i, task(*a)) for i, a in taken]

    made = itertools.chain(*share(work, enumerate(arguments), threads))
    return [result for _, result in sorted(made, key=operator.itemgetter(0))]


class ThreadCall:
    """A call that one of several threads makes.

    Args:
        pool: the threads.
        function: what is called.
        arguments: of the call.
    """

    __slots__ = "_arguments", "_error", "_function", "_made", "_pool", "_value"

    def __init__(self, pool: ThreadPool, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self._pool, self._function, self._arguments = pool, function, arguments
        self._value: Any = None
        self._error: BaseException | None = None
        self._made = allocate_lock()  # held until the call has been made
        self._made.acquire()

    def make(self) -> BaseException | None:
        """Makes the call, and returns its error, which `result` raises."""
        try:
            self._value = self._function(*self._arguments)
        except BaseException as error:
            self._error = error
        self._function = self._arguments = None  # pyright: ignore[reportAttributeAccessIssue]  # frees what they hold
        self._made.release()
        return self._error

    @property
    def is_made(self) -> bool:
        """Whether the call has been made."""
        return not self._made.locked()

    def wait(self, seconds: float) -> bool:
        """Waits for the call, at most so many seconds; returns whether it has been made."""
        if self._made.acquire(timeout=seconds):
            self._made.release()
        return self.is_made

    def result(self) -> Any:
        """Waits for the result, or raises the error of the call. If the pool `helps`, makes other calls meanwhile."""
        while not self._made.acquire(blocking=False):
            if not self._pool.help():
                self._made.acquire()
                break
        self._made.release()
        if self._error is not None:
            raise self._error
        return self._value


class _Own:
    """A call that is made when its result is asked for, by the thread that asks."""

    __slots__ = ("result",)

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.result = functools.partial(function, *arguments)


class ThreadPool:
    """Threads that make calls, in the order of `submit`.

    Args:
        threads: how many threads.
        helps: whether the thread that waits for results is one of them, and makes calls meanwhile.
    """

    def __init__(self, threads: int, *, helps: bool = False) -> None:
        self._calls: SimpleQueue[ThreadCall | None] = SimpleQueue()
        self._helps, self._most, self._n_calls = helps, threads - helps, 0
        self._threads: list[Any] = []

    def submit(self, function: Callable[..., Any], *arguments: Any) -> ThreadCall:
        """Lets a thread call function(*arguments)."""
        call = ThreadCall(self, function, arguments)
        self._calls.put(call)
        self._n_calls += 1
        # With `helps`, the first call is for the thread that waits: starting a thread takes longer than a short text
        if len(self._threads) < min(self._most, self._n_calls - self._helps):
            import threading

            # A program that ends while it has such threads does not wait for them
            self._threads.append(threading.Thread(target=self._work, daemon=True))
            self._threads[-1].start()
        return call

    def help(self) -> bool:
        """Makes a call that no thread has begun; returns False if there is none, or if the pool has no `helps`."""
        try:
            call = self._calls.get_nowait() if self._helps else None
        except Empty:
            return False
        if call is None:
            return False
        error = call.make()
        if error is not None and not isinstance(error, Exception):  # Ctrl-C
            raise error
        return True

    def _work(self) -> None:
        while self._has_made_one():
            pass

    def _has_made_one(self) -> bool:
        # A function of its own, so that a thread that waits for its next call does not keep the last one in memory
        call = self._calls.get()
        if call is not None:
            call.make()
        return call is not None

    def stop(self) -> None:
        """Drops the calls that no thread has begun, and waits for those that are being made."""
        # When Python ends, it closes generators, which call this. From Python 3.13 on, daemon threads never end then
        if sys.is_finalizing():
            return
        with contextlib.suppress(Empty):
            while True:
                self._calls.get_nowait()
        for _ in self._threads:
            self._calls.put(None)
        for thread in self._threads:
            if thread.ident is not None:  # else the thread could not be started
                thread.join()


def in_order(
    tasks: Iterable[tuple[Tag, Callable[[Submit], Callable[[], Result]]]], threads: int, ahead: int
) -> Generator[tuple[Tag, Result], None, None]:
    """Yields (tag, result) of each (tag, begin), in order.

    If the caller stops early (an error, Ctrl-C), work that has not begun is dropped.

    If `ahead` is at least `threads`, the caller's thread is one of the threads: while the next result is not there, it
    works, since some systems let two new threads share a core for the first milliseconds. If `ahead` is smaller, it
    only waits: if it worked, the other threads would lack tasks, which only the caller's thread begins.

    Args:
        tasks: Pairs of a tag and a function `begin`. `begin(submit)` hands work to the threads, and returns a function
            that waits for the result.
        threads: Number of threads.
        ahead: Number of tasks that may wait for a thread, besides those at work.

    >>> tasks = ((n, lambda submit, n=n: submit(pow, n, 2).result) for n in range(4))
    >>> list(in_order(tasks, threads=2, ahead=1))
    [(0, 0), (1, 1), (2, 4), (3, 9)]
    """
    begun: deque[tuple[Tag, Callable[[], Result]]] = deque()
    pool, most = ThreadPool(threads, helps=ahead >= threads), threads + ahead
    submit: Callable[..., Any] = pool.submit
    if ahead >= threads == 1:
        most, submit = 0, _Own  # this thread does all work, so none can be ready earlier

    def first() -> tuple[Tag, Result]:
        # A function of its own: a variable of the generator would keep the result in memory until the next is asked for
        tag, result = begun.popleft()
        return tag, result()

    try:
        for tag, begin in tasks:
            begun.append((tag, begin(submit)))
            if len(begun) > most:
                yield first()
        while begun:
            yield first()
    finally:
        pool.stop()
