"""How many threads to use, and running kernels (which release the GIL) on them."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future

Tag = TypeVar("Tag")
Result = TypeVar("Result")
Submit = Callable[..., "Future[Any]"]
"""submit(function, *arguments), as a thread pool has it."""


def thread_count(threads: int | None = None) -> int:
    """`threads`, else the environment's GPUTOK_NUM_THREADS, else the cores that this process may use.

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
        raise ValueError(f"{source} must be a whole number of at least 1, not {threads!r}")
    return count


def run(task: Callable[..., Any], arguments: Iterable[tuple], threads: int) -> Iterator[Any]:
    """Yields task(*a) for each a of arguments, in order, run on so many threads.

    Leaving early (an error, Ctrl-C) drops the tasks that have not begun and waits only for those that run, so tasks
    should be slices of at most about 0.2 s.
    """
    arguments = list(arguments)
    if threads == 1 or len(arguments) < 2:
        yield from (task(*a) for a in arguments)
        return
    from concurrent.futures import ThreadPoolExecutor  # a thing that few short processes need

    with ThreadPoolExecutor(threads) as pool:
        try:
            yield from pool.map(task, *zip(*arguments, strict=True))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def in_order(
    tasks: Iterable[tuple[Tag, Callable[[Submit], Callable[[], Result]]]], threads: int, ahead: int
) -> Iterator[tuple[Tag, Result]]:
    """Yields (tag, result) of each (tag, begin) in order, where `begin(submit)` hands work to the pool, and what it
    returns waits for the result.

    `ahead`: how many tasks may wait for a thread, so that as many are read ahead of those at work. Leaving early (an
    error, Ctrl-C) drops the work that has not begun.

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
