"""Progress: bars, lines of JSON, calls of a function, and when nothing is shown."""

import json
import re
import time

import pytest
from gputok.kernels.native.preparation import preparation

from gputok.progress import reporting

STEPS = [("count", 0, None), ("count", 5_000_000, None), ("merge", 0, 10), ("merge", 10, 10)]


@pytest.mark.parametrize("progress", [None, False])
def test_nothing_is_written_without_a_terminal(progress, capsys):
    with reporting(progress) as report:
        for step in STEPS:
            report(*step)
    assert capsys.readouterr() == ("", "")


def test_a_function_is_called():
    calls = []
    with reporting(lambda *call: calls.append(call)) as report:
        for step in STEPS:
            report(*step)
    assert calls == STEPS


def test_bars_go_to_standard_error_one_for_each_stage(capsys):
    with reporting(True) as report:
        for step in STEPS:
            report(*step)
    out, err = capsys.readouterr()
    assert out == ""
    last = [line.split("\r")[-1] for line in err.strip().split("\n")]
    assert len(last) == 2
    assert last[0].startswith("count: 5.00MB") and "B/s" in last[0]
    assert last[1].startswith("merge: 100%") and "10/10" in last[1] and "merges/s" in last[1]


def test_the_detail_of_a_stage_may_change(capsys):
    with reporting(True) as report:
        report("EM: 900 pieces", 1, 3)
        report("EM: 700 pieces", 3, 3)
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "700 pieces" in err


def test_lines_of_json(capsys):
    with reporting("json") as report:
        report("merge", 1, None)
    assert json.loads(capsys.readouterr().err) == {"stage": "merge", "done": 1, "total": None}


def test_rates_exclude_the_preparation_of_kernels(capsys):
    with reporting(True) as report:
        report("count", 0, 1_000_000)
        with preparation.going_on():
            time.sleep(0.5)
        report("count", 1_000_000, 1_000_000)
    (rate,) = re.findall(r"([\d.]+)([kMGT]?)B/s", capsys.readouterr().err.rpartition("\r")[2])
    assert float(rate[0]) * {"M": 1, "G": 1000, "T": 1e6}[rate[1]] > 4  # not the 2 MB/s of all the time
