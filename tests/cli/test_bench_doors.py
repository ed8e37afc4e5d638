"""`gputok bench latency --doors`: prompts, batches and first texts, each package in a process of its own."""

import lzma

import pytest

from gputok import Tokenizer, models
from gputok.bench import processes
from gputok.bench.processes import Ended, Row


def test_doors_need_much_text(tmp_path):
    path, text = tmp_path / "tokenizer.json", tmp_path / "text.txt"
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "?": 1}, unk_token="?"))
    tokenizer.save(str(path))
    text.write_text("a few words\n" * 100)
    with pytest.raises(ChildProcessError, match=r"the text has 1,200 characters, and at least 10,000,000 are needed"):
        processes.doors([str(path)], str(text))
    with pytest.raises(ValueError, match=r"--peer /no/python can't be run: No such file"):
        processes.doors([str(path)], str(text), ["/no/python"])
    (tmp_path / "python").write_text("#!/bin/sh\n")
    (tmp_path / "python").chmod(0o755)
    with pytest.raises(ValueError, match="can't be run: exit status 0, no result"):
        processes.start([str(path)], peers=[str(tmp_path / "python")])
    (tmp_path / "python").write_text("#!/bin/sh\necho '[]'\n")
    with pytest.raises(ValueError, match=r"--peer .*/python has no package tokenizers or gigatoken"):
        processes.start([str(path)], peers=[str(tmp_path / "python")])


def test_tables():
    rows = [
        Row("t", "gputok", {"11 characters, us": 0.5}),
        Row("t", "tokenizers 1.0", {"11 characters, us": 1.0, "first, s": 0.25}),
        Row("u", "gputok", {"imports": 3.0}),
    ]
    lines = processes.table(rows).splitlines()
    assert lines[0] == "t: (1) gputok, (2) tokenizers 1.0; (1) / (2)"
    assert lines[1].split() == ["11", "characters,", "us", "0.5", "1", "0.5"]
    assert lines[2].split() == ["first,", "s", "-", "0.25", "-"]
    assert lines[3:] == ["", "u: (1) gputok", "  imports  3"]


def test_different_results_are_not_reported(monkeypatch):
    """Of tokenizers whose files have one name, each is a task."""
    given = []

    def one(python, program, package, path, *_):
        given.append(path)
        ids = [1, 2] if (package, path) == ("tokenizers", "b/t.json") else [1]
        return Ended({"name": package, "checked": [("a text", ids)], "figures": {"x": [1.0, 2.0]}}, 1.0, 1.0)

    monkeypatch.setattr(processes, "run", one)
    with pytest.raises(ValueError, match=r"with b/t.json, gputok gives \[1\] for 'a text', and tokenizers \[1, 2\]"):
        processes.latency(["a/t.json", "b/t.json"], runs=2)
    assert given == ["a/t.json"] * 4 + ["b/t.json"] * 4
    assert processes.latency(["a/t.json"])[0] == Row("t.json", "gputok", {"x": 1.5})


@pytest.mark.full
def test_doors(test_data, tmp_path):
    name = "minilm-bert.json"
    path, text = tmp_path / name, tmp_path / "en.txt"
    path.write_bytes(lzma.decompress((test_data / "tokenizers" / f"{name}.xz").read_bytes()))
    text.write_bytes(lzma.decompress((test_data / "data" / "en.txt.xz").read_bytes()))
    found = processes.doors([str(path)], str(text))  # raises if the ids differ
    assert {row.package for row in found} >= {"gputok", "gputok as tokenizers"}
    assert all(value > 0 for row in found for value in row.figures.values())
