"""Counting and encoding on the engines that people have: the same counts, tokenizers and ids as in one process."""

import os
import pathlib
import pickle
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

import gputok
from gputok import Tokenizer, WordCounts, models, normalizers, pre_tokenizers, trainers

PAGE = pathlib.Path(__file__).parents[2] / "notebooks" / "guide" / "clusters.md"


def make_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokenizer


def make_trainer() -> trainers.BpeTrainer:
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return trainers.BpeTrainer(vocab_size=500, initial_alphabet=alphabet, show_progress=False)


TEXTS = [f"the {i} house of {i % 7} words, naïve 漢字 {i * i}" for i in range(3000)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> pathlib.Path:
    """A folder with four Parquet files and four text files of the same texts."""
    folder = tmp_path_factory.mktemp("corpus")
    for i in range(4):
        texts = TEXTS[i::4]
        pa.parquet.write_table(pa.table({"text": texts, "id": range(len(texts))}), folder / f"{i}.parquet")
        (folder / f"{i}.txt").write_text("".join(text + "\n" for text in texts), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def expected(corpus) -> WordCounts:
    return make_tokenizer().count_words(str(corpus / "*.parquet"), progress=False)


@pytest.fixture(scope="module")
def trained(expected) -> Tokenizer:
    tokenizer = make_tokenizer()
    tokenizer.train_from_word_counts(expected, make_trainer())
    return tokenizer


def tables(corpus: pathlib.Path) -> list[pa.Table]:
    return [pa.parquet.read_table(path) for path in sorted(corpus.glob("*.parquet"))]


# -- the functions themselves


def test_a_counter_gives_the_counts(corpus, expected):
    counter = pickle.loads(pickle.dumps(make_tokenizer().word_counter("text")))
    assert counter.byte_level
    batches = [batch for table in tables(corpus) for batch in table.to_batches(max_chunksize=100)]
    words = list(counter(iter(batches)))
    assert all(batch.schema == counter.schema for batch in words)
    assert [(field.name, field.type) for field in counter.schema] == [
        ("word", pa.large_binary()),
        ("count", pa.int64()),
    ]
    assert WordCounts.from_arrow(words, byte_level=True) == expected
    of_tables = [counter.of_table(table) for table in tables(corpus)]
    assert WordCounts.from_arrow(of_tables, byte_level=True) == expected
    assert list(counter(iter([]))) == [] and counter.of_table(pa.table({"text": pa.array([], "str")})).num_rows == 0


@pytest.mark.parametrize(
    ("normalizer", "pre_tokenizer", "added"),
    [
        (None, pre_tokenizers.ByteLevel(), ["house"]),
        (normalizers.Lowercase(), pre_tokenizers.ByteLevel(), []),
        (None, pre_tokenizers.Whitespace(), []),
        (None, None, []),
    ],
)
def test_words_of_all_calls_are_of_one_kind(normalizer, pre_tokenizer, added):
    """Some batches hold added tokens, and some don't: that must not change how words are written."""
    tokenizer = Tokenizer(models.WordLevel())
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre_tokenizer
    tokenizer.add_tokens(added)
    counter = tokenizer.word_counter()
    words = [counter.of_table(pa.table({"text": [text]})) for text in ("the house é", "an É é", "")]
    found = WordCounts.from_arrow(words, byte_level=counter.byte_level)
    whole = tokenizer.count_words(iter(["the house é", "an É é", ""]), progress=False)
    assert not counter.byte_level
    assert found.spelled_out() == whole.spelled_out()


def test_an_encoder_gives_the_ids(corpus, trained):
    encoder = pickle.loads(pickle.dumps(trained.corpus_encoder("text")))
    table = tables(corpus)[0]
    batches = list(encoder(iter(table.to_batches(max_chunksize=100))))
    ids = pa.chunked_array([batch.column("ids") for batch in batches])
    assert ids.type == encoder.schema.field("ids").type == pa.large_list(pa.uint16())
    assert ids.to_pylist() == [trained.encode(text).ids for text in table["text"].to_pylist()]
    missing = pa.table({"text": ["the", None, ""]})
    assert encoder.of_table(missing)["ids"].to_pylist() == [trained.encode("the").ids, [], []]
    assert list(encoder(iter([]))) == []
    many = Tokenizer(models.WordLevel({f"{i}": i for i in range(70_000)}))
    assert many.corpus_encoder().schema.field("ids").type == pa.large_list(pa.uint32())


def test_wrong_columns_and_texts_are_named(trained):
    table = pa.table({"a": ["x"], "b": ["y"], "n": [1]})
    for function in (trained.word_counter, trained.corpus_encoder):
        with pytest.raises(ValueError, match="columns a, b, n: name the one to read"):
            function().of_table(table)
        with pytest.raises(ValueError, match="no column 'c'"):
            function("c").of_table(table)
        with pytest.raises(ValueError, match="row 1, byte 0: 0xff is not UTF-8"):
            function("a").of_table(pa.table({"a": [b"x", b"\xff"]}))
        assert function("a", errors="replace").of_table(pa.table({"a": [b"\xff"]})).num_rows == 1


# -- the snippets of the guide


def snippet(engine: str) -> str:
    """The code that the guide shows for an engine."""
    found = re.search(rf"^```py\n(# {engine}\b.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    assert found, f"the guide shows nothing for {engine}"
    return found[1]


GIVEN = """
import pathlib
import gputok
import gputok.distributed
from gputok import Tokenizer, WordCounts, models, pre_tokenizers

def make_tokenizer():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokenizer

tokenizer = make_tokenizer()
"""


def run_snippet(engine: str, folder: pathlib.Path, before: str = "", after: str = "") -> str:
    """What a process prints that runs the snippet in a folder with corpus/."""
    body = before + snippet(engine) + after
    # engines start processes that import the script anew
    indented = "".join(f"    {line}\n" for line in body.splitlines())
    return run_script(GIVEN + "if __name__ == '__main__':\n" + indented, folder)


def run_script(text: str, folder: pathlib.Path) -> str:
    script = folder / "script.py"
    script.write_text(text)
    root = str(pathlib.Path(gputok.__file__).parents[1])
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]),
        "PYSPARK_PYTHON": sys.executable,
    }
    done = subprocess.run(
        [sys.executable, script.name], cwd=folder, env=environment, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr[-5000:]
    return done.stdout


@pytest.fixture
def folder(corpus, tmp_path) -> pathlib.Path:
    (tmp_path / "corpus").symlink_to(corpus)
    return tmp_path


def check_trains_the_same(counts: WordCounts, expected: WordCounts, trained: Tokenizer) -> None:
    assert counts == expected
    tokenizer = make_tokenizer()
    tokenizer.train_from_word_counts(counts, make_trainer())
    assert tokenizer.to_str() == trained.to_str()


def test_duckdb_adds_up_saved_counts(folder, expected, trained):
    pytest.importorskip("duckdb", reason="the engine is in the package duckdb")
    (folder / "counts").mkdir()
    for i in range(4):
        counts = make_tokenizer().count_words(str(folder / "corpus" / f"{i}.parquet"), progress=False)
        counts.save(folder / "counts" / f"{i}.parquet")
    run_snippet("DuckDB", folder)
    check_trains_the_same(WordCounts.load(folder / "duckdb.parquet", byte_level=True), expected, trained)


@pytest.mark.full
def test_ray_data_counts(folder, expected, trained):
    pytest.importorskip("ray.data", reason="the engine is in the package ray[data]")
    before = "import ray\nray.init(num_cpus=2, include_dashboard=False)\n"
    run_snippet("Ray", folder, before)
    check_trains_the_same(WordCounts.load(folder / "ray", byte_level=True), expected, trained)


@pytest.mark.full
def test_ray_data_encodes(folder, corpus, trained):
    pytest.importorskip("ray.data", reason="the engine is in the package ray[data]")
    trained.save(str(folder / "tokenizer.json"))
    script = """
import ray
from gputok import Tokenizer

ray.init(num_cpus=2, include_dashboard=False)
encoder = Tokenizer.from_file("tokenizer.json").corpus_encoder("text")
rows = ray.data.read_parquet("corpus/0.parquet").map_batches(encoder.of_table, batch_format="pyarrow")
rows.write_parquet("ids")
"""
    run_script(script, folder)
    ids = [row for path in sorted((folder / "ids").glob("*")) for row in pa.parquet.read_table(path)["ids"].to_pylist()]
    assert sorted(ids) == sorted(trained.encode(text).ids for text in TEXTS[0::4])


@pytest.mark.full
def test_spark_counts(folder, expected, trained):
    pytest.importorskip("pyspark", reason="the engine is in the package pyspark")
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java, which is not installed")
    before = """from pyspark.sql import SparkSession
SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
"""
    run_snippet("Spark", folder, before)
    counts = WordCounts.load(folder / "spark", byte_level=True, count_column="sum(count)")
    check_trains_the_same(counts, expected, trained)


@pytest.mark.full
def test_spark_encodes(folder, corpus, trained):
    pytest.importorskip("pyspark", reason="the engine is in the package pyspark")
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java, which is not installed")
    trained.save(str(folder / "tokenizer.json"))
    script = """
from pyspark.sql import SparkSession
from gputok import Tokenizer

spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
encoder = Tokenizer.from_file("tokenizer.json").corpus_encoder("text")

def encode(batches):  # Spark knows neither large lists nor unsigned numbers
    import pyarrow as pa
    for batch in encoder(batches):
        yield pa.record_batch({"ids": batch.column("ids").cast(pa.list_(pa.int32()))})

spark.read.parquet("corpus/0.parquet").mapInArrow(encode, "ids array<int>").write.parquet("ids")
"""
    run_script(script, folder)
    ids = [
        row
        for path in sorted((folder / "ids").glob("*.parquet"))
        for row in pa.parquet.read_table(path)["ids"].to_pylist()
    ]
    assert sorted(ids) == sorted(trained.encode(text).ids for text in TEXTS[0::4])


@pytest.mark.full
def test_datatrove_counts(folder, expected, trained):
    pytest.importorskip("datatrove", reason="the engine is in the package datatrove")
    run_snippet("datatrove", folder)
    check_trains_the_same(WordCounts.load(folder / "datatrove"), expected, trained)


# -- Dask


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("distributed", reason="the engine is in the package distributed")
    root = str(pathlib.Path(gputok.__file__).parents[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]))
        with distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0", memory_limit=0
        ) as cluster:
            yield cluster


@pytest.fixture
def client(cluster):
    import distributed

    with distributed.Client(cluster) as client:
        yield client


@pytest.mark.parametrize("kind", ["parquet", "txt"])
def test_tasks_for_dask_become_smaller(kind, tmp_path):
    """Two threads share seven eighths of what is left, again and again. A file that is given twice is read twice."""
    texts = [f"line {i} of a text\n" for i in range(2000)]
    for file in range(2):
        if kind == "txt":
            (tmp_path / f"{file}.txt").write_text("".join(texts))
        else:
            table = pa.table({"text": texts})
            pa.parquet.write_table(table, tmp_path / f"{file}.parquet", row_group_size=50)
    files = [str(tmp_path / f"{i}.{kind}") for i in (0, 1, 1)]
    tasks = gputok.distributed._tasks(files, None, 2, least_bytes=1000)
    sizes = [sum(len(batch.data) for batch in gputok.corpus.read(parts)) for parts in tasks]
    read = [text for parts in tasks for batch in gputok.corpus.read(parts) for text in batch.strings()]
    assert read == 3 * texts
    assert 6 <= len(tasks) <= 50 and max(sizes) < 1.1 * sizes[0] and sizes[0] > 10 * min(sizes)
    assert max(len({part.file for part in parts}) for parts in tasks) > 1 and len(tasks[0]) <= 2
    left = sum(sizes)
    for size in sizes:
        assert size <= max(0.8 * left, 3000)
        left -= size
    whole = gputok.distributed._tasks(12 * files[:1], None, 1)  # all together smaller than the smallest task
    assert whole == [12 * gputok.corpus.parts(files[0])]


def test_tasks_for_dask_join_small_files(tmp_path):
    """Tasks are of about equal size, whatever the files are; empty ones and those that can't be cut are there, too."""
    sizes = [0, 10, 30_000, *[100] * 500, 0, 2500, 0]
    files = []
    for i, size in enumerate(sizes):
        file = tmp_path / (f"{i}.txt.gz" if size == 30_000 else f"{i}.txt")
        file.write_bytes(random.Random(i).randbytes(size))
        files.append(str(file))
    tasks = gputok.distributed._tasks(files, None, 4, least_bytes=1000)
    assert list(dict.fromkeys(part.file for parts in tasks for part in parts)) == files
    assert all(tasks) and 8 <= len(tasks) <= 40
    assert gputok.distributed._tasks(files[:1], None, 4) == [gputok.corpus.parts(files[0])]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["parquet", pytest.param("txt", marks=pytest.mark.full)])
def test_a_dask_cluster_counts(kind, client, corpus, expected, trained):
    files = str(corpus / f"*.{kind}")
    whole = expected if kind == "parquet" else make_tokenizer().count_words(files, progress=False)
    counts = gputok.distributed.count_words(make_tokenizer(), files, client, part_bytes=10_000)
    assert counts == whole
    if kind == "parquet":
        check_trains_the_same(counts, expected, trained)


@pytest.mark.slow
def test_a_dask_cluster_counts_words_of_two_kinds(client, tmp_path):
    """Added tokens turn the words of their parts into characters that stand for bytes; equal words must still meet."""
    tokenizer = make_tokenizer()
    for i in range(4):
        (tmp_path / f"{i}.txt").write_text("the house, naïve <x> the end\n" if i == 2 else "the house, naïve\n")
    plain = gputok.distributed.count_words(tokenizer, str(tmp_path), client, part_bytes=10)
    assert plain.byte_level and plain == tokenizer.count_words(str(tmp_path), progress=False)
    tokenizer.add_tokens(["<x>"])
    counts = gputok.distributed.count_words(tokenizer, str(tmp_path), client, part_bytes=10)
    assert counts.spelled_out() == tokenizer.count_words(str(tmp_path), progress=False).spelled_out()
    tokenizer.add_tokens([f"<{i}>" for i in range(5000)])  # steps that are not sent with each task
    again = gputok.distributed.count_words(tokenizer, str(tmp_path), client, part_bytes=10)
    assert same_arrays(again, counts)


def same_arrays(a, b):
    return a.byte_level == b.byte_level and all(map(np.array_equal, a.columns()[:3], b.columns()[:3]))


@pytest.mark.slow
@pytest.mark.parametrize("memory_limit", [None, "64MB"])
def test_counts_of_dask_are_in_the_order_of_merged_counts(memory_limit, client, tmp_path):
    """For any number of tasks, with and without rounds of adding up before the words are shared out."""
    rng = random.Random(7)
    (tmp_path / "a.txt").write_text("".join(f"{rng.randrange(3000)} né {rng.random()}\n" for _ in range(4000)))
    tokenizer = make_tokenizer()
    merged = WordCounts.merge([tokenizer.count_words(str(tmp_path), progress=False)])
    for part_bytes in (None, 4000, 1000):
        counts = gputok.distributed.count_words(
            tokenizer, str(tmp_path), client, part_bytes=part_bytes, memory_limit=memory_limit
        )
        assert same_arrays(counts, merged)
        assert [column.dtype for column in counts.columns()[:3]] == [np.uint8, np.int64, np.int64]
    (tmp_path / "a.txt").write_text("")
    nothing = gputok.distributed.count_words(tokenizer, str(tmp_path), client)
    assert same_arrays(nothing, tokenizer.count_words(str(tmp_path), progress=False))


def test_tasks_are_small_enough_for_all_threads(tmp_path):
    (tmp_path / "a.txt").write_text("the house\n" * 7_000_000)
    assert [
        len(gputok.distributed._tasks(tmp_path, n_bytes, threads))
        for n_bytes, threads in ((None, 1), (None, 64), (50_000_000, 64))
    ] == [2, 3, 2]


@pytest.mark.full
def test_bags_and_frames_of_dask(client, corpus, expected):
    import dask.bag
    import dask.dataframe

    tokenizer = make_tokenizer()
    files = sorted(map(str, corpus.glob("*.parquet")))
    bag = dask.bag.from_sequence(files, npartitions=4).map(tokenizer.count_words, threads=1, progress=False)
    assert bag.reduction(WordCounts.merge, WordCounts.merge, split_every=2).compute() == expected

    counter = tokenizer.word_counter("text")

    def counted(frame):
        return counter.of_table(pa.Table.from_pandas(frame[["text"]])).to_pandas()

    meta = {"word": object, "count": "int64"}
    words = dask.dataframe.read_parquet(files).map_partitions(counted, meta=meta).compute()
    assert WordCounts.from_arrow(pa.Table.from_pandas(words), byte_level=True) == expected


@pytest.mark.slow
def test_a_worker_that_dies_changes_nothing(client, cluster, corpus, monkeypatch):
    """One is killed while both count; Dask starts another, and what was lost is counted again."""
    tokenizer, files = make_tokenizer(), [str(corpus / "0.txt")] * 200
    whole = tokenizer.count_words(files, progress=False)
    victim = next(iter(cluster.workers.values())).process.pid
    begun = client.submit(os.getpid, pure=False)
    begun.result()
    left = []

    def kill():
        until = time.monotonic() + 60
        while not any(client.processing().values()) and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(0.2)
        os.kill(victim, signal.SIGKILL)
        left.append(sum(future.status == "pending" for future in [*client.futures.values()]))

    killer = threading.Thread(target=kill)
    killer.start()
    counts = gputok.distributed.count_words(tokenizer, files, client, part_bytes=20_000)
    killer.join()
    assert counts == whole
    assert left[0] > 20
    assert victim not in {worker.process.pid for worker in cluster.workers.values()}


@pytest.mark.slow
def test_what_a_worker_cannot_read_is_named(client, tmp_path):
    (tmp_path / "good.txt").write_text("fine\n")
    (tmp_path / "bad.txt").write_bytes(b"fine\n\xff\n")
    with pytest.raises(ValueError, match=r"bad\.txt, byte 5: 0xff is not UTF-8"):
        gputok.distributed.count_words(make_tokenizer(), str(tmp_path), client)
    with pytest.raises(FileNotFoundError, match="missing"):
        gputok.distributed.count_words(make_tokenizer(), str(tmp_path / "missing"), client)
    assert all(future.status == "cancelled" for future in client.futures.values())


@pytest.mark.full
def test_the_snippet_for_dask(folder, expected):
    pytest.importorskip("distributed", reason="the engine is in the package distributed")
    run_snippet("Dask", folder)
    assert WordCounts.load(folder / "dask.parquet") == expected


@pytest.mark.parametrize("name", ["threads", "progress", "temporary"])
def test_what_is_for_one_machine_is_refused(name):
    with pytest.raises(TypeError, match=f"{name}= is for one machine"):
        gputok.distributed.count_words(Tokenizer(models.BPE()), [], mock.Mock(), **{name: None})
