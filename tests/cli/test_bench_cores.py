"""`python -m tests.bench cores`: what many threads would do, from shares that one thread shows."""

import json

import pytest

from gputok.recipes import recipe
from tests.bench import cores

PERF = """#!/bin/sh
case $1 in
record) exec sleep 60 ;;
report) printf '%9s%%  %s\n' 90.00 kernels.so 6.50 libpython3.11.so.1.0 1.50 _multiarray_umath.cpython.so ;;
esac
"""


@pytest.mark.parametrize(
    ("given", "seconds", "most"),
    [
        ({}, 10 / 64, "threads"),
        ({"lock": 0.05}, 0.5, "lock"),
        ({"writing": 2.0}, 2.0, "writing"),
        ({"n_bytes": 10**9}, 5.0, "memory"),
        ({"adding_up": [0, 0, 0, 0.2, 0.3]}, 10 / 64 + 0.2, "adding up"),
    ],
)
def test_what_takes_most_ends_the_growth(given, seconds, most):
    work = cores.Work("lines", 10**6, 0.001, 10.0, 0.0, [10.0, 5.0], [0.0] * 5, 0)
    assert work._replace(**given).predicted(3, 1e9) == (pytest.approx(seconds), most)


@pytest.mark.slow
def test_each_work_is_measured(tmp_path, monkeypatch):
    (tmp_path / "perf").write_text(PERF)
    (tmp_path / "perf").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(cores, "_SECONDS", 0)
    text, file = tmp_path / "text.txt", tmp_path / "tokenizer.json"
    text.write_text("one line, and another\n" * 900)
    tokenizer, trainer = recipe("bpe", vocab_size=300)
    tokenizer.train([str(text)], trainer, progress=False)
    tokenizer.save(str(file))
    works = [cores._measured(name, str(text), str(file)) for name in cores._MEMORY]
    for work in works:
        assert work.lock == pytest.approx(0.08) and work.n_bytes == 900 * 22
        assert min(work.measured) > 0 and work.seconds > 0
        assert (work.writing > 0) == (work.name == "ids to .npy")
        assert (min(work.adding_up) > 0) == (work.name == "count")
        assert len(work.line(1e9).split("  ")) > 8
    assert len(json.loads(cores.to_json(works, 1e9))["works"]) == len(works)
