"""Reading from and writing to a real S3 server on this machine, and its errors."""

import gzip
import json
import os
import pathlib
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gputok import Tokenizer, WordCounts, cli, corpus, decoders, models, pre_tokenizers
from gputok.corpus.options import ReadSizes
from gputok.files import locations, outputs
from gputok.token_files import token_files

moto_server = pytest.importorskip("moto.server", reason="a server of S3 is in the package moto[server]")

TEXT = "".join(f"{i} some text of a line, naïve 漢字\n" for i in range(20_000))


@pytest.fixture(scope="module", autouse=True)
def no_credentials_of_this_machine():
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")  # asks no address that would not answer
        patch.setenv("AWS_CONFIG_FILE", os.devnull)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        yield


class Server:
    """An S3 server that can be stopped and started again; what it holds stays."""

    def __init__(self) -> None:
        self._server = None

    def start(self) -> None:
        self._server = moto_server.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self._server.start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()
        self._server = None

    @property
    def options(self) -> dict[str, str]:
        host, port = self._server.get_host_and_port()
        return {
            "access_key": "me",
            "secret_key": "secret",
            "region": "us-east-1",
            "endpoint_override": f"http://{host}:{port}",
        }

    def client(self):
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.options["endpoint_override"],
            aws_access_key_id="me",
            aws_secret_access_key="secret",
            region_name="us-east-1",
        )


@pytest.fixture
def s3():
    server = Server()
    server.start()
    urllib.request.urlopen(
        urllib.request.Request(f"{server.options['endpoint_override']}/moto-api/reset", method="POST")
    )
    server.client().create_bucket(Bucket="books")
    yield server
    server.stop()


def put(s3: Server, key: str, raw: bytes, **options: str) -> str:
    s3.client().put_object(Bucket="books", Key=key, Body=raw, **options)
    return f"s3://books/{key}"


def keys(s3: Server) -> list[str]:
    return [entry["Key"] for entry in s3.client().list_objects_v2(Bucket="books").get("Contents", [])]


def documents(source, **options) -> list[str]:
    return [text for batch in corpus.read(source, **options) for text in batch.strings()]


@pytest.fixture
def tokenizer():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator([TEXT])
    return tokenizer


def test_reading_files_of_every_kind(s3, tmp_path):
    lines = TEXT.splitlines(keepends=True)
    pq.write_table(pa.table({"text": lines}), tmp_path / "d.parquet", row_group_size=3000)
    put(s3, "shelf/a.txt", TEXT.encode())
    put(s3, "shelf/b.txt.gz", gzip.compress(TEXT.encode()))
    put(s3, "shelf/c.jsonl", "".join(json.dumps({"n": 1, "text": line}) + "\n" for line in lines).encode())
    put(s3, "shelf/sub/d.parquet", (tmp_path / "d.parquet").read_bytes())
    put(s3, "shelf/.hidden", b"\xff")
    options = {"storage_options": s3.options}
    sizes = ReadSizes(remote=1 << 15, small=1 << 10)
    assert documents("s3://books/shelf", batch_bytes=1 << 15, sizes=sizes, **options) == lines * 4
    assert documents("s3://books/shelf/*.txt*", **options) == lines * 2
    assert documents("s3://books/**/*.parquet", column="text", **options) == lines
    assert documents(["s3://books/shelf/a.txt", "s3a://books/shelf/a.txt"], **options) == lines * 2
    parts = corpus.parts("s3://books/shelf/a.txt", part_bytes=100_000, **options)
    assert len(parts) == len(TEXT.encode()) // 100_000 + 1
    assert documents(parts[3:] + parts[:3], **options)[-1] == documents(parts[2], **options)[-1]
    assert corpus.Source.of("s3://books/shelf/a.txt", **options).total_bytes == len(TEXT.encode())


def test_options_under_the_names_of_fsspec_and_in_the_environment(s3, monkeypatch):
    url, endpoint = put(s3, "a.txt", b"x\n", ACL="public-read"), s3.options["endpoint_override"]
    for options in [
        {"key": "me", "secret": "secret", "endpoint_url": endpoint},
        {"key": "me", "secret": "secret", "client_kwargs": {"endpoint_url": endpoint, "region_name": "eu-west-1"}},
        {"anon": True, "endpoint_url": endpoint},
    ]:
        assert documents(url, storage_options=options) == ["x\n"]
    address = endpoint.removeprefix("http://")
    assert documents(f"{url}?endpoint_override={address}&scheme=http&region=us-east-1") == ["x\n"]
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "me")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert documents(url) == ["x\n"]


@pytest.mark.slow
def test_training_counting_and_encoding(s3, tokenizer, tmp_path, capsys):
    url, storage = put(s3, "a.txt", TEXT.encode()), {"storage_options": s3.options}
    (tmp_path / "a.txt").write_text(TEXT)
    counts = tokenizer.count_words(url, **storage)
    assert counts == tokenizer.count_words(tmp_path / "a.txt")
    counts.save("s3://books/made/counts.parquet", **storage)
    assert WordCounts.load("s3://books/made/counts.parquet", **storage) == counts
    for kind in token_files.KINDS:
        tokenizer.encode_corpus(url, f"s3://books/made/ids{kind}", **storage)
        tokenizer.encode_corpus(tmp_path / "a.txt", tmp_path / f"ids{kind}")
        remote = [*token_files.open_tokens(f"s3://books/made/ids{kind}", storage_options=s3.options).batches()]
        local = [*token_files.open_tokens(tmp_path / f"ids{kind}").batches()]
        assert [batch.ids.tolist() for batch in remote] == [batch.ids.tolist() for batch in local]
    options = [f"--storage-option={name}={value}" for name, value in s3.options.items()]
    for arguments in [
        ["train", url, "-o", "s3://books/made/t.json", "--vocab-size", "300"],
        ["encode", url, "-t", "s3://books/made/t.json", "-o", "s3://books/made/again.npy"],
        ["decode", "s3://books/made/again.npy", "-t", "s3://books/made/t.json"],
    ]:
        with pytest.raises(SystemExit) as ended:
            cli.main([*arguments, *options])
        assert ended.value.code == 0, capsys.readouterr().err
    assert capsys.readouterr().out.endswith(TEXT)
    assert not [key for key in keys(s3) if ".part" in key]


def test_objects_that_do_not_exist(s3, tokenizer):
    put(s3, "a.txt", b"x\n")
    storage = {"storage_options": s3.options}
    for url, message in {
        "s3://books/b.txt": "no such file or folder",
        "s3://books/*.json": "no file matches",
        "s3://shelf/b.txt": "no bucket is called 'shelf'",
        "s3://shelf/*.txt": "no bucket is called 'shelf'",
    }.items():
        with pytest.raises(FileNotFoundError, match=message) as error:
            corpus.read(url, **storage)
        assert url in str(error.value)
    for write in [
        lambda: tokenizer.count_words("s3://books/a.txt", **storage).save("s3://shelf/c.parquet", **storage),
        lambda: tokenizer.encode_corpus("s3://books/a.txt", "s3://shelf/ids.npy", **storage),
        lambda: tokenizer.save("s3://shelf/t.json", **storage),
    ]:
        with pytest.raises(FileNotFoundError, match="no bucket is called 'shelf'"):
            write()
    with pytest.raises(ValueError, match=r"S3FileSystem of pyarrow: .*unexpected keyword argument 'sauce'"):
        corpus.read("s3://books/a.txt", storage_options={**s3.options, "sauce": 1})


@pytest.mark.slow
def test_a_server_that_goes_away_while_a_file_is_read(s3, tokenizer, tmp_path):
    url = put(s3, "a.txt", TEXT.encode())
    lines = pa.table({"text": TEXT.splitlines(keepends=True)})
    pq.write_table(lines, tmp_path / "c.parquet", row_group_size=1000, compression=None)
    parquet = put(s3, "c.parquet", (tmp_path / "c.parquet").read_bytes())
    archive = put(s3, "b.txt.gz", gzip.compress(os.urandom(20_000_000).hex().encode(), 0))
    options = {"storage_options": s3.options}
    sizes = ReadSizes(remote=1 << 14, small=1 << 10)
    for source in (url, parquet, archive):
        batches = corpus.read(source, batch_bytes=1 << 14, threads=1, sizes=sizes, **options)
        if source != archive:  # one that has no line end
            assert next(batches).n_documents
        s3.stop()
        with pytest.raises(OSError, match=f"{source}: .*(at byte|failed after|NETWORK_CONNECTION|connect)"):
            list(batches)
        s3.start()
        options = {"storage_options": s3.options}


@pytest.mark.slow
def test_a_server_that_goes_away_before_the_upload(s3, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    url = put(s3, "a.txt", TEXT.encode())
    old = put(s3, "ids.npy", b"old")

    class GoneAfterReading:
        """The documents of the corpus; when they are all read, the server is gone."""

        def __iter__(self):
            yield from documents(url, storage_options=s3.options)
            s3.stop()

    with pytest.raises(OSError, match=r"s3://books/ids\.npy.*: could not be written: "):
        tokenizer.encode_corpus(GoneAfterReading(), old, storage_options=s3.options)
    s3.start()
    assert keys(s3) == ["a.txt", "ids.npy"]
    assert s3.client().get_object(Bucket="books", Key="ids.npy")["Body"].read() == b"old"
    tokenizer.encode_corpus(url, old, storage_options=s3.options)
    (ids,) = (
        np.concatenate([batch.ids for batch in token_files.open_tokens(old, storage_options=s3.options).batches()])
        for _ in "1"
    )
    assert tokenizer.decode(ids.tolist()) == TEXT
    assert [path for path in pathlib.Path(tmp_path).rglob("*") if path.is_file()] == []


SERVER = """
import sys
from moto.server import main
main(["-H", "127.0.0.1", "-p", sys.argv[1]])
"""


@pytest.fixture
def strict_server():
    """The address of a server that demands credentials."""
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    environment = {**os.environ, "INITIAL_NO_AUTH_ACTION_COUNT": "2"}
    process = subprocess.Popen([sys.executable, "-c", SERVER, str(port)], env=environment, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    for _ in range(300):
        try:
            urllib.request.urlopen(f"{address}/moto-api/")
            break
        except OSError:
            time.sleep(0.1)
    yield address
    process.kill()
    process.wait()


@pytest.mark.slow
def test_credentials_that_are_missing_or_wrong(strict_server):
    import boto3

    client = boto3.client(
        "s3", endpoint_url=strict_server, aws_access_key_id="me", aws_secret_access_key="x", region_name="us-east-1"
    )
    client.create_bucket(Bucket="books")
    client.put_object(Bucket="books", Key="a.txt", Body=b"x\n")
    common = {"endpoint_override": strict_server, "region": "us-east-1"}
    for options in [{"access_key": "you", "secret_key": "wrong"}, {"anonymous": True}, {}]:
        with pytest.raises(PermissionError, match=r"s3://books/a\.txt: .*access is denied; pass credentials by"):
            documents("s3://books/a.txt", storage_options={**common, **options})
    with pytest.raises(OSError, match=r"s3://books/c\.parquet: could not be written: "):
        WordCounts.from_dict({"a": 1}).save("s3://books/c.parquet", storage_options={**common, "anonymous": True})


def test_an_interrupted_upload_leaves_no_object(s3, monkeypatch):
    with pytest.raises(KeyboardInterrupt), outputs.writing("s3://books/x", s3.options) as beside:
        beside.write_bytes(b"half")
        raise KeyboardInterrupt
    assert keys(s3) == []
    with outputs.writing("s3://books/deep/x", s3.options) as beside:
        beside.write_bytes(b"whole" * 3_000_000)  # in several parts
        assert keys(s3) == []
    assert keys(s3) == ["deep/x"]
    assert locations.read_bytes("s3://books/deep/x", s3.options) == b"whole" * 3_000_000
