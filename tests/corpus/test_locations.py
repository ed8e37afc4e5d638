"""Files by path, by URL, and as open files: the same documents, atomic outputs, and helpful errors."""

import builtins
import glob
import gzip
import http.server
import io
import os
import pathlib
import re
import sys
import threading

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from gputok import Tokenizer, WordCounts, cli, corpus, models, pre_tokenizers
from gputok.corpus.options import ReadSizes
from gputok.files import file_systems, locations, outputs
from gputok.token_files import token_files

NAMES = ["b.txt", "a.txt", "a10.txt", ".hidden.txt", "sub/c.txt", "sub/deep/d.txt", ".dark/e.txt", "sub/odd[1].txt"]


def documents(source, **options) -> list[str]:
    return [text for batch in corpus.read(source, **options) for text in batch.strings()]


@pytest.fixture
def memory():
    """fsspec's file system in memory, empty."""
    filesystem = fsspec.filesystem("memory")
    filesystem.store.clear()
    filesystem.pseudo_dirs[:] = [""]
    yield filesystem
    filesystem.store.clear()
    filesystem.pseudo_dirs[:] = [""]


@pytest.fixture
def tokenizer():
    vocabulary = {token: i for i, token in enumerate(["a", "b", "c", "Ġ", "Ċ"])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokenizer


# -- sources


@pytest.mark.parametrize(
    "end", ["", "/", "/*.txt", "/**/*.txt", "/**", "/a[0-9]*.txt", "/*/c.txt", "/s*", "/**/deep/*"]
)
def test_folders_and_globs_are_those_of_paths(tmp_path, memory, end):
    for name in NAMES:
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(name)
        memory.pipe(f"/bucket/{name}", name.encode())
    try:
        expected = documents(f"{tmp_path}{end}")
    except FileNotFoundError:
        with pytest.raises(FileNotFoundError, match="no file matches"):
            corpus.read(f"memory://bucket{end}")
        return
    assert documents(f"memory://bucket{end}") == documents(f"file://{tmp_path}{end}") == expected
    assert sorted(expected) == sorted(
        pathlib.Path(path).read_text() for path in glob.glob(f"{tmp_path}{end}", recursive=True) if os.path.isfile(path)
    ) or end in ("", "/")


@pytest.mark.parametrize("ending", [".txt", ".txt.gz", ".jsonl", ".jsonl.gz", ".parquet"])
def test_every_kind_of_file(tmp_path, memory, ending):
    texts = [f"{i} naïve 漢字\n" for i in range(500)]
    if ending == ".parquet":
        pq.write_table(pa.table({"n": range(500), "text": texts}), tmp_path / "a.parquet", row_group_size=90)
    else:
        lines = texts if ".txt" in ending else [f'{{"text": "{text[:-1]}\\n"}}\n' for text in texts]
        raw = "".join(lines).encode()
        (tmp_path / f"a{ending}").write_bytes(gzip.compress(raw) if ending.endswith("gz") else raw)
    path = tmp_path / f"a{ending}"
    memory.pipe(f"/d/a{ending}", path.read_bytes())
    url = f"memory://d/a{ending}"
    assert documents(url, batch_bytes=100, sizes=ReadSizes(remote=100)) == documents(f"file://{path}") == texts
    assert documents([url, path]) == [*texts, *texts]
    assert documents(corpus.parts(url, part_bytes=1000)) == texts
    assert documents(fsspec.open(url)) == documents([fsspec.open(str(path))]) == texts
    assert documents(fsspec.open_files(f"memory://d/a{ending}")) == texts
    with open(path, "rb") as file, fsspec.open(url) as other, pa.OSFile(str(path)) as native:
        assert documents(file) == documents(other) == texts
        assert not file.closed and not other.closed
        if ending == ".txt":  # a file of Arrow's has no name
            assert documents(native) == texts
    assert corpus.Source.of(url).total_bytes == corpus.Source.of(path).total_bytes


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_threads_that_open_the_same_file_in_memory(tmp_path, memory, ending):
    """All get one file object from fsspec, whose position the others change."""
    texts = [f"{i} naïve 漢字" for i in range(500)]
    if ending == ".parquet":
        pq.write_table(pa.table({"text": texts}), tmp_path / "a", row_group_size=9)
        memory.pipe(f"/d/a{ending}", (tmp_path / "a").read_bytes())
    else:
        memory.pipe(f"/d/a{ending}", "".join(f'{{"text": "{text}"}}\n' for text in texts).encode())
    parts = [*corpus.parts(f"memory://d/a{ending}", part_bytes=1000)]
    assert len(parts) > 9
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(9):
            assert documents(parts, threads=4) == texts
    finally:
        sys.setswitchinterval(before)


def test_file_objects_that_unpack_and_those_that_do_not(tmp_path):
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(b"one\ntwo\n"))
    with gzip.open(path) as unpacked, open(path, "rb") as packed:
        assert documents(unpacked) == documents(packed) == ["one\n", "two\n"]
    assert documents(io.BytesIO(b"one\ntwo\n")) == documents(io.BytesIO(path.read_bytes())) == ["one\n", "two\n"]
    with fsspec.open(str(path), compression="infer") as file:
        assert documents(file) == ["one\n", "two\n"]
    assert documents(fsspec.open(str(path), compression="gzip")) == ["one\n", "two\n"]
    assert documents(io.BytesIO(b"a|b"), separator="|") == ["a", "b"]
    assert documents(io.StringIO("one\ntwo\n")) == ["one\n", "two\n"]  # an iterator of lines, as ever
    with pytest.raises(ValueError, match="the BytesIO, byte 1: 0xff is not UTF-8"):
        documents(io.BytesIO(b"a\xff"))
    with open(path, "rb") as file:
        assert documents([file, path]) == ["one\n", "two\n"] * 2


def test_arrow_datasets(tmp_path):
    texts = [f"{i} 漢\n" for i in range(300)]
    for i in range(3):
        pq.write_table(pa.table({"n": range(100), "text": texts[100 * i :][:100]}), tmp_path / f"{i}.parquet")
    dataset = pyarrow.dataset.dataset(tmp_path)
    assert documents(dataset) == documents(dataset, column="text", batch_bytes=50) == texts
    assert documents(dataset.filter(pyarrow.dataset.field("n") < 2)) == [
        text for i, text in enumerate(texts) if i % 100 < 2
    ]
    with pytest.raises(ValueError, match="the FileSystemDataset has no column 'x'; it has n, text"):
        documents(dataset, column="x")
    assert corpus.Source.of(dataset).total_bytes is None


def test_names_with_odd_characters(tmp_path, memory):
    for name in ["a b.txt", "a%20b.txt", "漢.txt", "a+b&c=d.txt"]:
        (tmp_path / name).write_text(name)
        memory.pipe(f"/d/{name}", name.encode())
        assert documents(f"memory://d/{name}") == [name]
    assert documents(f"file://{tmp_path}/a%20b.txt") == ["a b.txt"]  # percent-encoded, as in a browser
    assert documents((tmp_path / "漢.txt").as_uri()) == ["漢.txt"]


def test_total_bytes_and_state(memory):
    memory.pipe("/d/a.txt", b"one\n")
    assert corpus.Source.of("memory://d").total_bytes == 4
    before = corpus.Source.of("memory://d/a.txt").state
    assert before == corpus.Source.of("memory://d/a.txt").state
    memory.pipe("/d/a.txt", b"two\n")
    assert before != corpus.Source.of("memory://d/a.txt").state


# -- outputs


def test_training_counting_and_encoding(memory, tmp_path, tokenizer):
    text = "a cab\nab\n" * 1000
    memory.pipe("/d/a.txt", text.encode())
    (tmp_path / "a.txt").write_text(text)
    counts = tokenizer.count_words("memory://d/a.txt")
    assert counts == tokenizer.count_words(tmp_path / "a.txt")
    counts.save("memory://out/deep/counts.parquet")
    assert WordCounts.load("memory://out/deep/counts.parquet") == counts
    for kind in token_files.KINDS:
        tokenizer.encode_corpus("memory://d/*.txt", f"memory://out/ids{kind}")
        tokenizer.encode_corpus(tmp_path / "a.txt", tmp_path / f"ids{kind}")
        remote, local = ([*token_files.open_tokens(f"{at}/ids{kind}").batches()] for at in ("memory://out", tmp_path))
        assert len(remote) == len(local)
        for ours, theirs in zip(remote, local, strict=True):
            assert np.array_equal(ours.ids, theirs.ids) and np.array_equal(ours.rows, theirs.rows)
    tokenizer.train(["memory://d/a.txt"])
    tokenizer.save("memory://out/tokenizer.json")
    assert Tokenizer.from_file("memory://out/tokenizer.json").to_str() == tokenizer.to_str()
    tokenizer.report("memory://d/a.txt").to_html("memory://out/report.html")
    names = {"ids.npy", "ids.npy.rows.npy", "ids.bin", "ids.bin.rows.npy", "ids.arrow", "ids.parquet"}
    names |= {f"ids{kind}.manifest.json" for kind in token_files.KINDS}
    assert {*memory.ls("/out", detail=False)} == {
        f"/out/{name}" for name in names | {"tokenizer.json", "deep", "report.html"}
    }


def test_an_output_is_seen_when_it_is_whole(memory, monkeypatch):
    memory.pipe("/d/x", b"before")
    with outputs.writing("memory://d/x") as beside:
        beside.write_bytes(b"after")
        assert memory.cat("/d/x") == b"before"
    assert memory.cat("/d/x") == b"after"
    with pytest.raises(KeyboardInterrupt), outputs.writing("memory://d/x") as beside:
        beside.write_bytes(b"half")
        raise KeyboardInterrupt
    assert memory.cat("/d/x") == b"after"

    seen = []
    put = type(memory).put_file

    def break_off(self, local, remote, **options):
        put(self, local, remote, **options)
        seen.append(remote)
        raise OSError("the network is gone")

    monkeypatch.setattr(type(memory), "put_file", break_off)
    with pytest.raises(locations.RemoteError, match=r"memory://d/x: could not be written: the network is gone"):
        WordCounts.from_dict({"a": 1}).save("memory://d/x")
    assert seen != ["/d/x"] and memory.cat("/d/x") == b"after"
    assert memory.ls("/d", detail=False) == ["/d/x"]


def test_an_upload_that_failed_is_all_that_is_done_again(memory, monkeypatch, tokenizer, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    memory.pipe("/d/a.txt", b"a cab\n" * 1000)
    with monkeypatch.context() as patch:
        patch.setattr(outputs.Target, "upload", lambda *_: (_ for _ in ()).throw(OSError("gone")))
        with pytest.raises(OSError, match="gone"):
            tokenizer.encode_corpus("memory://d/a.txt", "memory://out/ids.npy")
    with monkeypatch.context() as patch:
        patch.setattr("gputok.pipeline.encode.corpus.encode_corpus", None)
        tokenizer.encode_corpus("memory://d/a.txt", "memory://out/ids.npy")
    assert len([*token_files.open_tokens("memory://out/ids.npy").batches()]) == 1
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    memory.pipe("/d/a.txt", b"a cab\n" * 10)  # another corpus is encoded anew
    tokenizer.encode_corpus("memory://d/a.txt", "memory://out/ids.npy")
    assert sum(batch.n_documents for batch in token_files.open_tokens("memory://out/ids.npy").batches()) == 10


def test_outputs_that_cannot_be_written(memory, tokenizer):
    memory.pipe("/d/a.txt", b"a\n")
    with pytest.raises(ValueError, match=r"memory://out/ids\.txt: cannot write ids as \.txt"):
        tokenizer.encode_corpus("memory://d/a.txt", "memory://out/ids.txt")
    with pytest.raises(IsADirectoryError, match="name a file"):
        WordCounts.from_dict({"a": 1}).save("memory://out/")
    with pytest.raises(ValueError, match="foo:// is unknown"):
        WordCounts.from_dict({"a": 1}).save("foo://out/x")


def test_the_work_folder_is_of_this_user_only(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = outputs.work_folder("s3://bucket/ids.npy")
    assert folder == outputs.work_folder("s3://bucket/ids.npy") != outputs.work_folder("s3://bucket/x.npy")
    assert folder.parent.stat().st_mode & 0o777 == 0o700
    os.rmdir(folder)
    os.rmdir(outputs.work_folder("s3://bucket/x.npy"))
    os.rmdir(folder.parent)
    (tmp_path / "elsewhere").mkdir()
    folder.parent.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionError, match="belongs to another user"):
        outputs.work_folder("s3://bucket/ids.npy")


# -- the command line


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    return ended.value.code


def test_the_command_line(memory, capsys):
    memory.pipe("/d/a.txt", b"a cab in a cab\n" * 200)
    assert run("count", "memory://d/*.txt", "-o", "memory://out/counts.parquet") == 0
    assert (
        run("train", "memory://out/counts.parquet", "--from-counts", "-o", "memory://out/t.json", "--vocab-size", "270")
        == 0
    )
    assert run("train", "memory://d", "-o", "memory://out/t2.json", "--vocab-size", "270") == 0
    assert memory.cat("/out/t.json") == memory.cat("/out/t2.json")
    assert run("encode", "-t", "memory://out/t.json", "memory://d/a.txt", "-o", "memory://out/ids.parquet") == 0
    assert run("report", "memory://d/a.txt", "-t", "memory://out/t.json", "-o", "memory://out/r.html") == 0
    capsys.readouterr()
    assert run("decode", "-t", "memory://out/t.json", "memory://out/ids.parquet") == 0
    assert capsys.readouterr().out == "a cab in a cab\n" * 200
    assert run("count", "memory://nix", "-o", "memory://out/c.parquet") == 1
    assert "gputok: memory://nix: no such file or folder" in capsys.readouterr().err
    assert run("count", "memory://d", "--storage-option", "nonsense") == 1
    assert "--storage-option nonsense: expected NAME=VALUE" in capsys.readouterr().err


def test_options_reach_the_file_system(memory):
    class Strict(type(memory)):
        protocol = "strict"
        cachable = False

        def __init__(self, key=None, **options):
            if key != "secret":
                raise PermissionError("who are you?")
            if options:
                raise TypeError(f"got an unexpected keyword argument {next(iter(options))!r}")
            super().__init__()

        @classmethod
        def _strip_protocol(cls, path):
            return "/" + path.removeprefix("strict://").strip("/")

    fsspec.register_implementation("strict", Strict, clobber=True)
    memory.pipe("/d/a.txt", b"x\n")
    assert documents("strict://d/a.txt", storage_options={"key": "secret"}) == ["x\n"]
    with pytest.raises(PermissionError, match=r"strict://d/a.txt: access is denied; pass credentials by .* \(who are"):
        documents("strict://d/a.txt")
    with pytest.raises(ValueError, match=r"strict://d/a.txt: storage_options: .* unexpected keyword argument 'foo'"):
        documents("strict://d/a.txt", storage_options={"key": "secret", "foo": 1})


# -- what is wrong is said


def test_unknown_schemes_and_missing_packages(monkeypatch):
    with pytest.raises(ValueError, match="foo:// is unknown; pyarrow reads s3, gs,"):
        corpus.read("foo://bucket/a.txt")
    with pytest.raises(ValueError, match="three slashes"):
        corpus.read("file://home/a.txt")
    with pytest.raises(ValueError, match="name the bucket"):
        corpus.read("s3://*/a.txt", storage_options={"region": "us-east-1"})
    real = builtins.__import__

    def without(*missing):
        def hooked(name, *args, **kwargs):
            if name.split(".")[0] in missing:
                raise ImportError(f"No module named {name!r}", name=name)
            return real(name, *args, **kwargs)

        return hooked

    monkeypatch.setattr(builtins, "__import__", without("fsspec"))
    with pytest.raises(ImportError, match=r"reading memory:// needs fsspec: pip install 'gputok\[remote\]'"):
        corpus.read("memory://d/a.txt")
    monkeypatch.setattr(builtins, "__import__", without("paramiko"))
    with pytest.raises(ImportError, match="reading sftp:// needs another package"):
        corpus.read("sftp://host/a.txt")


def test_a_list_of_texts_is_not_taken_for_urls():
    with pytest.raises(FileNotFoundError, match=r"for texts instead of paths, give an iterator"):
        corpus.read(["see http://example.org for more"])


class Broken(http.server.BaseHTTPRequestHandler):
    """A server that says it has a file of 100,000 bytes and hangs up after `breaks_at` of them."""

    breaks_at = 50_000
    size = 100_000

    def do_HEAD(self):
        self.answer(with_body=False)

    def do_GET(self):
        self.answer(with_body=True)

    def answer(self, with_body):
        body = b"some text of a line\n" * (self.size // 20)
        if self.path != "/a.txt":
            self.send_error({"/denied.txt": 403}.get(self.path, 404))
            return
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        first, last = (int(asked[1]), int(asked[2] or self.size - 1)) if asked else (0, self.size - 1)
        last = min(last, self.size - 1)
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(last + 1 - first))
        self.send_header("Accept-Ranges", "bytes")
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{last}/{self.size}")
        self.end_headers()
        if with_body:
            self.wfile.write(body[first : min(last + 1, max(first, type(self).breaks_at))])
            if last + 1 > type(self).breaks_at:
                self.close_connection = True

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    pytest.importorskip("aiohttp")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Broken) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_http(server, monkeypatch):
    monkeypatch.setattr(Broken, "breaks_at", 100_000)
    sizes = ReadSizes(remote=1 << 12, small=1)
    assert documents(f"{server}/a.txt", batch_bytes=1, sizes=sizes) == ["some text of a line\n"] * 5000
    with pytest.raises(FileNotFoundError, match=r"http://127.*/none\.txt: no such file"):
        corpus.read(f"{server}/none.txt")
    with pytest.raises((PermissionError, FileNotFoundError), match=r"http://127.*/denied\.txt"):
        corpus.read(f"{server}/denied.txt")
    with pytest.raises(OSError, match=r"http://127.*/ids\.npy"):
        WordCounts.from_dict({"a": 1}).save(f"{server}/ids.npy")


def test_a_network_file_that_breaks_in_the_middle(server, tokenizer, tmp_path):
    with pytest.raises(OSError, match=r"http://127.*/a\.txt: (at byte|shrank from|broken off)"):
        documents(f"{server}/a.txt", batch_bytes=1, sizes=ReadSizes(remote=1 << 14, small=1))
    with pytest.raises(OSError, match=r"http://127.*/a\.txt"):
        tokenizer.encode_corpus(f"{server}/a.txt", tmp_path / "ids.npy")
    assert not (tmp_path / "ids.npy").exists()


@pytest.mark.parametrize("size", [-1, 100])
def test_a_stream_that_breaks_off_names_its_url(size):
    parts = [b"so ", b"it "]

    class Breaking:
        def read(self, n):
            if not parts:
                raise OSError("the network is down")
            return parts.pop(0)

    stream = io.BufferedReader(file_systems.ExplainedStream("s3://bucket/a.txt", Breaking()))
    with pytest.raises(locations.RemoteError, match=r"^s3://bucket/a\.txt: failed after 6 bytes: the network is down$"):
        stream.read(size)
