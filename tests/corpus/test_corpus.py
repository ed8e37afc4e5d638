"""All kinds of sources of text: the same documents, in batches of bounded size, and errors that name file and line."""

import gzip
import itertools
import json
import lzma
import os
import pathlib
import random
import re
import tracemalloc

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from gputok.kernels import builtins

from gputok import TextBatch, Tokenizer, corpus, models
from gputok.corpus import streams
from gputok.corpus.options import ReadSizes
from gputok.files import locations

TEXTS = ["one\n", "", "naïve 漢字 😀\r\n", "a\u2028b\x0bc", "tail"]


def documents(source, **options) -> list[str]:
    """The documents that `read` yields; checks each batch."""
    texts = []
    for batch in corpus.read(source, **options):
        assert batch.offsets.dtype == np.int64 and batch.data.dtype == np.uint8
        assert batch.n_documents > 0 and batch.offsets[0] == 0 and batch.offsets[-1] == len(batch.data)
        texts += batch.strings()
    return texts


def compress(path: pathlib.Path, ending: str) -> pathlib.Path:
    """Writes `path` again as gzip, xz or zstd and removes the plain file."""
    target = path.with_name(path.name + ending)
    raw = path.read_bytes()
    if ending == ".gz":
        target.write_bytes(gzip.compress(raw))
    elif ending == ".xz":
        target.write_bytes(lzma.compress(raw))
    else:
        with pa.CompressedOutputStream(str(target), "zstd") as file:
            file.write(raw)
    path.unlink()
    return target


def write(path: pathlib.Path, texts: list[str]) -> pathlib.Path:
    """Writes a file of the kind that its name implies, with one document for each text."""
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps({"id": i, "text": text}) + "\n" for i, text in enumerate(texts)))
    elif path.suffix == ".parquet":
        pq.write_table(pa.table({"id": range(len(texts)), "text": texts}), path, row_group_size=len(texts) // 3 + 1)
    else:
        path.write_bytes("".join(texts).encode())
    return path


# -- plain text


def test_a_document_is_a_line_with_its_ending_cut_at_newline_only(tmp_path):
    path = write(tmp_path / "a.txt", ["x\r\n", "\n", "a\u2028b\x0bc\x85d\n", "no end"])
    assert documents(path) == ["x\r\n", "\n", "a\u2028b\x0bc\x85d\n", "no end"]
    assert documents(str(path)) == documents([str(path)]) == documents(path)


def test_separator_replaces_lines_and_is_left_out(tmp_path):
    path = write(tmp_path / "a.txt", ["one\ntwo<|end|><|end|>three<|end|>"])
    assert documents(path, separator="<|end|>") == ["one\ntwo", "", "three"]
    assert documents(write(tmp_path / "b.txt", ["x\ny\n\nz"]), separator="\n") == ["x", "y", "", "z"]


@pytest.mark.parametrize("separator", [None, "<|>", "漢", "xx", "<|><|>"])
def test_batches_of_any_size_hold_the_same_documents(tmp_path, separator):
    rng = random.Random(0)
    text = "".join(rng.choices(["a", "é", "漢", "😀", "\n", "<|>", "<", "|", "x" * 50], k=2000))
    path = write(tmp_path / "a.txt", [text])
    expected = text.split(separator) if separator else text.splitlines(keepends=True)
    if separator and not expected[-1]:
        expected.pop()
    for batch_bytes in [1, 2, 3, 7, 64, 1000, 10**6]:
        assert documents(path, separator=separator, batch_bytes=batch_bytes) == expected


def test_batches_are_of_about_the_size_asked_for():
    for lengths in [[10] * 5000, [0] * 50 + [3000] * 9 + [1] * 5000, [100_000, 1, 1]]:
        array = pa.array(["x" * n for n in lengths])
        sizes = [len(batch.data) for batch in corpus.read(array, batch_bytes=1000)]
        assert sum(sizes) == sum(lengths)
        assert max(sizes) <= 2000 + max(lengths)
        assert len(sizes) <= 2 * sum(lengths) / 1000 + 1


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_one_long_line_is_read_in_linear_time(tmp_path, monkeypatch, ending):
    read = []
    fill, read_range = streams.fill, locations.HeldFile.read_range
    monkeypatch.setattr(streams, "fill", lambda *a: read.append(len(a[2])) or fill(*a))
    monkeypatch.setattr(locations.HeldFile, "read_range", lambda *a: read.append(a[2]) or read_range(*a))
    path = write(tmp_path / "a.txt", ["x" * 10_000_000])
    path = compress(path, ending) if ending else path
    assert documents(path, batch_bytes=100) == ["x" * 10_000_000]
    assert 0 < len(read) < 40  # with a fixed step it would be 100,000, each copying what came before
    assert sum(read) < 5 * 10_000_000


def test_empty_files_have_no_documents(tmp_path):
    for name in ["a.txt", "a.txt.gz", "a.jsonl", "a.jsonl.zst"]:
        (tmp_path / name).write_bytes(gzip.compress(b"") if name.endswith("gz") else b"")
        assert documents(tmp_path / name) == []
    assert documents([]) == documents(iter([])) == documents(pa.array([], pa.string())) == []


# -- every kind of file gives the same


@pytest.mark.parametrize("compression", ["", ".gz", ".xz", ".zst"])
@pytest.mark.parametrize("kind", [".txt", ".jsonl", ".parquet"])
def test_files_of_every_kind(tmp_path, kind, compression):
    texts = ["".join(TEXTS[:1]), *(f"{i} naïve 漢字 😀\n" for i in range(1000))]
    path = write(tmp_path / f"a{kind}", texts)
    if compression:
        path = compress(path, compression)
    for batch_bytes in (100, 10**6):
        assert documents(path, batch_bytes=batch_bytes) == texts


@pytest.mark.filterwarnings("ignore:.* have no .text.")
def test_json_lines_of_every_form(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"text": "\\u6f22", "n": [1, {"a": 2}]}\n\n{"n": 1}\n{"text": null}\n  \n{"text": "b", "text": "c"}'
    )
    assert documents(path) == ["漢", "", "", "c"]
    assert documents(write(tmp_path / "long.jsonl", ["x" * 3_000_000, "y"])) == ["x" * 3_000_000, "y"]


def test_columns_that_must_be_named_and_those_that_need_not(tmp_path):
    table = pa.table({"n": [1], "body": ["b"], "text": ["t"]})
    assert documents(table) == ["t"] and documents(table, column="body") == ["b"]
    assert documents(table.select(["n", "body"])) == ["b"]
    pq.write_table(pa.table({"a": ["x"], "b": ["y"]}), tmp_path / "a.parquet")
    (tmp_path / "a.jsonl").write_text('{"a": "x", "b": "y"}\n')
    for path in [tmp_path / "a.parquet", tmp_path / "a.jsonl"]:
        assert documents(path, column="b") == ["y"]
        with pytest.raises(ValueError, match=rf"{path.name} has the columns a, b: name the one"):
            documents(path)
        with pytest.raises(ValueError, match=rf"{path.name} has no column 'c'; it has a, b"):
            documents(path, column="c")


def test_folders_and_globs_in_sorted_order(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ["b.txt", "a.txt", "sub/c.jsonl", ".hidden", "a10.txt"]:
        write(tmp_path / name, [name])
    assert documents(tmp_path) == ["a.txt", "a10.txt", "b.txt", "sub/c.jsonl"]
    assert documents(f"{tmp_path}/*.txt") == ["a.txt", "a10.txt", "b.txt"]
    assert documents(f"{tmp_path}/**/*.jsonl") == ["sub/c.jsonl"]
    assert documents([tmp_path / "b.txt", tmp_path / "a.txt"]) == ["b.txt", "a.txt"]
    write(tmp_path / "odd[1].txt", ["odd"])  # a name that exists is a name, not a glob
    assert documents(tmp_path / "odd[1].txt") == ["odd"]


def test_a_file_begins_a_new_document(tmp_path):
    paths = [write(tmp_path / "a", ["x"]), write(tmp_path / "b", ["y\n"])]
    assert documents(paths) == ["x", "y\n"]
    assert len(list(corpus.read(paths))) == 1  # small files share a batch


def test_real_text(corpus_sample, tmp_path):
    for name in ["en", "code", "multi", "zh"]:
        text = corpus_sample(name, 300_000)
        lines = [line + "\n" for line in text.split("\n")[:-1]]
        assert documents(write(tmp_path / "a.txt", [text]), batch_bytes=1 << 15) == lines
        assert documents(write(tmp_path / "a.jsonl", lines), batch_bytes=1 << 15) == lines


def test_a_reader_of_one_batch_needs_memory_for_two(tmp_path):
    path = write(tmp_path / "a.txt", ["some text of a line\n"] * 400_000)  # 8 MB
    tracemalloc.start()
    for batch in corpus.read(path, batch_bytes=1 << 20, threads=1):
        assert batch.n_documents
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 << 20  # with the line ends, of 0.4 MB a batch; a third buffer would go beyond


@pytest.mark.slow
@pytest.mark.parametrize("kind", [".txt", ".jsonl", ".parquet"])
@pytest.mark.parametrize("compression", ["", ".gz"])
@pytest.mark.parametrize("threads", [1, 3])
def test_memory_does_not_grow_with_the_corpus(tmp_path, kind, compression, threads):
    # 48 MB
    paths = [write(tmp_path / f"{i}{kind}", ["some text of a line\n" * 10] * 80_000) for i in range(3)]
    paths = [compress(path, compression) for path in paths] if compression else paths
    list(corpus.read(write(tmp_path / f"small{kind}", ["a\n"]), threads=threads))  # what is loaded stays
    tracemalloc.start()
    in_arrow = pa.total_allocated_bytes()
    most_in_arrow = 0
    for _ in corpus.read(paths, batch_bytes=1 << 17, threads=threads):
        most_in_arrow = max(most_in_arrow, pa.total_allocated_bytes() - in_arrow)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Besides a batch or two of each thread, and buffers that are used again: of long tasks, the 32 batches that each
    # further thread may be ahead.
    assert max(peak, most_in_arrow) < (8 << 20) + (threads - 1) * (9 << 20)


# -- what is wrong is said, and where


@pytest.mark.parametrize("compression", ["", ".gz"])
@pytest.mark.parametrize("batch_bytes", [10, 10**6])
def test_invalid_utf8_is_named_with_its_byte_or_replaced(tmp_path, compression, batch_bytes):
    raw = "漢字\n".encode() * 20 + b"caf\xe9\n" + b"ok \xf0\x9f\n" + b"cut \xe6\xbc"
    path = tmp_path / "a.txt"
    path.write_bytes(raw)
    if compression:
        path = compress(path, compression)
    with pytest.raises(ValueError, match=rf"{path.name}, byte 143: 0xe9 is not UTF-8"):
        documents(path, batch_bytes=batch_bytes)
    lines = raw.decode(errors="replace").splitlines(keepends=True)
    assert documents(path, errors="replace", batch_bytes=batch_bytes) == lines


def test_the_byte_counts_separators_and_a_character_may_not_span_one(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"a||b||\xff")
    with pytest.raises(ValueError, match="byte 6: 0xff"):
        documents(path, separator="||")
    path.write_bytes(b"x\xc3||\xa9")  # the two documents are no UTF-8, but together they would be
    with pytest.raises(ValueError, match="byte 4: 0xa9"):
        documents(path, separator="||")
    assert documents(path, separator="||", errors="replace") == ["x\ufffd", "\ufffd"]


def test_invalid_utf8_in_columns_and_json(tmp_path):
    with pytest.raises(ValueError, match="row 1, byte 1: 0xff"):
        documents(pa.array([b"a", b"b\xff"]))
    assert documents(pa.array([b"x\xc3", b"\xa9"]), errors="replace") == ["x\ufffd", "\ufffd"]
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "a"}\n{"text": "\xff"}\n')
    with pytest.raises(ValueError, match=r"a.jsonl, byte 24: 0xff"):
        documents(path)
    assert documents(path, errors="replace") == ["a", "\ufffd"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "a"', r"line 3: not JSON \(Expecting ',' delimiter"),
        ("[1]", "line 3: a JSON object is expected, this is list"),
        ('{"text": 5}', "line 3: 'text' is int, not a string"),
        ('{"text": "\\ud800"}', r"line 3: character 0 is the lone surrogate U\+D800"),
    ],
)
def test_bad_json_is_named_with_its_line(tmp_path, line, message):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a"}\n\n' + line + '\n{"text": "b"}\n')
    for batch_bytes in (20, 10**6):
        with pytest.raises(ValueError, match=rf"a\.jsonl, {message}"):
            documents(path, batch_bytes=batch_bytes)
    if "ud800" in line:
        assert documents(path, errors="replace") == ["a", "\ufffd", "b"]


@pytest.mark.parametrize("compression", [".gz", ".xz", ".zst"])
def test_truncated_and_corrupt_archives(tmp_path, compression):
    path = compress(write(tmp_path / "a.txt", [f"{i * i * i}\n" for i in range(20_000)]), compression)
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) // 2])
    with pytest.raises(ValueError, match=r"a\.txt\.\w+: broken off in the middle of its compressed data, after \d+"):
        documents(path)
    path.write_bytes(raw + raw)  # members may follow each other
    assert len(documents(path)) == 40_000
    path.write_bytes(b"plain text, no archive\n" * 9)
    with pytest.raises(ValueError, match=rf"not a valid {compression} file"):
        documents(path)


def test_a_file_that_is_not_parquet(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match=r"a\.parquet: expected a Parquet file"):
        documents(tmp_path / "a.parquet")
    pq.write_table(pa.table({"text": [1, 2]}), tmp_path / "b.parquet")
    with pytest.raises(ValueError, match=r"b\.parquet, column 'text' holds int64, not strings"):
        documents(tmp_path / "b.parquet")


NO_STRINGS = {
    "list<item: string>": [["a", "b"], ["c"]],
    "list<item: int64>": [[1], [2]],
    "struct<text: string>": [{"text": "a"}, {"text": "b"}],
    "map<string, string>": pa.array([[("k", "v")], []], pa.map_(pa.string(), pa.string())),
    "int64": [1, 2],
    "null": [None, None],
    "fixed_size_binary[2]": pa.array([b"ab", b"cd"], pa.binary(2)),
}


SEVERAL = 40


def several_parts(path: pathlib.Path, ending: str) -> list[int]:
    """Writes a file of SEVERAL lines, each compressed by itself; returns where each part begins."""
    at, whole = [], b""
    for i in range(SEVERAL):
        line = json.dumps({"text": f"{i:03d}" * 99}).encode() + b"\n"
        at.append(len(whole))
        if ending == ".zst":
            out = pa.BufferOutputStream()
            with pa.CompressedOutputStream(out, "zstd") as file:
                file.write(line)
            line = out.getvalue().to_pybytes()
        whole += {".gz": gzip.compress, ".xz": lzma.compress}.get(ending, bytes)(line)
    path.write_bytes(whole)
    return at


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("ending", ["", ".gz", ".xz", ".zst"])
@pytest.mark.parametrize("kind", [".txt", ".jsonl", ".sep"])
def test_a_file_that_shrinks_is_an_error(tmp_path, kind, ending, threads, monkeypatch):
    """Cut at the end of a line, so that only the size shows the damage."""
    monkeypatch.setattr("io.DEFAULT_BUFFER_SIZE", 256)
    path = tmp_path / f"a{kind}{ending}"
    at = several_parts(path, ending)
    options = {"separator": "\n"} if kind == ".sep" else {}
    batches = corpus.read(path, batch_bytes=500, threads=threads, sizes=ReadSizes(small=256), **options)
    next(batches)
    os.truncate(path, at[SEVERAL // 2])
    with pytest.raises(ValueError, match=rf"{path}: shrank from \d+ to {at[SEVERAL // 2]} bytes while"):
        list(batches)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("change", ["grows", "is replaced", "is removed", "is renamed"])
def test_a_file_that_changes_is_read_up_to_its_old_size(tmp_path, change, threads):
    path = tmp_path / "a.txt"
    path.write_text("some line\n" * 500)
    batches = corpus.read(path, batch_bytes=300, threads=threads, sizes=ReadSizes(small=256))
    n = next(batches).n_documents
    if change == "grows":
        with open(path, "a") as file:
            file.write("more\n")
    elif change == "is replaced":
        (tmp_path / "new").write_text("short\n")
        os.replace(tmp_path / "new", path)
    elif change == "is removed":
        path.unlink()
    else:
        path.rename(tmp_path / "b.txt")
    assert n + sum(batch.n_documents for batch in batches) == 500


@pytest.mark.parametrize("kind", NO_STRINGS)
@pytest.mark.parametrize("name", ["text", "text.list", "a.b"])
def test_a_column_that_holds_no_strings_is_named_with_its_type(tmp_path, kind, name):
    path = tmp_path / "a.parquet"
    for more, hint in (({}, ""), ({"title": ["x", "y"]}, "; title would do, by column=")):
        table = pa.table({name: NO_STRINGS[kind], **more})
        pq.write_table(table, path)
        for source, where in ((path, str(path)), (table, "the Table"), (table.to_reader(), "the RecordBatchReader")):
            # The rest has names of the file's
            begin = re.escape(f"{where}, column {name!r} holds {kind.partition('<')[0]}")
            with pytest.raises(ValueError, match=rf"^{begin}[^,]*(, [^,]*)?, not strings{hint}$"):
                list(corpus.read(source, column=name))


def test_texts_have_no_columns():
    with pytest.raises(ValueError, match="column='title' chooses a column of rows; these are texts"):
        list(corpus.read(iter(["a", "b"]), column="title"))


def test_sources_that_do_not_exist(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ["none.txt", "empty", "*.csv"]:
        with pytest.raises(
            FileNotFoundError, match=r"none\.txt: no such file|empty: no file below|csv: no file matches"
        ):
            corpus.read(tmp_path / name)  # at once, not at the first batch


@pytest.mark.parametrize("text", ["a text", "long " * 2000, "nul \0", "[a] text?"])
def test_a_list_of_texts_instead_of_paths_is_explained(text):
    with pytest.raises(
        FileNotFoundError, match=r"for texts instead of paths, give an iterator: iter\(texts\)"
    ) as error:
        corpus.read([text])
    assert len(str(error.value)) < 400


def test_arguments_without_effect_on_the_source_are_errors(tmp_path):
    path = write(tmp_path / "a.txt", ["x"])
    with pytest.raises(ValueError, match="plain text has no column 'text'"):
        documents(path, column="text")
    with pytest.raises(ValueError, match="documents already"):
        documents(write(tmp_path / "a.jsonl", ["x"]), separator="\n")
    for options in [{"separator": ""}, {"errors": "ignore"}, {"batch_bytes": 0}]:
        with pytest.raises(ValueError, match=next(iter(options))):
            corpus.read(path, **options)
    with pytest.raises(ValueError, match="separator="):
        corpus.read(iter(["x"]), separator="\n")


# -- Python strings


def test_iterators_of_strings_and_of_lists_of_strings():
    assert documents(iter(TEXTS)) == TEXTS
    assert documents(text for text in TEXTS) == TEXTS
    assert documents(TEXTS[i : i + 2] for i in range(0, 5, 2)) == TEXTS
    assert documents([TEXTS[:2], TEXTS[2:]]) == TEXTS
    assert documents(np.array(TEXTS)) == documents([np.array(TEXTS, object)]) == TEXTS
    assert next(corpus.Source(["a.txt", "b"], False).read()).n_documents == 2  # not files


@pytest.fixture(params=["builtin", "Python"])
def taker(request, monkeypatch):
    """Texts are taken by a builtin function, where there is one, or by Python."""
    if request.param == "Python":
        monkeypatch.setattr(builtins, "builtin_functions", lambda: None)


def test_an_endless_iterator_is_read_as_far_as_it_is_used():
    def endless():
        while True:
            yield ["", "some text"]

    batches = corpus.read(endless(), batch_bytes=1000)
    assert len(next(batches).data) <= 1000 and len(next(batches).data) <= 1000


@pytest.mark.parametrize("bad", [5, None, b"bytes", {"text": "a"}])
def test_an_item_that_is_not_a_string_is_named_with_its_position(bad):
    for source in (iter(["a", "b", bad]), iter([["a", "b"], [bad]])):
        with pytest.raises(TypeError, match=rf"text 2 of the iterator is {type(bad).__name__}, not str"):
            documents(source)
    with pytest.raises(TypeError, match=rf"text 2 .* {type(bad).__name__}"):
        documents(iter(["a", "b", bad]), batch_bytes=1)
    with pytest.raises(TypeError, match=rf"no text can be read from {type(bad).__name__}"):
        documents(bad)


@pytest.mark.usefixtures("taker")
@pytest.mark.parametrize("at", [0, 1, 2, *range(1745, 1755), 3099, 3100])
def test_any_item_may_come_after_any_number_of_texts(at):
    """Some 16,000 characters are taken together; a list, an iterator or a wrong item may be among them anywhere."""
    texts = [f"text {i}" for i in range(3100)]
    for item in (["one", "two"], ("one", "two"), iter(["one", "two"]), (text for text in ("one", "two"))):
        given = [*texts[:at], item, *texts[at:]]
        assert documents(iter(given), batch_bytes=16_000) == [*texts[:at], "one", "two", *texts[at:]]
    for inner in ([["a"], "b"], (np.array(["a"]), "b")):
        with pytest.raises(TypeError, match=f"text {at} of the iterator is {type(inner[0]).__name__}, not str"):
            documents(iter([*texts[:at], inner, *texts[at:]]))
    with pytest.raises(TypeError, match=f"text {at} of the iterator is int, not str"):
        documents(iter([*texts[:at], 5, *texts[at:]]))


@pytest.mark.usefixtures("taker")
def test_the_error_of_an_iterator_comes_after_the_batches_before():
    def texts():
        yield from ["a" * 99] * 30
        raise KeyError("broken")

    for source in texts(), iter([iter(["a" * 99] * 20), texts()]):
        found = corpus.read(source, batch_bytes=1000)
        assert next(found).strings().__next__() == "a" * 99 and next(found).n_documents == 10
        with pytest.raises(KeyError, match="broken"):
            list(found)


@pytest.mark.usefixtures("taker")
def test_long_texts_are_made_when_they_are_asked_for():
    made = []

    def texts():
        yield from ["a"] * 5000
        for i in range(50):
            made.append(i)
            yield "long" * 25_000

    batches = corpus.read(texts(), batch_bytes=200_000)
    assert sum(next(batches).n_documents for _ in range(2)) > 5000
    assert len(made) <= 5


def test_lone_surrogates():
    with pytest.raises(ValueError, match=r"text 1 of the iterator: character 2 is the lone surrogate U\+DC80"):
        documents(iter(["a", "😀b\udc80"]))
    assert documents(iter(["a", "😀b\udc80"]), errors="replace") == ["a", "😀b\ufffd"]


# -- Arrow


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary()])
def test_arrow_arrays_of_every_layout(kind):
    texts = [*TEXTS, None, "😀" * 20]
    expected = [*TEXTS, "", "😀" * 20]  # a null is an empty document, so that rows keep step
    array = pa.array(texts, pa.string()).cast(kind)
    assert documents(array) == expected
    assert documents(array[2:6]) == expected[2:6]
    assert documents(array[1:1]) == []
    chunks = pa.chunked_array([array, array[:0], array[3:]])
    assert documents(chunks) == expected + expected[3:]
    assert (
        documents(pa.table({"text": chunks}))
        == documents(pa.table({"x": chunks}), column="x")
        == expected + expected[3:]
    )
    assert documents(pa.record_batch({"text": array[1:4]})) == expected[1:4]


def test_dictionary_arrays_and_streams():
    array = pa.array(["b", "a", None, "b"]).dictionary_encode()
    assert documents(array) == ["b", "a", "", "b"] and documents(array[1:]) == ["a", "", "b"]
    batch = pa.record_batch({"text": ["x", "y"]})
    assert documents(pa.RecordBatchReader.from_batches(batch.schema, [batch, batch])) == ["x", "y"] * 2
    assert documents(pa.array([{"text": "in a struct"}])) == ["in a struct"]
    assert documents(iter([batch, batch])) == ["x", "y"] * 2
    with pytest.raises(ValueError, match="holds int64, not strings"):
        documents(pa.array([1, 2]))


def test_a_null_slot_may_hide_bytes():
    data = pa.py_buffer(b"abcd")
    array = pa.StringArray.from_buffers(3, pa.py_buffer(np.int32([0, 1, 3, 4])), data, pa.py_buffer(b"\x05"))
    assert array.to_pylist() == ["a", None, "d"] and documents(array) == ["a", "", "d"]


def test_arrow_text_is_not_copied():
    array = pa.array(["漢字", "text"] * 1000, pa.large_string())
    (batch,) = corpus.read(array[10:])
    assert array.buffers()[2].address < batch.data.ctypes.data < array.buffers()[2].address + array.nbytes
    data = batch.data
    del array, batch
    assert data[:3].tobytes().decode() == "漢"  # the view keeps Arrow's memory alive


def test_data_frames():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"n": [1, 2], "text": ["x", "y"]})
    assert documents(frame) == documents(frame["text"]) == ["x", "y"]


def test_a_batch_is_a_source():
    batch = TextBatch.from_strings(TEXTS)
    assert documents(batch) == documents([batch]) == TEXTS
    assert documents(TextBatch(batch.data, batch.offsets[2:4])) == TEXTS[2:3]


# -- datasets


@pytest.fixture(scope="module")
def dataset():
    return datasets.Dataset.from_dict({"n": range(500), "text": [f"{i} 漢\n" for i in range(500)]})


def test_datasets_as_they_are_and_rearranged(dataset):
    texts = dataset["text"][:]
    assert documents(dataset) == documents(dataset["text"]) == documents(dataset.with_format("numpy")) == texts
    assert documents(dataset.select(range(10, 20))) == texts[10:20]
    assert documents(dataset.select([5, 3, 3])) == [texts[5], texts[3], texts[3]]
    shuffled = dataset.shuffle(seed=1)
    assert documents(shuffled) == shuffled["text"][:] != texts
    assert documents(datasets.concatenate_datasets([dataset, shuffled])) == texts + shuffled["text"][:]
    assert documents(dataset.train_test_split(0.5, seed=0)["test"], batch_bytes=64)
    (batch,) = corpus.read(dataset)
    chunk = dataset.data.table["text"].chunk(0)
    assert batch.data.ctypes.data == chunk.buffers()[2].address  # in place


def test_a_transform_of_the_user_is_applied(dataset):
    upper = dataset.with_transform(lambda rows: {"text": [f"<{text}>" for text in rows["text"]]})
    assert documents(upper) == documents(upper["text"]) == [f"<{text}>" for text in dataset["text"]]


def test_streams(dataset):
    texts = dataset["text"][:]
    assert documents(dataset.to_iterable_dataset(num_shards=3)) == texts
    assert documents(dataset.to_iterable_dataset()["text"]) == texts
    generated = datasets.IterableDataset.from_generator(lambda: iter({"text": text} for text in texts))
    assert documents(generated) == documents(generated, column="text") == texts
    assert documents(generated.map(lambda row: {"text": row["text"] + "!"}).take(3)) == [t + "!" for t in texts[:3]]


def test_the_generator_of_the_hugging_face_course(dataset):
    raw_datasets = {"train": dataset.rename_column("text", "whole_func_string")}

    def get_training_corpus():
        n = len(raw_datasets["train"])
        return (raw_datasets["train"][i : i + 100]["whole_func_string"] for i in range(0, n, 100))

    assert documents(get_training_corpus()) == dataset["text"][:]


def test_errors_list_the_columns_of_a_dataset(dataset):
    with pytest.raises(ValueError, match="has no column 'x'; it has n, text"):
        documents(dataset, column="x")
    with pytest.raises(ValueError, match=r"has the splits train: pass one of them"):
        documents(datasets.DatasetDict(train=dataset))
    with pytest.raises(ValueError, match="has no column 'x'; it has n, text"):
        documents(dataset.to_iterable_dataset(), column="x")


# -- totals


def test_total_bytes_where_they_are_known(tmp_path, dataset):
    path = write(tmp_path / "a.txt", TEXTS)
    n = len("".join(TEXTS).encode())
    assert corpus.Source.of(path).total_bytes == corpus.Source.of([path]).total_bytes == n
    assert (
        corpus.Source.of(pa.array(TEXTS)).total_bytes
        == corpus.Source.of(TextBatch.from_strings(TEXTS)).total_bytes
        == n
    )
    assert corpus.Source.of(pa.array(["x", *TEXTS])[1:]).total_bytes == n
    assert corpus.Source.of(dataset).total_bytes == sum(len(text.encode()) for text in dataset["text"])
    for source in [compress(path, ".gz"), iter(TEXTS), dataset.shuffle(seed=0), pa.array(TEXTS).dictionary_encode()]:
        assert corpus.Source.of(source).total_bytes is None


def test_a_source_is_a_corpus(tmp_path):
    """It stays as it is, apart from what is given besides."""
    (tmp_path / "a.jsonl").write_text('{"a": "one", "b": "two"}\n')
    source = corpus.Source.of(tmp_path / "a.jsonl", column="a")
    assert corpus.Source.of(source) is source
    assert [[*batch.strings()] for batch in corpus.read(source)] == [["one"]]
    assert [[*batch.strings()] for batch in corpus.read(source, column="b")] == [["two"]]


@pytest.mark.parametrize("method", ["train", "train_from_iterator", "count_words", "encode_corpus", "extend", "prune"])
def test_an_unknown_option_of_a_corpus(method):
    tokenizer = Tokenizer(models.BPE())
    given = {"extend": (iter([]), 1), "prune": (1, iter([]))}.get(method, (iter([]),))
    with pytest.raises(TypeError, match="unexpected argument colum=; expected one of errors, column"):
        getattr(tokenizer, method)(*given, colum="text")
    with pytest.raises(TypeError, match="unexpected argument longest="):
        tokenizer.count_words(iter([]), longest=1)


def test_batches_grow_with_the_text_before_them(tmp_path):
    """Python prepares batches on one thread at a time; but the first ones come soon, and each thread gets many."""
    texts, path = ["some words " * 100] * 30_000, tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    for given in (iter(texts), str(path)):
        found = corpus.Source.of(given).read_apart(1)
        if isinstance(given, str):  # tasks
            found = itertools.chain.from_iterable(task.read() for task in found)
        found = [*found]
        sizes = [len(batch.data) for batch in found]
        assert sum(batch.n_documents for batch in found) == len(texts)
        assert 5 << 19 < max(sizes) <= sum(sizes) // 7 and all(len(set(batch.strings())) == 1 for batch in found)
        assert sizes[0] < 5 << 19 or isinstance(given, str)
    sizes = [len(batch.data) for batch in corpus.Source.of(iter(texts)).read(1)]
    assert max(sizes) < 5 << 19
