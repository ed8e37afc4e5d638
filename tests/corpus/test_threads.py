"""Work on threads: results in order, a bounded window of tasks, and an end that waits only for running tasks."""

import subprocess
import sys
import threading
import time
import weakref

import pytest
from gputok.kernels.threads import in_order, results, share


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


@pytest.mark.parametrize(("threads", "ahead", "works"), [(1, 1, True), (3, 3, True), (3, 2, False), (1, 0, False)])
def test_who_waits_for_results_works_if_enough_tasks_wait(threads, ahead, works):
    def work(n):
        time.sleep(0.002)
        return threading.get_ident()

    idents = {ident for _, ident in in_order(((n, task(work, n)) for n in range(30)), threads, ahead)}
    assert (threading.get_ident() in idents) == works
    assert len(idents) == threads


def test_one_task_needs_no_other_thread():
    tasks = [("only", lambda submit: submit(threading.get_ident).result)]
    before = threading.active_count()
    for found in in_order(tasks, 3, 3):
        assert found == ("only", threading.get_ident()) and threading.active_count() == before


@pytest.mark.parametrize(
    "begin", ["tokenizer.encode_corpus(path, threads=3, progress=False)", "corpus.read(path, threads=3)"]
)
def test_a_program_ends_while_it_reads_a_corpus(tmp_path, begin):
    """Its threads are not waited for: from Python 3.13 on, daemon threads never end when Python ends."""
    (tmp_path / "a.txt").write_text("some words of a text\n" * 400_000, encoding="utf-8")
    program = f"""
from gputok import Tokenizer, corpus, models, pre_tokenizers
tokenizer = Tokenizer(models.BPE())
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
path = {str(tmp_path / "a.txt")!r}
batches = iter({begin})
next(batches)
print("the end")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=True)
    assert (done.stdout, done.stderr) == ("the end\n", "")


def test_an_interrupt_is_raised_in_the_thread_that_waits():
    here, go = threading.get_ident(), threading.Event()

    def work(n):
        if threading.get_ident() == here:
            raise KeyboardInterrupt
        go.wait(5)

    threading.Timer(0.2, go.set).start()
    start = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        list(in_order(((n, task(work, n)) for n in range(9)), 2, 2))
    assert time.perf_counter() - start < 4  # only calls that have begun are waited for


@pytest.mark.parametrize("ahead", [0, 2])
def test_no_result_is_held_after_its_turn(ahead):
    class Result:
        pass

    def work():
        time.sleep(0.01)
        return Result()

    for _, result in in_order(((n, task(work)) for n in range(4)), 2, ahead):
        alive = weakref.ref(result)
        del result
        time.sleep(0.02)
        assert alive() is None


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_share_items_and_results_keep_the_order(threads):
    def work(taken):
        time.sleep(0.01)  # so that no thread takes all items before the others begin
        return threading.get_ident(), [time.sleep(0.001) or n for n in taken]

    found = share(work, range(50), threads)
    assert sorted(n for _, taken in found for n in taken) == [*range(50)]
    assert len(found) == threads and threading.get_ident() in {ident for ident, _ in found}
    assert results(lambda a, b: time.sleep(0.001 * (a % 3)) or a - b, ((n, 1) for n in range(20)), threads) == [
        *range(-1, 19)
    ]
    assert share(list, [], threads) == [[]] and results(int, [], threads) == []


def test_items_that_are_shared_are_made_one_at_a_time():
    made, making = [], threading.Lock()

    def items():
        for n in range(100):
            assert making.acquire(blocking=False)
            time.sleep(0.001)
            made.append(n)
            making.release()
            yield n

    def work(taken):
        for n in taken:
            if n == 5:
                raise OSError("no")
            time.sleep(0.005)

    with pytest.raises(OSError, match="no"):
        share(work, items(), 3)
    assert 6 <= len(made) < 20


def test_of_several_errors_that_of_the_first_item_is_raised():
    second = threading.Event()

    def work(taken):
        for n in taken:
            if n == 0:
                assert second.wait(5)
            else:
                second.set()
            raise OSError(f"item {n}")

    for _ in range(20):
        second.clear()
        with pytest.raises(OSError, match="item 0"):
            share(work, range(2), 2)


def test_an_item_that_can_not_be_made_fails_after_the_items_before():
    begun = threading.Event()

    def items():
        yield 0
        yield 1
        assert begun.wait(5)
        raise OSError("item 2")

    def work(taken):
        for n in taken:
            if n == 0:
                begun.set()
                time.sleep(0.05)
                raise ValueError("item 0")

    with pytest.raises(ValueError, match="item 0"):
        share(work, items(), 2)


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
@pytest.mark.parametrize("here", [False, True], ids=["another thread", "this thread"])
def test_an_error_in_one_thread_ends_the_others(error, here):
    begun, me, other = [], threading.get_ident(), threading.Event()

    def work(n):
        begun.append(n)
        if (threading.get_ident() == me) == here:
            other.wait(5)
            raise error("no")
        other.set()
        time.sleep(0.01)

    with pytest.raises(error, match="no"):
        results(work, ((n,) for n in range(100)), 2)
    assert len(begun) < 20
