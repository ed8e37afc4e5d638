"""Work on threads: results in order, a bounded window of tasks, and an end that waits only for running tasks."""

import sys
import threading
import time

import pytest
from gputok.kernels.threads import Pool, begin, in_order, run


def task(function, *arguments):
    return lambda submit: submit(function, *arguments).result


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("ahead", [0, 2, 100])
def test_results_come_in_order(threads, ahead):
    def work(n):
        time.sleep(0.005 * (n % 3 == 0))
        return n * n

    found = list(in_order(((n, task(work, n)) for n in range(20)), threads, ahead))
    assert found == [(n, n * n) for n in range(20)]


@pytest.mark.parametrize(("threads", "ahead"), [(1, 0), (2, 3)])
def test_no_more_tasks_are_taken_than_the_window_holds(threads, ahead):
    taken = 0

    def tasks():
        nonlocal taken
        for n in range(50):
            taken += 1
            yield n, task(int, n)

    for n, _ in in_order(tasks(), threads, ahead):
        assert taken <= n + threads + ahead + 1


def test_an_error_ends_the_run_and_drops_waiting_tasks():
    begun, go = [], threading.Event()

    def work(n):
        begun.append(n)
        if n == 0:
            go.wait(5)
            raise OSError("no")
        go.set()
        time.sleep(0.01)

    with pytest.raises(OSError, match="no"):
        list(in_order(((n, task(work, n)) for n in range(100)), 2, 90))
    assert len(begun) < 20


def test_leaving_early_drops_waiting_tasks():
    begun = []
    results = in_order(((n, task(begun.append, n)) for n in range(100)), 1, 5)
    next(results)
    results.close()
    assert len(begun) <= 7


def test_a_task_ends_once_and_tells_how():
    go = threading.Event()
    task = begin(go.wait, 5)
    assert not task.done() and not task.wait(0.01) and not task.cancel()
    go.set()
    assert task.wait(5) and task.done() and task.result() is True and task.result() is True

    def fail():
        raise LookupError("gone")

    failed = begin(fail)
    for _ in range(2):
        with pytest.raises(LookupError, match="gone"):
            failed.result()


def test_a_task_that_was_cancelled_is_not_called():
    called, go = [], threading.Event()
    with Pool(1) as pool:
        begun = threading.Event()
        pool.submit(lambda: (begun.set(), go.wait(5)))
        second, third = pool.submit(called.append, 2), pool.submit(called.append, 3)
        assert begun.wait(5) and second.cancel()
        go.set()
        third.result()
    assert called == [3]


def test_a_pool_has_no_more_threads_than_it_may():
    lock, now, most = threading.Lock(), 0, 0

    def work():
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.002)
        with lock:
            now -= 1

    with Pool(3) as pool:
        tasks = [pool.submit(work) for _ in range(40)]
    assert all(task.done() for task in tasks) and most == 3


def test_all_tasks_end_before_an_error_of_one_leaves():
    ended = []

    def work(n):
        if n == 1:
            raise ValueError("one")
        time.sleep(0.05)
        ended.append(n)

    with pytest.raises(ValueError, match="one"):
        list(run(work, ((n,) for n in range(3)), 3))
    assert sorted(ended) == [0, 2]


def test_threads_are_traced_as_those_of_threading_are():
    seen = []
    before = threading.gettrace()
    threading.settrace(lambda *event: seen.append(event[0].f_code.co_name))
    try:
        begin(lambda: len(seen)).result()
    finally:
        threading.settrace(before)
    assert "<lambda>" in seen and sys.gettrace() is before
