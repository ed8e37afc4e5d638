"""Running kernels, which release the GIL, on several threads."""

from __future__ import annotations

import itertools
import operator
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future

Item = TypeVar("Item")
Tag = TypeVar("Tag")
Result = TypeVar("Result")
# Symbols of distinct words; with fewer, threads that train BPE wait for each other too long
PLACES_PER_THREAD = 500_000
Submit = Callable[..., "Future[Any]"]
"""submit(function, *arguments), like the method of a thread pool."""


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
    from concurrent.futures import Future, ThreadPoolExecutor  # imported late: few short processes need it

    # If each task has a thread, the last one has this thread: to start another takes up to 0.5 ms
    n_pooled = len(arguments) - (len(arguments) <= threads)
    with ThreadPoolExecutor(min(threads, n_pooled)) as pool:
        try:
            futures = [pool.submit(task, *a) for a in arguments[:n_pooled]]
            for a in arguments[n_pooled:]:
                futures.append(Future())
                try:
                    futures[-1].set_result(task(*a))
                except Exception as error:
                    futures[-1].set_exception(error)
            for future in futures:
                yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def share(work: Callable[[Iterator[Item]], Result], items: Iterable[Item], threads: int) -> list[Result]:
    """Returns work(taken) of each thread, this one among them; `taken` yields what the thread takes from all items.

    Cheaper than `run` if there are many short tasks, or if each thread prepares something. This thread works, too, and does
    not only wait for others: some systems let two new threads share a core for the first milliseconds. If a thread fails, or
    with Ctrl-C, the others stop after the item that they work on. So an item should take at most about 0.2 s. Of several
    errors, the one at the first item is raised.

    Args:
        work: what each thread does with the items that it takes.
        items: may be long: an item is made when a thread takes it, in order, and one at a time.
        threads: at most so many threads work.

    >>> sum(share(sum, range(5), threads=2))
    10
    """
    source = iter(items)
    first = [*itertools.islice(source, threads)]
    left, numbers, lock = itertools.chain(first, source), itertools.count(), threading.Lock()
    made: list[Result] = []
    errors: list[tuple[int, BaseException]] = []  # each with the number of its item; Ctrl-C comes first

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

    # Not a pool: to import one takes 4 ms, as long as a first batch
    others = [threading.Thread(target=one) for _ in range(len(first) - 1)]
    begun: list[threading.Thread] = []
    try:
        for other in others:
            other.start()
            begun.append(other)
        one()
        for other in begun:
            other.join()
    except BaseException as error:  # Ctrl-C, or no thread could be started
        errors.append((-1, error))
        for other in begun:
            other.join()
        raise
    if errors:
        raise min(errors, key=operator.itemgetter(0))[1]
    return made


def results(task: Callable[..., Result], arguments: Iterable[tuple[Any, ...]], threads: int) -> list[Result]:
    """Returns [task(*a) for a in arguments]: as `run` does, but all of them when all are there, by `share`.

    >>> results(pow, [(n, 2) for n in range(4)], threads=2)
    [0, 1, 4, 9]
    """

    def work(taken: Iterator[tuple[int, tuple[Any, ...]]]) -> list[tuple[int, Result]]:
        return [(i, task(*a)) for i, a in taken]

    made = itertools.chain(*share(work, enumerate(arguments), threads))
    return [result for _, result in sorted(made, key=operator.itemgetter(0))]


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
    from concurrent.futures import ThreadPoolExecutor

    begun: deque[tuple[Tag, Callable[[], Result]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
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
            pool.shutdown(wait=False, cancel_futures=True)
