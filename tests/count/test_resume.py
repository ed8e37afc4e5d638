"""Counting in a work folder goes on after a kill, with the same bytes in the end."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
from children import child, end

import gputok
from gputok import Tokenizer, WordCounts, cli, models, pre_tokenizers
from gputok.corpus import Source
from gputok.corpus.options import ReadSizes
from gputok.files.atomic import locked
from gputok.pipeline.count import resume
from gputok.pipeline.run import Run


@pytest.fixture
def folder(tmp_path) -> pathlib.Path:
    """With one large file of text and many small ones."""
    (tmp_path / "corpus").mkdir()
    lines = [f"the {i} house of {i % 7}, naïve {i * i}\n" for i in range(3000)]
    (tmp_path / "corpus" / "a.txt").write_text("".join(lines), encoding="utf-8")
    for i in range(30):
        (tmp_path / "corpus" / f"b{i:02}.txt").write_text("".join(lines[i * 50 : i * 50 + 50]), encoding="utf-8")
    return tmp_path


def make_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokenizer


def count(folder: pathlib.Path, tokenizer: Tokenizer | None = None, given=None, **options) -> WordCounts:
    """Counts the corpus in parts of 10 kB."""
    run = Run.of(progress=options.pop("progress", False), memory_limit=options.pop("memory_limit", None))
    source = Source.of(given or str(folder / "corpus"), sizes=ReadSizes(part=10_000), **options)
    return resume.count_words((tokenizer or make_tokenizer()).pipeline, source, folder / "work", run)


def counted(folder: pathlib.Path) -> WordCounts:
    """Counts the corpus without a work folder."""
    return make_tokenizer().count_words(str(folder / "corpus"), progress=False)


class Stop(Exception):
    pass


def break_off(folder: pathlib.Path, monkeypatch, after: int) -> None:
    """Counts until so many parts are saved."""
    save, n = resume._save, 0

    def saved(counts, path, part):
        nonlocal n
        if n == after:
            raise Stop
        n += 1
        save(counts, path, part)

    with monkeypatch.context() as patch:
        patch.setattr(resume, "_save", saved)
        with pytest.raises(Stop):
            count(folder)


def test_a_run_goes_on_where_it_was(folder, monkeypatch):
    whole = counted(folder)
    break_off(folder, monkeypatch, 3)
    assert len(list((folder / "work").glob("part-*.parquet"))) == 3
    calls = []
    assert count(folder, progress=lambda *call: calls.append(call)) == whole
    n_bytes = sum(path.stat().st_size for path in (folder / "corpus").iterdir())
    assert min(done for _, done, _ in calls) > 20_000 and calls[-1] == ("count", n_bytes, n_bytes)
    n_parts = len(list((folder / "work").glob("part-*.parquet")))
    assert n_bytes / 10_000 < n_parts < n_bytes / 10_000 + 10  # small files together
    monkeypatch.setattr("gputok.pipeline.count.words.count_words", None)
    assert count(folder, memory_limit="80MB") == whole  # nothing is counted again
    resume.remove(folder / "work")
    assert not (folder / "work").exists()


def test_a_part_that_a_crash_left_empty_is_counted_again(folder, monkeypatch):
    break_off(folder, monkeypatch, 3)
    (folder / "work" / "part-000001.parquet").write_bytes(b"")
    assert count(folder) == counted(folder)


def test_the_work_of_another_run_is_refused(folder, monkeypatch):
    break_off(folder, monkeypatch, 2)
    for options in ({"errors": "replace"}, {"separator": "x"}):
        with pytest.raises(ValueError, match="work: contains the work of another run"):
            count(folder, **options)
    other = make_tokenizer()
    other.pre_tokenizer = pre_tokenizers.Whitespace()
    with pytest.raises(ValueError, match="work: contains the work of another run"):
        count(folder, other)
    for source in (folder / "corpus" / "a.txt", [folder / "corpus", folder / "corpus" / "a.txt"]):
        with pytest.raises(ValueError, match="work: contains the work of another run"):
            count(folder, given=source)
    (folder / "corpus" / "b01.txt").write_text("changed")
    with pytest.raises(ValueError, match="a file of the corpus has changed"):
        count(folder)
    assert len(list((folder / "work").glob("part-*.parquet"))) == 2


def test_what_is_no_work_folder_is_refused(folder):
    (folder / "work").mkdir()
    (folder / "work" / "thesis.doc").touch()
    with pytest.raises(
        ValueError, match=r"work: expected an empty folder or a work folder of gputok, but it contains thesis\.doc"
    ):
        count(folder)
    (folder / "work" / "run.json").write_text("{")
    with pytest.raises(ValueError, match=r"run\.json: is damaged"):
        count(folder)
    with pytest.raises(ValueError, match="only the counting of files can be resumed"):
        make_tokenizer().count_words(iter(["text"]), resume=folder / "new")
    assert not (folder / "new").exists()
    (folder / "file").touch()
    with pytest.raises(FileExistsError, match="file"):
        make_tokenizer().count_words(str(folder / "corpus"), resume=folder / "file")


def test_two_processes_do_not_share_a_folder(folder):
    count(folder)
    with locked(folder / "work" / "run.json"), pytest.raises(BlockingIOError, match="another process works there"):
        count(folder)


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as status:
        cli.main(arguments)
    return status.value.code


def test_the_command_line_removes_what_is_done(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert (
        run("count", "corpus", "-o", "a.parquet") == run("count", "corpus", "-o", "b.parquet", "--resume", "work") == 0
    )
    assert (folder / "a.parquet").read_bytes() == (folder / "b.parquet").read_bytes()
    assert run("train", "corpus", "--vocab-size", "400", "-o", "a.json") == 0
    assert run("train", "corpus", "--vocab-size", "400", "-o", "b.json", "--resume", "work") == 0
    assert (folder / "a.json").read_bytes() == (folder / "b.json").read_bytes()
    assert not (folder / "work").exists()
    assert run("train", "--from-counts", "a.parquet", "--resume", "work") == 1
    assert run("count", "-", "--resume", "work") == 1
    assert "standard input can't be read again" in capsys.readouterr().err


@pytest.mark.full
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_kills_in_a_work_folder(how, tmp_path):
    """A process that is killed again and again at some moment ends with the bytes of a run that nothing disturbed."""
    with open(tmp_path / "text.txt", "w") as file:
        for i in range(60):
            file.writelines(f"{j:x} {j * j:x} of the {j % 100}\n" for j in range(i * 200_000, (i + 1) * 200_000))
    script = """
import sys
from gputok.corpus import Source
from gputok.corpus.options import ReadSizes
from gputok.pipeline.count import words
from gputok.pipeline.count import resume
from gputok.pipeline.run import Run
from gputok.recipes import recipe

output, *folder = sys.argv[1:]
source, pipeline = Source.of("text.txt", sizes=ReadSizes(part=10_000_000)), recipe("bpe")[0].pipeline
if folder:
    resume.count_words(pipeline, source, *folder, Run()).save(output)
    resume.remove(*folder)
else:
    words.count_corpus(pipeline, source, Run()).save(output)
"""
    environment = {**os.environ, "PYTHONPATH": str(pathlib.Path(gputok.__file__).parents[1])}

    def begin(*arguments):
        command = [sys.executable, "-c", script, *arguments]
        return child(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def finished(*arguments):
        with begin(*arguments) as process:
            assert process.wait(300) == 0, process.stderr.read()

    finished("whole.parquet")
    saved = 0
    for _ in range(4):
        with begin("resumed.parquet", "work") as process:
            before, deadline = saved, time.monotonic() + 120
            while saved < before + 3 and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
                saved = len(list((tmp_path / "work").glob("part-*.parquet")))
            end(process, how)
        assert saved >= before
    assert saved >= 8
    finished("resumed.parquet", "work")
    assert (tmp_path / "resumed.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert not (tmp_path / "work").exists()
