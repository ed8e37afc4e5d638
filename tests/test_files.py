"""Atomic file writes: a file appears complete under its name, or not at all."""

import os
import subprocess
import sys

import numpy as np
import pytest
from children import child

from gputok import PreTrainedTokenizer, models
from gputok.files import token_files
from gputok.files.atomic import replacing
from gputok.files.token_files import KINDS, TokenBatch
from gputok.recipes import recipe


def test_the_final_name_appears_at_the_end_and_no_temporary_file_remains(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    with replacing(path) as beside:
        beside.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new" and os.listdir(tmp_path) == ["a.json"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupted_write_changes_nothing(tmp_path, error):
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(error), replacing(path) as beside:
        beside.write_text("ha")
        raise error
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a.json"]


def every_output(folder):
    """(name, what writes a file of that name into the folder): each way to write one."""
    text = folder / "text.txt"
    text.write_text("some words and some more words\n" * 50)
    bpe, trainer = recipe("bpe", vocab_size=270)
    bpe.train([str(text)], trainer)
    front = PreTrainedTokenizer(bpe, chat_template="{{ messages }}")
    for kind in KINDS:
        yield f"ids{kind}", lambda path: bpe.encode_corpus(str(text), path)
    yield "ids.npy.rows.npy", lambda path: bpe.encode_corpus(str(text), path.removesuffix(".rows.npy"))
    yield "a.json", bpe.save
    yield "counts.parquet", lambda path: bpe.count_words(str(text)).save(path)
    yield "report.html", lambda path: bpe.report(str(text), progress=False).to_html(path)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        yield name, lambda path: front.save_pretrained(folder)
    for name in ("vocab.json", "merges.txt"):
        yield name, lambda path: bpe.model.save(str(folder))
    yield "vocab.json", lambda path: models.WordLevel({"a": 0}).save(str(folder))
    yield "vocab.txt", lambda path: models.WordPiece({"a": 0}).save(str(folder))
    unigram = models.Unigram([("<unk>", 0.0), ("a", -1.0)], 0)
    yield "unigram.json", lambda path: unigram.save(str(folder))
    yield "a.model", unigram.save_sentencepiece


def test_every_output_is_written_through_a_link(tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    replaced = []

    def replace(source, target, replace=os.replace):
        assert os.path.dirname(source) == os.path.dirname(target), "not atomic"
        replaced.append(str(target))
        replace(source, target)

    monkeypatch.setattr(os, "replace", replace)
    for name, write in every_output(tmp_path):
        link, target = tmp_path / name, elsewhere / "another name"
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        for before in (None, "old"):
            if before:
                target.write_text(before)
            replaced.clear()
            write(str(link))
            assert link.is_symlink() and target.read_bytes() != b"old", name
            assert str(target) in replaced, name
            assert os.listdir(elsewhere) == ["another name"], name
        target.unlink()


def test_an_interrupted_run_through_a_link_resumes(tmp_path):
    """The temporary file of an interrupted run is next to the file that a link points to."""

    def batches(n_done, stop=False):
        for i in range(n_done, 9):
            if stop and i == 5:
                raise KeyboardInterrupt
            yield TokenBatch(np.array([i], np.uint16), np.array([0, 1]))

    (tmp_path / "disk").mkdir()
    (tmp_path / "ids.npy").symlink_to(tmp_path / "disk" / "ids.npy")
    with pytest.raises(KeyboardInterrupt):
        token_files.write(tmp_path / "ids.npy", lambda n: batches(n, True), np.dtype(np.uint16), "run")
    begun = []
    token_files.write(
        tmp_path / "disk" / "ids.npy",
        lambda n: begun.append(n) or batches(n),
        np.dtype(np.uint16),
        "run",
    )
    assert begun == [5] and np.load(tmp_path / "ids.npy").tolist() == [*range(9)]


def test_links_devices_and_folders(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with replacing(tmp_path / "link") as beside:
        beside.write_text("x")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "target").read_text() == "x"
    with replacing("/dev/null") as beside:
        assert str(beside) == "/dev/null"
    with pytest.raises(IsADirectoryError, match="is a folder"), replacing(tmp_path):
        pass
    with (
        pytest.raises(FileNotFoundError, match=r"the folder .*none does not exist"),
        replacing(tmp_path / "none" / "a"),
    ):
        pass


def test_temporary_files_of_dead_processes_only_are_removed(tmp_path):
    path = tmp_path / "a[1].json"
    code = """
import sys, time
from gputok.files import replacing
with replacing(sys.argv[1]) as beside:
    beside.write_text("half")
    print("written", flush=True)
    time.sleep(100)
"""
    with child([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"written\n"
        with replacing(path) as beside:
            beside.write_text("whole")
        left = [name for name in os.listdir(tmp_path) if name != path.name]
        assert len(left) == 1 and (tmp_path / left[0]).read_text() == "half"  # still at work
    assert os.listdir(tmp_path) != [path.name]
    (tmp_path / ".a[1].json.mine.part").write_text("the name is not one of ours")
    with replacing(path) as beside:
        beside.write_text("whole")
    assert sorted(os.listdir(tmp_path)) == [".a[1].json.mine.part", path.name]
    assert path.read_text() == "whole"


def test_a_temporary_file_has_no_temporary_file(tmp_path):
    """A kill between them would leave a file that no later run removes."""
    path = tmp_path / "a.parquet"
    with replacing(path) as temporary:
        with replacing(temporary) as inner:
            inner.write_bytes(b"whole")
            assert [*tmp_path.iterdir()] == [temporary] == [inner]
        assert not path.exists()
    assert [*tmp_path.iterdir()] == [path]
    assert path.read_bytes() == b"whole"
