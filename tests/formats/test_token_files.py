"""Files of ids: they are read as they were written, also after an interrupted run."""

import itertools
import os
import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import gputok
from gputok.token_files import token_files
from gputok.token_files.token_files import KINDS, TokenBatch, layout_of

rng = random.Random(0)
DOCUMENTS = [[rng.randrange(60_000) for _ in range(rng.choice([0, 1, 5, 90]))] for _ in range(300)]


def batches(n_done: int, *, size: int = 7, stop: int | None = None):
    """The documents after the first `n_done`; a KeyboardInterrupt at document `stop`."""
    for first in range(n_done, len(DOCUMENTS), size):
        if stop is not None and first >= stop:
            raise KeyboardInterrupt
        part = DOCUMENTS[first : first + size]
        rows = np.cumsum([0, *map(len, part)])
        yield TokenBatch(np.array([*itertools.chain(*part)], np.uint32), rows)


def documents(path) -> list[list[int]]:
    found = []
    for ids, rows in token_files.open_tokens(path).batches():
        assert rows[0] == 0 and rows[-1] == len(ids)
        found += [ids[a:b].tolist() for a, b in itertools.pairwise(rows)]
    return found


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
@pytest.mark.parametrize("kind", KINDS)
def test_written_files_are_read_back(tmp_path, kind, dtype):
    path = tmp_path / f"ids{kind}"
    assert token_files.write(path, batches, layout_of(path, 300, dtype=dtype), "run") == (300, 300)
    assert documents(path) == DOCUMENTS
    flat = [*itertools.chain(*DOCUMENTS)]
    if kind == ".npy":
        assert np.load(path).tolist() == flat and np.load(path).dtype == dtype
    elif kind == ".bin":
        assert np.fromfile(path, dtype).tolist() == flat
    elif kind == ".parquet":
        assert pq.read_table(path)["ids"].to_pylist() == DOCUMENTS
    else:
        assert pa.ipc.open_file(path).read_all()["ids"].to_pylist() == DOCUMENTS
    beside = [f"ids{kind}.rows.npy"] if kind in (".npy", ".bin") else []
    assert sorted(os.listdir(tmp_path)) == sorted([path.name, *beside, f"ids{kind}.manifest.json"])


@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupted_run_resumes(tmp_path, kind):
    path = tmp_path / f"ids{kind}"
    with pytest.raises(KeyboardInterrupt):
        token_files.write(path, lambda n: batches(n, stop=100), layout_of(path, 300), "run")
    assert not path.exists()
    begun = []
    token_files.write(path, lambda n: begun.append(n) or batches(n), layout_of(path, 300), "run")
    assert begun == [105] and documents(path) == DOCUMENTS


@pytest.mark.parametrize("cut", ["ids", "ends"])
def test_a_torn_write_is_cut_off(tmp_path, cut):
    path = tmp_path / "ids.npy"
    for n_bytes in (1, 3, 64, 400):
        with pytest.raises(KeyboardInterrupt):
            token_files.write(path, lambda n: batches(n, stop=100), layout_of(path, 300), "run")
        part = tmp_path / ".ids.npy.part" / f"{cut}-00000"
        part.write_bytes(part.read_bytes()[:-n_bytes])
        token_files.write(path, batches, layout_of(path, 300), "run")
        assert documents(path) == DOCUMENTS


def test_a_run_with_other_options_starts_again(tmp_path):
    path = tmp_path / "ids.bin"
    with pytest.raises(KeyboardInterrupt):
        token_files.write(path, lambda n: batches(n, stop=100), layout_of(path, 300), "one tokenizer")
    begun = []
    token_files.write(path, lambda n: begun.append(n) or batches(n), layout_of(path, 300), "another")
    assert begun == [0] and documents(path) == DOCUMENTS


@pytest.mark.parametrize("kind", KINDS)
def test_no_documents_and_empty_ones(tmp_path, kind):
    none, empty = tmp_path / f"none{kind}", tmp_path / f"empty{kind}"
    assert token_files.write(none, lambda n: [], layout_of(none, 300), "run") == (0, 0)
    assert documents(none) == []
    batch = TokenBatch(np.zeros(0, np.uint16), np.zeros(3, np.int64))
    token_files.write(empty, lambda n: [batch], layout_of(empty, 300), "run")
    assert documents(empty) == [[], []]


def test_output_names_of_unknown_formats(tmp_path):
    with pytest.raises(ValueError, match=r"cannot write ids as \.txt; use \.npy, \.bin"):
        token_files.write(tmp_path / "a.txt", batches, layout_of(tmp_path / "a.txt", 300), "run")
    with pytest.raises(FileNotFoundError, match=r"a\.txt: no such file"):
        next(token_files.open_tokens(tmp_path / "a.txt").batches())
    with pytest.raises(FileNotFoundError, match="does not exist"):
        token_files.write(tmp_path / "none" / "a.npy", batches, layout_of(tmp_path / "none" / "a.npy", 300), "run")
    assert os.listdir(tmp_path) == []
    (tmp_path / "a.txt").write_text("no ids")
    with pytest.raises(ValueError, match=r"expected a file of ids .*, got \.txt"):
        next(token_files.open_tokens(tmp_path / "a.txt").batches())


def _of_two_words():
    tokenizer = gputok.Tokenizer(gputok.models.WordLevel({"a": 0, "b": 1}, "a"))
    tokenizer.pre_tokenizer = gputok.pre_tokenizers.Whitespace()
    return tokenizer


@pytest.mark.parametrize("name", ["./s3:o.parquet", "s3:o.npy", "a%20b.parquet", "./gs:o.arrow"])
def test_paths_that_look_like_urls(name, tmp_path, monkeypatch):
    """PyArrow takes "s3:o.parquet" for a URL."""
    monkeypatch.chdir(tmp_path)
    _of_two_words().encode_corpus(iter(["a b", "a"]), name)
    assert [list(row) for row in gputok.open_tokens(name)] == [[0, 1], [0]]


@pytest.mark.parametrize("ending", [".npy", ".parquet", ".bin"])
def test_long_names(ending, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fits = "x" * (241 - len(ending)) + ending
    _of_two_words().encode_corpus(iter(["a b", "a"]), fits)
    assert [list(row) for row in gputok.open_tokens(fits)] == [[0, 1], [0]]
    before = sorted(os.listdir())
    with pytest.raises(OSError, match=r"the name is 1 bytes too long: '.manifest.json' follows it") as error:
        _of_two_words().encode_corpus(iter(["a b"]), "x" * (242 - len(ending)) + ending)
    assert error.value.filename == "x" * (242 - len(ending)) + ending and sorted(os.listdir()) == before


def test_long_names_of_single_files(tmp_path):
    """The temporary file has a longer name than the file."""
    path = tmp_path / ("x" * 250 + ".json")
    for _ in range(2):
        _of_two_words().save(str(path))
    assert os.listdir(tmp_path) == [path.name]
    with pytest.raises(OSError, match="File name too long") as error:
        _of_two_words().save(str(tmp_path / ("x" * 251 + ".json")))
    assert error.value.filename == str(tmp_path / ("x" * 251 + ".json"))
