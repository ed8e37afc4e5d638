"""Work on threads: results in order, a bounded window of tasks, and an end that waits only for running tasks."""

import threading
import time

import pytest
from gputok.kernels.threads import in_order


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
