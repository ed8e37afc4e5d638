"""Atomic file writes: a file appears complete under its name, or not at all."""

import hashlib
import json
import os
import stat
import subprocess
import sys

import numpy as np
import pytest
from children import child

from gputok import PreTrainedTokenizer, Tokenizer, models, open_tokens, pre_tokenizers, save_sentencepiece
from gputok.files.atomic import replacing
from gputok.recipes import recipe
from gputok.token_files import token_files, work
from gputok.token_files.token_files import KINDS, TokenBatch, layout_of


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
    tokenizer = Tokenizer(unigram)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    yield "a.model", lambda path: save_sentencepiece(tokenizer, path)


def test_every_output_is_written_through_a_link(tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    replaced = []

    def replace(source, target, replace=os.replace):
        # Beside its final name, or in a work folder
        folder = os.path.dirname(source)
        assert folder == os.path.dirname(target) or folder.endswith(".part"), "not atomic"
        assert os.stat(folder).st_dev == os.stat(os.path.dirname(target)).st_dev, "not atomic"
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
            if name == "ids.npy.rows.npy":
                (tmp_path / "ids.npy").unlink(missing_ok=True)  # a link of this test
            write(str(link))
            if name.endswith(".rows.npy"):  # a name that the user didn't choose
                assert not link.is_symlink() and len(np.load(link)), name
                assert target.read_text() == "old" if before else not target.exists()
                assert str(link) in replaced
                link.unlink()
                link.symlink_to(target)
                continue
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
        token_files.write(tmp_path / "ids.npy", lambda n: batches(n, True), layout_of(tmp_path / "ids.npy", 300), "run")
    begun = []
    token_files.write(
        tmp_path / "disk" / "ids.npy",
        lambda n: begun.append(n) or batches(n),
        layout_of(tmp_path / "disk" / "ids.npy", 300),
        "run",
    )
    assert begun == [5] and np.load(tmp_path / "ids.npy").tolist() == [*range(9)]


TRAPS = {
    "a link": lambda name, victim: name.symlink_to(victim),
    "a link to nothing": lambda name, victim: name.symlink_to(victim.with_name("nothing")),
    "a link to a link": lambda name, victim: (
        name.with_name("second").symlink_to(victim),
        name.symlink_to(name.with_name("second")),
    ),
    "a second name": lambda name, victim: os.link(victim, name),
    "a pipe": lambda name, victim: os.mkfifo(name),
}


@pytest.fixture
def victim(tmp_path):
    """A file of the user; the test fails if it is changed, or if another one appears beside it."""
    victim = tmp_path / "victim" / "letters.txt"
    victim.parent.mkdir()
    victim.write_text("mine")
    yield victim
    assert victim.read_text() == "mine" and os.listdir(victim.parent) == ["letters.txt"]


def interrupted(n_done):
    raise KeyboardInterrupt


@pytest.mark.parametrize("trap", TRAPS)
@pytest.mark.parametrize("part", ["ids", "ends", "run", "rows", "manifest"])
def test_no_trap_beside_an_output_is_followed(tmp_path, victim, part, trap):
    path = tmp_path / "ids.npy"
    parts = {"ids": "ids-00000", "ends": "ends-00000", "run": "run.json"}
    work = tmp_path / ".ids.npy.part"
    beside = {"rows": "ids.npy.rows.npy", "manifest": "ids.npy.manifest.json"}
    name = path.with_name(beside[part]) if part in beside else work / parts[part]
    for stopped in (False, True):  # also amid the files of an interrupted run with the right fingerprint
        work.mkdir()
        if stopped:
            work.rmdir()
            with pytest.raises(KeyboardInterrupt):
                token_files.write(path, interrupted, layout_of(path, 300), "run")
            name.unlink(missing_ok=True)
        TRAPS[trap](name, victim)
        batch = TokenBatch(np.array([1, 2], np.uint16), np.array([0, 1, 2]))
        token_files.write(path, lambda n, batch=batch: iter([batch]), layout_of(path, 300), "run")
        assert np.load(path).tolist() == [1, 2] and np.load(f"{path}.rows.npy").tolist() == [0, 1, 2]
        assert not work.exists()
        name.unlink(missing_ok=True)
        name.with_name("second").unlink(missing_ok=True)


@pytest.mark.parametrize("trap", ["a link", "a link to nothing", "a link to a link", "a pipe"])
@pytest.mark.parametrize("part", ["run.json", "part-000000.parquet"])
def test_no_trap_in_a_resume_folder_is_followed(tmp_path, victim, part, trap):
    text, folder = tmp_path / "text.txt", tmp_path / "work"
    text.write_text("some words and some more words\n")
    tokenizer, _ = recipe("bpe")
    expected = tokenizer.count_words(str(text), resume=folder)
    (folder / part).unlink()
    TRAPS[trap](folder / part, victim)
    if part == "run.json":
        with pytest.raises(ValueError, match=r"run\.json: is a symbolic link"):
            tokenizer.count_words(str(text), resume=folder)
    else:
        assert tokenizer.count_words(str(text), resume=folder) == expected
        assert stat.S_ISREG((folder / part).lstat().st_mode) and (folder / part).stat().st_size


@pytest.mark.parametrize("format", ["npy", "mds", "litdata", "datatrove", "megatron"])
def test_a_planted_manifest_removes_no_file_of_others(tmp_path, format):
    """Files of an older run that a new one does not replace are removed; a manifest can name any file as such."""
    words, path = (Tokenizer(models.WordLevel({"a b": 0})), tmp_path / ("ids.npy" if format == "npy" else "ids"))
    for mine in ("letters.txt", "ids.txt", "ids_1.npy.txt"):
        words.encode_corpus(iter(["a b"] * 9), path, format=format, shard_tokens=2)
        manifest = open_tokens(path).manifest
        older, folder = {file.name for file in manifest.files}, manifest.path.parent
        (folder / mine).write_text("mine")
        facts = {"name": mine, "bytes": 4, "sha256": "0" * 64}
        manifest.content["shards"].append({"files": [facts]})
        manifest.path.write_text(json.dumps(manifest.content))
        words.encode_corpus(iter(["a b"] * 3), path, format=format)
        newer = {file.name for file in open_tokens(path).manifest.files}
        assert (folder / mine).read_text() == "mine"
        assert older - newer and not any((folder / name).exists() for name in older - newer)
        (folder / mine).unlink()


@pytest.mark.parametrize("field", ["name", "work"])
def test_a_planted_work_folder_moves_no_file_elsewhere(tmp_path, victim, field):
    """With the right fingerprint and checksum, which anyone can compute."""
    path, batch = tmp_path / "ids.npy", TokenBatch(np.array([1, 2], np.uint16), np.array([0, 1, 2]))

    def write(n):
        yield batch

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(work.Work, "publish", interrupted)
        token_files.write(path, write, layout_of(path, 300), "run")
    run = tmp_path / ".ids.npy.part" / "run.json"
    content = json.loads(run.read_bytes().partition(b"\n")[2])
    facts = content["shards"][0]["files"][0]
    facts[field] = "../victim/letters.txt"
    facts["bytes"] = 4 if field == "work" else facts["bytes"]
    text = json.dumps(content).encode()
    run.write_bytes(hashlib.sha256(text).hexdigest().encode() + b"\n" + text)
    token_files.write(path, write, layout_of(path, 300), "run")
    assert np.load(path).tolist() == [1, 2] and sorted(os.listdir(tmp_path)) == [
        *("ids.npy", "ids.npy.manifest.json", "ids.npy.rows.npy", "victim")
    ]


def test_a_temporary_name_that_is_taken_is_not_written_to(tmp_path, victim, monkeypatch):
    names = iter(["0" * 8, "1" * 8])
    monkeypatch.setattr("os.urandom", lambda n: bytes.fromhex(next(names)))
    (tmp_path / ".a.json.00000000.part").symlink_to(victim)
    with pytest.raises(FileExistsError), replacing(tmp_path / "a.json"):
        pass


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
from gputok.files.atomic import replacing
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
