"""`python -m tests.bench scale`: drawn texts, on which tasks are timed with and without a memory limit."""

import json
import sys

import numpy as np
import pytest

from gputok.counts import partitions
from tests.bench import count_stages, scale
from tests.bench.__main__ import app


def test_a_longer_text_begins_with_a_shorter_one():
    short, long = "".join(scale.documents(100_000)), "".join(scale.documents(300_000))
    assert 100_000 <= len(short) < 200_000 and long.startswith(short) and 300_000 <= len(long) < 400_000
    assert set(long) == set("etaoinsh ") and "  " not in long and long.endswith(" ")
    assert "".join(scale.documents(100_000, seed=1)) != short


def test_each_rank_has_a_word_of_its_own():
    ranks = np.concatenate([np.arange(1, 5000), 8 ** np.arange(1, 15), 8 ** np.arange(1, 15) - 1, [2**44 + 1]])
    words = scale._spelled(ranks.astype(np.uint64)).decode().split(" ")
    digits = [np.base_repr(rank, 8)[::-1] for rank in ranks.tolist()]
    assert words == ["".join("etaoinsh"[int(digit)] for digit in number) for number in digits] + [""]


def test_words_are_drawn_by_their_law():
    ranks = scale._drawn(np.random.default_rng(0), 200_000)
    for rank in (1, 10, 100, 1000, 10**6):
        expected = (1 + (rank - 1) / 100) ** -0.33  # of the words, those of this rank or a higher one
        assert np.mean(ranks >= rank) == pytest.approx(expected, abs=0.005)


@pytest.fixture
def in_process(monkeypatch):
    """Jobs run in this process, whose peak of memory says nothing, on a few small texts."""
    for name, value in {"_LEAST_BYTES": 300_000, "_SHARDS": 5, "_VOCAB_SIZE": 300}.items():
        monkeypatch.setattr(scale, name, value)
    monkeypatch.setattr(scale, "_run", scale._measured)
    monkeypatch.setattr(scale, "_stages", lambda n_bytes: [])


TASKS = ["count", "count", "train", "add up", "add up"]


def test_sizes_double_and_counts_are_compared(in_process, monkeypatch):
    spilled = []
    write = partitions.Spilled.write
    monkeypatch.setattr(partitions, "_TABLES_SHARE", 0.05)
    monkeypatch.setattr(partitions.Spilled, "write", lambda *given: spilled.append(0) or write(*given))
    found = scale.scale("1.2MB", memory_limit="80MB", threads=2, progress=False)
    assert [row.n_bytes for row in found.rows] == [300_000] * 5 + [600_000] * 5 + [1_200_000] * 5
    assert [row.task for row in found.rows] == TASKS * 3
    assert [row.memory_limit for row in found.rows] == [80_000_000, None, None, 80_000_000, None] * 3
    assert len({(row.n_words, row.n_distinct) for row in found.rows}) == 3
    assert all(row.seconds > 0 and row.file_bytes > 0 for row in found.rows) and found.skipped == []
    assert len(spilled) > 6
    table = found.table().splitlines()
    assert len(table) == 2 + 15
    assert json.loads(found.to_json())["rows"][3]["task"] == "add up"


def test_stages_of_counting_are_timed_alone(tmp_path):
    found = scale.stages_of(scale.Job("stages", 300_000, None, 1, str(tmp_path)))
    names = [
        "read text",
        "read text, from the disk",
        "read JSON Lines",
        "read Parquet",
        "read .zst, one frame",
        "read .zst, frames",
    ]
    assert [speed.stage for speed in found] == [*names, "cut", "hand out", "count", "add up"]
    for speed in found:
        assert len(speed.rates) == len(count_stages.THREADS) and min(speed.rates) > 0
        one, two, *predicted = speed.rates
        if speed.stage.endswith("frames"):
            assert predicted == [pytest.approx(min(threads * one, found[0].rates[0])) for threads in (4, 16, 64)]
        elif speed.is_shared:
            assert predicted == [pytest.approx(threads * one) for threads in (4, 16, 64)]
        elif speed.stage.startswith("read"):
            assert predicted == [max(one, two)] * 3
    table = scale.Simulation(2, [], [], found).table().splitlines()
    assert "1 and 2 measured, the others predicted" in table[2] and len(table) == 3 + 1 + 10 + 1 + 6


@pytest.mark.parametrize(
    ("rates", "whole", "most"),
    [
        ((4, 100, 100, 4, 100), 1 / (1 / 4 + 1 / 4 + 1 / 100), "what all threads share"),
        ((4, 1, 100, 4, 100), 1 / (1 + 1 / 100), "cut"),
        ((4, 100, 100, 4, 1), 1 / (1 / 4 + 1 / 4 + 1), "add up"),
    ],
)
def test_the_slowest_stage_ends_the_growth(rates, whole, most):
    names = ("read text", True), ("cut", False), ("hand out", False), ("count", True), ("add up", False)
    speeds = [
        count_stages.Speed(stage, [float(rate)] * 5, is_shared)
        for (stage, is_shared), rate in zip(names, rates, strict=True)
    ]
    assert count_stages.whole(speeds[0], speeds, 4) == (pytest.approx(whole), most)


def test_different_counts_are_not_reported(in_process, monkeypatch):
    digests = iter("abcdef")
    run = scale._run
    monkeypatch.setattr(scale, "_run", lambda job: (run(job)[0], next(digests)))
    with pytest.raises(ValueError, match="not reported: counts of 300,000 bytes of text depend on"):
        scale.scale(300_000)


@pytest.mark.parametrize(
    ("minutes", "kept", "why"),
    [
        (2.5, [], "count with the limit, from 1 MB of text on: about 44 s more are not left"),
        (10, ["count"], "count, from 1 MB of text on: about 2.2 GB are more than a third of the memory"),
    ],
)
def test_what_would_take_too_much_is_left_out(minutes, kept, why, in_process, monkeypatch):
    now = [0]

    def slow(job):
        now[0] += 20
        return scale.Row(job.task, job.n_bytes, 1, 1, job.memory_limit, 1, 1, 10**9, 1, 1), "digest"

    monkeypatch.setattr(scale, "_machine_memory", lambda: 3e9)
    monkeypatch.setattr(scale, "_run", slow)
    monkeypatch.setattr(scale.time, "monotonic", lambda: now[0])
    found = scale.scale("600kB", minutes=minutes)
    assert [row.task for row in found.rows] == TASKS + kept
    assert f"skipped: {why}" in found.table().splitlines()


@pytest.mark.slow
def test_a_process_measures_itself(tmp_path):
    job = scale.Job("count", 1_000_000, 40_000_000, 2, str(tmp_path))
    row, digest = scale._run(job)
    assert row.task == "count" and len(digest) == 64 and 0 < row.runtime_bytes <= row.peak_bytes
    with pytest.raises(ChildProcessError, match=r"bake of 1,000,000 bytes of text failed: KeyError: 'bake'"):
        scale._run(job._replace(task="bake"))


def test_the_command(in_process, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        app(["scale", "--size", "300kB", "--memory-limit", "80MB", "--json"])
    assert len(json.loads(capsys.readouterr().out)["rows"]) == 5
    with pytest.raises(ValueError, match="size='1 apple': expected a number of bytes"):
        app(["scale", "--size", "1 apple"])


def test_pyarrow_is_asked_for_before_anything_is_counted(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "pyarrow.parquet", raising=False)
    monkeypatch.setattr(scale, "_run", None)
    with pytest.raises(ImportError, match=r"^the simulation needs PyArrow: pip install 'gputok\[arrow\]'$"):
        scale.scale("1MB")
