"""Reading with several threads: the same documents in the same order as with one, the same errors, bounded memory."""

import bz2
import gzip
import json
import lzma
import os
import random
import re
import sqlite3
import subprocess
import sys
import threading
import time
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import orc

import gputok
from gputok import TextBatch, corpus
from gputok.corpus.options import ReadSizes
from gputok.corpus.readers import Task, in_order
from gputok.files.locations import Lender


def documents(source, **options) -> list[str]:
    return [text for batch in corpus.read(source, **options) for text in batch.strings()]


def in_small_ranges(source, **options) -> list[str]:
    """The same; in ranges of a few bytes, so that small files have many."""
    return documents(source, sizes=ReadSizes(small=1, slack=3), **options)


def batch(*texts: str) -> TextBatch:
    return TextBatch.from_strings(texts)


def test_memory_that_was_lent_comes_back():
    lender = Lender()
    first = lender.lend(1000)
    address, part = first.ctypes.data, first[10:].view(np.int8)
    del first
    assert lender.lend(1000).ctypes.data != address  # since a part of it is in use
    del part
    assert address in [each.ctypes.data for each in [lender.lend(900), lender.lend(1000)]]
    assert len(lender.lend(100_000)) == 100_000
    assert lender.lend(1 << 21).ctypes.data % 4096 >= 32  # else Zen 4 copies slowly into it


@pytest.mark.parametrize("threads", [1, 3])
def test_batches_that_are_kept_stay_as_they_are(threads, tmp_path):
    """Their memory is used again only after they are dropped."""
    rng = random.Random(threads)
    files = [tmp_path / f"{i}.txt" for i in range(3)]
    for i, file in enumerate(files):
        file.write_bytes(b"".join(b"x" * rng.choice([0, 1, 9, 300]) + b"\n" for _ in range(30_000 * i)))
    kept = [*corpus.read(files, batch_bytes=1 << 16, threads=threads)]
    text = b"".join(file.read_bytes() for file in files)
    assert b"".join(batch.data.tobytes() for batch in kept) == text
    lengths = np.concatenate([np.diff(batch.offsets) for batch in kept])
    assert np.array_equal(np.cumsum(lengths), np.flatnonzero(np.frombuffer(text, np.uint8) == 10) + 1)


# -- the order of tasks


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("is_long", [False, True])
def test_batches_come_in_the_order_of_tasks(threads, is_long):
    rng = random.Random(0)

    def read(i):
        for j in range(i % 4):
            time.sleep(rng.random() / 500)
            yield batch(f"{i} {j}")

    tasks = (Task(lambda i=i: read(i), is_long) for i in range(60))
    found = [one[0] for one in in_order(tasks, threads, 20)]
    assert found == [f"{i} {j}" for i in range(60) for j in range(i % 4)]


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_comes_when_it_is_its_turn(threads):
    def read(i):
        yield batch(str(i))
        if i == 5:
            raise ValueError("five")

    for tasks in [
        (Task(lambda i=i: read(i)) for i in range(9)),
        (Task(lambda i=i: read(i)) if i < 6 else 1 / 0 for i in range(9)),
    ]:
        seen = []
        with pytest.raises(ValueError, match="five"):
            for one in in_order(tasks, threads, 100):
                seen.append(one[0])
        assert seen == list("012345")
    with pytest.raises(ZeroDivisionError):  # of the list of tasks itself
        list(in_order((Task(lambda: read(1)) if i < 6 else 1 / 0 for i in range(9)), threads, 100))


def test_the_queue_is_bounded_and_threads_end_with_their_reader():
    made, lock = 0, threading.Lock()

    def read(n):
        nonlocal made
        for _ in range(n):
            with lock:
                made += 1
            yield batch("x" * 10)

    before = threading.active_count()
    for n, most in [(1, 4 + 1 + 1), (50, 2 + 1 + 3 * (3 + 1) + 1)]:  # tasks of a batch; of many, 30 bytes ahead
        made = 0
        batches = in_order((Task(lambda n=n: read(n), n > 1) for _ in range(100)), 4, 30)
        next(batches)
        time.sleep(0.3)
        assert made <= most
        batches.close()
        assert threading.active_count() == before


def test_parts_that_were_read_ahead_come_in_order():
    done = []

    def read(i):
        for _ in range(5):
            yield batch("x" * 10)
        done.append(i)

    batches = in_order((Task(lambda i=i: read(i), True) for i in range(3)), 3, 1000)
    next(batches)
    time.sleep(0.3)
    assert sorted(done) == [1, 2]  # task 0 waits for its reader, and has two batches
    assert sum(one.n_documents for one in batches) == 14


# -- files


@pytest.mark.slow
@pytest.mark.parametrize("separator", [None, "<|>", "漢", "xx", "\n\n"])
def test_ranges_hold_the_documents_that_begin_in_them(tmp_path, separator):
    rng = random.Random(0)
    for _ in range(6):
        text = "".join(rng.choices(["a", "é", "漢", "😀", "\n", "<|>", "<", "|", "x" * 20], k=rng.randrange(300)))
        path = tmp_path / "a.txt"
        path.write_bytes(text.encode())
        expected = in_small_ranges(path, separator=separator, threads=1, batch_bytes=10**6)
        assert expected == [*filter(None, text.splitlines(keepends=True))] or separator or "\x85" in text
        for n in [1, 2, 3, 7, 64]:
            assert in_small_ranges(path, separator=separator, batch_bytes=n, threads=2) == expected
            parts = corpus.parts(path, part_bytes=n, separator=separator)
            assert [text for part in parts for text in in_small_ranges(part, separator=separator)] == expected
            assert in_small_ranges(parts, separator=separator) == expected


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_files_of_all_kinds_by_any_number_of_threads(tmp_path, threads):
    texts = [f"{i} naïve 漢字 😀\n" * (i % 5) for i in range(300)]
    lines = "".join(texts)
    (tmp_path / "1.txt").write_text(lines)
    (tmp_path / "2.txt.gz").write_bytes(gzip.compress(lines.encode()))
    (tmp_path / "3.jsonl").write_text("\n \n" + "".join(json.dumps({"text": text}) + "\n" for text in texts))
    pq.write_table(pa.table({"n": range(300), "text": texts}), tmp_path / "4.parquet", row_group_size=7)
    (tmp_path / "5.txt").write_text("")
    (tmp_path / "6.txt").write_text("tail")
    whole = lines.splitlines(keepends=True)
    assert in_small_ranges(tmp_path, batch_bytes=50, threads=threads) == [*whole, *whole, *texts, *texts, "tail"]
    parts = corpus.parts(tmp_path, part_bytes=400)
    assert len({part.file for part in parts}) == 6 and len(parts) > 100
    assert in_small_ranges(parts, threads=threads) == in_small_ranges(tmp_path)
    assert corpus.parts(tmp_path / "4.parquet", part_bytes=1)[3] == corpus.Part(str(tmp_path / "4.parquet"), 3, 4)


@pytest.mark.parametrize("threads", [1, 4])
def test_errors_name_the_same_place_whatever_range_it_is_in(tmp_path, threads):
    raw = "漢字\n".encode() * 20 + b"caf\xe9\n" + b"ok \xf0\x9f\n" + b"cut \xe6\xbc"
    (tmp_path / "a.txt").write_bytes(raw)
    (tmp_path / "b.jsonl").write_text('{"text": "a"}\n\n' * 30 + '{"text": 5}\n' + '{"text": "b"}\n')
    (tmp_path / "c.jsonl").write_text('{"text": "a"}\n\n' * 30 + '{"text": "\\ud800"}\n' + "{\n")
    (tmp_path / "d.jsonl").write_text("\n\n[1]\n")
    column = pa.array([b"fine"] * 50 + [b"b\xff"])
    pq.write_table(pa.table({"text": column}), tmp_path / "e.parquet", row_group_size=3)
    for name, message in {
        "a.txt": r"byte 143: 0xe9 is not UTF-8",
        "b.jsonl": r"line 61: 'text' is int, not a string",
        "c.jsonl": r"line 61: character 0 is the lone surrogate U\+D800",
        "d.jsonl": r"line 3: a JSON object is expected, this is list",
        "e.parquet": r"column 'text', row 50, byte 1: 0xff is not UTF-8",
    }.items():
        with pytest.raises(ValueError, match=message):
            in_small_ranges(tmp_path / name, batch_bytes=10, threads=threads)
    lines = raw.decode(errors="replace").splitlines(keepends=True)
    assert in_small_ranges(tmp_path / "a.txt", errors="replace", batch_bytes=10, threads=threads) == lines


def test_the_column_is_that_of_the_first_rows_whatever_range_is_read_first(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("\n" * 100 + '{"n": 1, "body": "first"}\n' + '{"n": 2, "body": "x", "text": "y"}\n' * 50)
    assert in_small_ranges(path, batch_bytes=10, threads=4) == ["first"] + ["x"] * 50
    last = corpus.parts(path, part_bytes=200)[-1]
    assert set(in_small_ranges(last)) == {"x"}
    with pytest.raises(ValueError, match="has no column 'z'; it has n, body"):
        in_small_ranges(last, column="z")
    path.write_text("\n" * 1000)
    assert in_small_ranges(path, batch_bytes=10) == []


def test_a_file_that_becomes_shorter_while_it_is_read(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"some text of a line\n" * 500_000)
    batches = corpus.read(path, batch_bytes=1 << 20, threads=2)
    next(batches)
    with open(path, "r+b") as file:
        file.truncate(5_000_000)
    with pytest.raises(ValueError, match=r"a\.txt: shrank from 10000000 to 5000000 bytes while it was read"):
        list(batches)


def test_text_appended_to_a_file_while_it_is_read_is_ignored(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"some text of a line\n" * 500_000)
    batches = corpus.read(path, batch_bytes=1 << 20)
    n = next(batches).n_documents
    with open(path, "ab") as file:
        file.write(b"more\n" * 1000)
    assert n + sum(one.n_documents for one in batches) == 500_000


def test_invalid_parts(tmp_path):
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(b"one\ntwo\n"))
    (part,) = corpus.parts(path, part_bytes=1)
    assert documents(part) == ["one\n", "two\n"]
    with pytest.raises(ValueError, match=r"a\.txt\.gz: can only be read from its beginning to its end"):
        documents(corpus.Part(str(path), 1, 5))
    with pytest.raises(TypeError, match="only files can be read in parts"):
        corpus.parts(iter(["x"]))
    with pytest.raises(ValueError, match="part_bytes=0"):
        corpus.parts(path, part_bytes=0)


def test_totals_of_parts(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"x\n" * 500)
    parts = corpus.parts(tmp_path / "a.txt", part_bytes=300)
    assert [corpus.Source.of(part).total_bytes for part in parts] == [300, 300, 300, 100]
    assert corpus.Source.of(parts).total_bytes == corpus.Source.of(tmp_path / "a.txt").total_bytes == 1000


def test_real_text_in_parts(corpus_sample, tmp_path):
    for name in ["code", "multi", "zh"]:
        text = corpus_sample(name, 300_000)
        (tmp_path / "a.txt").write_text(text)
        expected = documents(tmp_path / "a.txt", threads=1)
        parts = corpus.parts(tmp_path / "a.txt", part_bytes=10_007)
        assert documents(parts, threads=3, batch_bytes=1000) == expected
        assert np.sum([one.data.nbytes for one in corpus.read(parts)]) == len(text.encode())


@pytest.mark.slow
def test_small_archives_of_much_text_are_not_unpacked_far_ahead(tmp_path):
    for i in range(8):
        # 4 MB of text
        (tmp_path / f"{i}.txt.gz").write_bytes(gzip.compress(b"some text of a line\n" * 200_000, 1))
    sizes = ReadSizes(small=20_000)  # more than one archive has
    batches = corpus.read(tmp_path, batch_bytes=1 << 14, threads=2, sizes=sizes)  # half a MB ahead
    next(batches)
    time.sleep(1)
    inner = batches
    while "reading" not in inner.gi_frame.f_locals:
        inner = inner.gi_frame.f_locals["batches"]
    reading = inner.gi_frame.f_locals["reading"]
    waiting = sum(one.data.nbytes for taken in reading._taken for one in taken.batches)
    assert 100_000 < waiting < 700_000
    assert 1 + sum(one.n_documents for one in batches) > 8 * 200_000 - 1000


def test_a_small_csv_file_touches_little_memory(tmp_path):
    """A block that is read has 32 MB, which were cleared and copied twice."""
    pytest.importorskip("resource")
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"text\n" + b"some words\n" * 1000))
    code = """
import resource, sys
from gputok import corpus
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    assert sum(batch.n_documents for batch in corpus.read(sys.argv[1])) == 1000
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    # Here, it fills all memory
    env = {name: value for name, value in os.environ.items() if name != "MALLOC_PERTURB_"}
    command = [sys.executable, "-c", code, str(tmp_path / "a.csv.gz")]
    assert int(subprocess.run(command, env=env, stdout=subprocess.PIPE, check=True).stdout) < 2000


@pytest.mark.slow
@pytest.mark.parametrize("row", ["2", "2,b,c"])
def test_a_csv_file_whose_row_is_wrong_ends_with_an_error(tmp_path, row):
    """PyArrow read ahead in a thread, and the process waited for it without end or was aborted, in 21 of 21 runs."""
    rows = "".join(f"{i},some words and some more words\n" for i in range(50_000))
    with open(tmp_path / "corpus.csv", "w") as file:
        file.write(f"id,text\n1,a\n{row}\n")
        file.writelines([rows] * 50)  # some blocks
    program = "import sys; from gputok.cli import main; main(['count', sys.argv[1]])"
    command = [sys.executable, "-c", program, str(tmp_path / "corpus.csv")]
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path, check=False)
        assert (done.returncode, done.stdout) == (1, ""), done.stderr
        assert re.fullmatch("gputok: .*not readable as CSV .*\n", done.stderr)


def binary_files(folder) -> dict[str, bytes]:
    """Files of kinds that are not read as text, by name; long enough for several ranges of bytes."""
    text = random.Random(0).randbytes(300_000) + b"\nso it goes\n" * 9
    table, found = pa.table({"text": [f"so it goes {i}" for i in range(9000)]}), {}
    with pa.OSFile(str(folder / "made.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    with pa.OSFile(str(folder / "made.arrows"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    orc.write_table(table, str(folder / "made.orc"))
    pq.write_table(table, folder / "made.pq")
    np.save(folder / "made.npy", np.arange(9))
    sqlite3.connect(folder / "made.sqlite").execute("create table a (b)").connection.commit()
    with zipfile.ZipFile(folder / "made.zip", "w") as archive:
        archive.writestr("a.txt", text)
    for file in folder.glob("made.*"):
        found[file.name] = file.read_bytes()
        file.unlink()
    packed = {"bz2": bz2.compress(text), "gzip": gzip.compress(text), "lzma": lzma.compress(text)}
    packed |= {"zstd": pa.compress(text, "zstd", asbytes=True), "lz4": pa.compress(text, "lz4", asbytes=True)}
    packed |= {"utf16": "\ufeffso it goes\n".encode("utf-16-le") * 9, "utf16be": "\ufeffé\n".encode("utf-16-be")}
    return found | {f"made.{name}": data for name, data in packed.items()}


@pytest.mark.parametrize("errors", ["strict", "replace"])
def test_files_of_other_kinds_are_not_read_as_text(errors, tmp_path):
    """Their bytes are not text with errors in it, which errors="replace" would repair."""
    for name, data in binary_files(tmp_path).items():
        (tmp_path / name).write_bytes(data)
        for options in ({}, {"threads": 3}, {"separator": "\0\n\0"}):
            with pytest.raises(ValueError, match=rf"{name}: is .*(, not text in UTF-8: )"):
                documents([tmp_path / name], errors=errors, **options)
        tokenizer = gputok.Tokenizer(gputok.models.WordLevel())
        tokenizer.pre_tokenizer = gputok.pre_tokenizers.WhitespaceSplit()
        for call in (tokenizer.count_words, tokenizer.encode_corpus):
            with pytest.raises(ValueError, match=rf"{name}: is "):
                [*call([str(tmp_path / name)], errors=errors)]
        (tmp_path / "again.csv").write_bytes(data)
        with pytest.raises(ValueError, match=r"again\.csv: is .*(, not text in UTF-8: )"):
            documents([tmp_path / "again.csv"], errors=errors)
        (tmp_path / "again.gz").write_bytes(gzip.compress(data))
        with pytest.raises(ValueError, match=r"again\.gz: is "):
            documents([tmp_path / "again.gz"], errors=errors)
    for text in (b"ORC\nand elves\n", b"BZh91 is a chess opening\n", b"%PDF- in a text\n", b"ARROW1\n"):
        (tmp_path / "text.arrow").write_bytes(text)
        assert "".join(documents([tmp_path / "text.arrow"], errors=errors)).encode() == text
