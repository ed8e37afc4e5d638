"""Files that training frameworks read: byte layouts as their descriptions have them, options, shards, resumed runs."""

import csv
import errno
import gzip
import hashlib
import itertools
import json
import os
import pathlib
import random
import shutil
import signal
import struct

import numpy as np
import pytest
import tokenizers

import gputok
from gputok import Tokenizer, models, pre_tokenizers, processors
from gputok.token_files import token_files, work
from gputok.token_files.formats import FORMATS, base
from gputok.token_files.token_files import TokenBatch, layout_of

rng = random.Random(0)
TEXTS = [" ".join(rng.choices("abcdefgh", k=rng.choice([0, 1, 5, 90, 400]))) for _ in range(300)]
EOS, BOS = 9, 8
VOCABULARY = {token: i for i, token in enumerate("abcdefgh")} | {"<s>": BOS, "</s>": EOS}
NAMES = [*FORMATS]


@pytest.fixture(scope="module")
def words() -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel(VOCABULARY))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


@pytest.fixture(scope="module")
def expected(words) -> list[list[int]]:
    """The ids of each document, by `tokenizers`."""
    upstream = tokenizers.Tokenizer.from_str(words.to_str())
    return [encoding.ids for encoding in upstream.encode_batch(TEXTS)]


def written(folder) -> dict[str, bytes]:
    """All files below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# -- readers, each written from the description of its format, that know nothing of gputok


def megatron(prefix) -> list[list[int]]:
    index = pathlib.Path(f"{prefix}.idx").read_bytes()
    magic, version, code, n_sequences, n_documents = struct.unpack("<9sQBQQ", index[:34])
    assert (magic, version) == (b"MMIDIDX\x00\x00", 1)
    lengths = struct.unpack_from(f"<{n_sequences}i", index, 34)
    pointers = struct.unpack_from(f"<{n_sequences}q", index, 34 + 4 * n_sequences)
    documents = struct.unpack_from(f"<{n_documents}q", index, 34 + 12 * n_sequences)
    assert len(index) == 34 + 12 * n_sequences + 8 * n_documents
    data = pathlib.Path(f"{prefix}.bin").read_bytes()
    dtype = {8: "<u2", 4: "<i4"}[code]
    sequences = [np.frombuffer(data, dtype, n, at).tolist() for n, at in zip(lengths, pointers, strict=True)]
    return [[*itertools.chain(*sequences[a:b])] for a, b in itertools.pairwise(documents)]


def datatrove(name, dtype="<u2") -> list[list[int]]:
    ids, ends = np.fromfile(name, dtype).tolist(), np.fromfile(f"{name}.index", "<u8").tolist()
    assert len(ids) == ends[-1]
    size = np.dtype(dtype).itemsize
    tokenizer, count, _ = pathlib.Path(f"{name}.metadata").read_text().split("\n")
    assert tokenizer.endswith(f"|{size}") and int(count) == len(ids)
    return [ids[a:b] for a, b in itertools.pairwise([0, *ends])]


def offsets_in(data: bytes) -> list[tuple[int, int]]:
    (n,) = struct.unpack_from("<I", data)
    return [*itertools.pairwise(struct.unpack_from(f"<{n + 1}I", data, 4))]


def mds(folder) -> list[list[int]]:
    index = json.loads(pathlib.Path(f"{folder}/index.json").read_text())
    assert index["version"] == 2
    found = []
    for shard in index["shards"]:
        data = pathlib.Path(f"{folder}/{shard['raw_data']['basename']}").read_bytes()
        samples = offsets_in(data)
        assert len(data) == shard["raw_data"]["bytes"] and len(samples) == shard["samples"]
        config = json.loads(data[4 + 4 * (len(samples) + 1) : samples[0][0]])
        assert config["column_names"] == ["tokens"] and config == {k: shard[k] for k in config}
        _, dtype, *length = config["column_encodings"][0].split(":")
        for start, end in samples:
            sample = data[start:end]
            if not length:
                assert struct.unpack_from("<I", sample) == (len(sample) - 4,)
                axes, kind = divmod(sample[4], 4)
                (n,) = np.frombuffer(sample, ["u1", "<u2", "<u4"][kind], 1, 5).tolist()
                sample = sample[5 + 2**kind :]
                assert axes == 1 and len(sample) == n * np.dtype(dtype).itemsize
            found.append(np.frombuffer(sample, dtype).tolist())
    return found


def litdata(folder) -> list[list[int]]:
    index = json.loads(pathlib.Path(f"{folder}/index.json").read_text())
    assert index["config"]["item_loader"] == "TokensLoader"
    dtype = {"no_header_tensor:16": "<i4", "no_header_tensor:20": "<u2"}[index["config"]["data_format"][0]]
    found = []
    for chunk in index["chunks"]:
        data = pathlib.Path(f"{folder}/{chunk['filename']}").read_bytes()
        items = [np.frombuffer(data[start:end], dtype).tolist() for start, end in offsets_in(data)]
        assert len(data) == chunk["chunk_bytes"] and len(items) == chunk["chunk_size"]
        assert sum(map(len, items)) == chunk["dim"]
        found += items
    return found


def llmc(name) -> list[int]:
    header = np.fromfile(name, "<i4", 256)
    assert header[:2].tolist() in ([20240520, 1], [20240801, 7]) and not header[3:].any()
    ids = np.fromfile(name, "<u2" if header[1] == 1 else "<u4", offset=1024)
    assert len(ids) == header[2]
    return ids.tolist()


def olmo(name) -> list[list[int]]:
    ids = np.memmap(f"{name}.npy", "<u2", "r").tolist()
    with gzip.open(f"{name}.csv.gz", "rt", newline="") as lines:
        rows = [*csv.reader(lines)]
    assert all(row[2:] == [str(i), "", str(i)] for i, row in enumerate(rows))
    return [ids[int(start) : int(end)] for start, end, *_ in rows]


# -- layouts


def test_megatron(words, expected, tmp_path):
    words.encode_corpus(iter(TEXTS), tmp_path / "corpus", format="megatron", eos=True)
    found = megatron(tmp_path / "corpus")
    assert found == [[*ids, EOS] if ids else [] for ids in expected] and [] in found
    words.encode_corpus(iter(TEXTS), tmp_path / "wide", format="megatron", dtype="int32")
    assert megatron(tmp_path / "wide") == expected
    assert (tmp_path / "wide.bin").stat().st_size == 4 * sum(map(len, expected))


def test_datatrove(words, expected, tmp_path):
    words.encode_corpus(iter(TEXTS), tmp_path / "c", format="datatrove", eos="</s>")
    assert datatrove(tmp_path / "c_00000_unshuffled.ds") == [[*ids, EOS] for ids in expected]


def test_nanogpt_and_llmc(words, expected, tmp_path):
    words.encode_corpus(iter(TEXTS), tmp_path / "gpt.bin", format="nanogpt", eos=True)
    assert np.fromfile(tmp_path / "gpt.bin", "<u2").tolist() == [*itertools.chain(*([*i, EOS] for i in expected))]
    words.encode_corpus(iter(TEXTS), tmp_path / "c.bin", format="llmc", eos=True)
    assert llmc(tmp_path / "c.bin") == [*itertools.chain(*([EOS, *ids] for ids in expected))]
    words.encode_corpus(iter(TEXTS), tmp_path / "wide.bin", format="llmc", eos=True, dtype="uint32")
    assert llmc(tmp_path / "wide.bin") == llmc(tmp_path / "c.bin")


def test_mds(words, expected, tmp_path):
    long = [*TEXTS, " ".join("abc" * 300), " ".join("abcdefgh" * 9000)]  # lengths of one, two and four bytes
    words.encode_corpus(iter(long), tmp_path / "c", format="mds")
    found = mds(tmp_path / "c")
    assert found[: len(found) - 2] == [ids for ids in expected if ids]
    assert [len(ids) for ids in found[-2:]] == [900, 72_000]
    assert [ids.tolist() for ids in gputok.open_tokens(tmp_path / "c")] == found


@pytest.mark.parametrize("shard_tokens", [None, 100, 1000])
def test_mds_of_blocks(words, expected, tmp_path, shard_tokens):
    """Documents are joined and cut, also across shards; what is left at the end is dropped."""
    words.encode_corpus(
        iter(TEXTS), tmp_path / "c", format="mds", eos=True, sequence_length=64, shard_tokens=shard_tokens
    )
    flat = [*itertools.chain(*([*ids, EOS] for ids in expected))]
    blocks = [flat[i : i + 64] for i in range(0, len(flat) - 63, 64)]
    assert mds(tmp_path / "c") == blocks
    assert [ids.tolist() for ids in gputok.open_tokens(tmp_path / "c")] == blocks


def test_litdata(words, expected, tmp_path):
    words.encode_corpus(iter(TEXTS), tmp_path / "c", format="litdata", bos=True)
    assert litdata(tmp_path / "c") == [[BOS, *ids] for ids in expected]
    words.encode_corpus(iter(TEXTS), tmp_path / "d", format="litdata", dtype="uint16", shard_tokens=500)
    assert litdata(tmp_path / "d") == expected and len(os.listdir(tmp_path / "d")) > 10


def test_olmo(words, expected, tmp_path):
    words.encode_corpus(iter(TEXTS), tmp_path / "c.npy", format="olmo", eos=True)
    assert olmo(tmp_path / "c") == [[*ids, EOS] for ids in expected]


# -- reading back


@pytest.mark.slow
@pytest.mark.parametrize("shuffle", [None, 5])
@pytest.mark.parametrize("shard_tokens", [None, 700])
@pytest.mark.parametrize("name", NAMES)
def test_every_format_is_read_back(words, expected, tmp_path, name, shard_tokens, shuffle):
    output = tmp_path / "corpus"
    made = words.encode_corpus(iter(TEXTS), output, format=name, eos=True, shard_tokens=shard_tokens, shuffle=shuffle)
    form = FORMATS[name]
    ended = [[EOS, *ids] if form.end_first else [*ids, EOS] for ids in expected]
    if not form.ends_empty:
        ended = [ids if len(ids) > 1 else [] for ids in ended]
    tokens = gputok.open_tokens(output)
    tokens.manifest.check()
    found = [ids.tolist() for ids in tokens]
    assert found == [tokens[i].tolist() for i in range(len(tokens))] and tokens.format == name
    assert len(tokens) == made.n_documents == 300 and tokens.n_tokens == sum(map(len, ended))
    assert tokens[-1].tolist() == found[-1] and [ids.tolist() for ids in tokens[3:5]] == found[3:5]
    if shuffle is None:
        assert found == ended
    else:
        at = 0
        for shard in tokens.manifest.content["shards"]:
            n = shard["documents"]
            order = np.random.default_rng(5).permutation(n)
            assert found[at : at + n] == [ended[at + i] for i in order]
            at += n
    facts = tokens.manifest.content
    assert facts["documents"] == 300 and facts["bytes_in"] == sum(map(len, TEXTS))
    assert facts["tokens"] == tokens.n_tokens and facts["tokenizer"]["eos"] == {"id": EOS, "token": "</s>"}
    if shard_tokens is not None:
        assert len(facts["shards"]) > 5
        assert all(shard["tokens"] <= 700 for shard in facts["shards"])
    assert sum(file.bytes for file in tokens.manifest.files) == facts["bytes_out"]


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"nanogpt"}))
def test_files_without_a_manifest_tell_their_format(words, expected, tmp_path, name):
    words.encode_corpus(iter(TEXTS), tmp_path / "c", format=name, bos="<s>")
    form, found = FORMATS[name], gputok.open_tokens(tmp_path / "c")
    files = found.manifest.data_names
    (tmp_path / found.manifest.path.relative_to(tmp_path)).unlink()
    path = tmp_path / ("c" if form.index or form.by_prefix else files[0])
    again = gputok.open_tokens(path)
    assert again.format == name and again.manifest is None
    kept = [ids if ids or form.ends_empty else [] for ids in expected]
    assert [ids.tolist() for ids in again] == [[BOS, *ids] if ids or form.ends_empty else [] for ids in kept]


def test_one_shard_alone_is_read(words, tmp_path):
    words.encode_corpus(iter(TEXTS), tmp_path / "c", format="megatron", shard_tokens=500)
    alone = [gputok.open_tokens(tmp_path / f"c_{i:05d}.bin") for i in range(3)]
    assert [len(tokens) for tokens in alone] == [
        shard["documents"] for shard in alone[0].manifest.content["shards"][:3]
    ]


# -- options


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("name", ["megatron", "mds", "npy"])
def test_the_same_bytes_for_any_threads_and_batches(words, tmp_path, name, threads, monkeypatch):
    files = []
    for folder, n in (("one", 1), ("other", threads)):
        (tmp_path / folder).mkdir()
        if folder == "other":
            monkeypatch.setattr(base, "batches", lambda rows, n_ids=0, whole=base.batches: whole(rows, n_ids=100))
        words.encode_corpus(
            iter([[text] for text in TEXTS] if n > 1 else TEXTS),
            tmp_path / folder / "c",
            format=name,
            eos=True,
            shard_tokens=900,
            shuffle=1,
            threads=n,
        )
        files.append(written(tmp_path / folder))
    assert files[0] == files[1]


def test_tokens_that_the_post_processor_adds_too_stand_once(words, tmp_path):
    tokenizer = Tokenizer.from_str(words.to_str())
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", None, [("<s>", BOS), ("</s>", EOS)])
    for name in ("bos", "eos"):
        tokenizer.encode_corpus(iter(["a b", ""]), tmp_path / name, format="megatron", **{name: True})
        assert megatron(tmp_path / name) == [[BOS, 0, 1, EOS], [BOS, EOS]]
    tokenizer.encode_corpus(
        iter(["a b", ""]), tmp_path / "c", format="megatron", bos=True, eos=True, add_special_tokens=False
    )
    assert megatron(tmp_path / "c") == [[BOS, 0, 1, EOS], []]
    (batch,) = words.encode_corpus(iter(["a", ""]), bos="<s>", eos=True)
    assert (batch.ids.tolist(), batch.rows.tolist()) == ([BOS, 0, EOS, BOS, EOS], [0, 3, 5])


def test_options_that_do_not_fit(words, tmp_path):
    def asked(output="c", **options):
        words.encode_corpus(iter(TEXTS), tmp_path / output, **options)

    large = Tokenizer(models.WordLevel({"a": 0, "b": 70_000}))
    for message, ask in {
        r"c: cannot write ids as a file without ending; use \.npy, .*megatron": asked,
        r"format='parket': expected one of npy, .*olmo": lambda: asked(format="parket"),
        r"c\.npy: ends like a file of the format npy, but format='megatron'": lambda: asked("c.npy", format="megatron"),
        r"eos: the tokenizer has none of": lambda: large.encode_corpus(iter("a"), tmp_path / "c.npy", eos=True),
        r"eos='<end>': the tokenizer has no such token": lambda: asked(format="mds", eos="<end>"),
        r"sequence_length=5: the format npy stores whole documents; .* by mds": lambda: asked(
            "c.npy", sequence_length=5
        ),
        r"shard_tokens=0: expected a whole number of at least 1": lambda: asked("c.npy", shard_tokens=0),
        r"shuffle=True: expected a whole number": lambda: asked("c.npy", shuffle=True),
        r"shard_tokens=3,000,000,000: the format llmc stores at most": lambda: asked(
            format="llmc", shard_tokens=3 * 10**9
        ),
        r"dtype=int64: the format megatron stores uint16 or int32": lambda: asked(format="megatron", dtype="int64"),
        r"dtype='halves': expected one of": lambda: asked("c.bin", dtype="halves"),
        r"format nanogpt: the largest id .* 70,000, .* uint16; choose another format": lambda: large.encode_corpus(
            iter("a"), tmp_path / "c.bin", format="nanogpt"
        ),
        r"format bin: .* 70,000, .* uint16; choose another dtype": lambda: large.encode_corpus(
            iter("a"), tmp_path / "c.bin", dtype="uint16"
        ),
        r"shard_tokens=5: is for files; name an output": lambda: words.encode_corpus(iter("a"), shard_tokens=5),
    }.items():
        with pytest.raises(ValueError, match=message):
            ask()
    with pytest.raises(TypeError, match=r"eos=5: expected a token, True, or None, got int"):
        asked(format="mds", eos=5)
    assert os.listdir(tmp_path) == []


def test_megatron_refuses_a_document_that_its_index_can_not_hold():
    megatron, length = FORMATS["megatron"], 2**31
    megatron.check_rows(np.array([3, 2 + length]), 0, "c")
    megatron.check_rows(np.array([0, length - 1, 2 * length - 2]), 0, "c")
    with pytest.raises(ValueError, match=r"c: document 8 has 2,147,483,648 ids"):
        megatron.check_rows(np.array([0, 5, 5 + length]), 7, "c")


def test_dtypes_by_the_rules_of_the_formats():
    def dtype(name, vocab_size):
        return layout_of("c", vocab_size, format=name).dtype.name

    assert [dtype("megatron", n) for n in (65_499, 65_500)] == ["uint16", "int32"]
    for name in ("datatrove", "llmc", "olmo", "npy", "bin", "arrow", "parquet"):
        assert [dtype(name, n) for n in (65_536, 65_537)] == ["uint16", "uint32"], name
    assert {dtype(name, 300) for name in ("mds", "litdata")} == {"int32"}


def test_a_document_that_megatron_cannot_store(tmp_path):
    rows = np.array([0, 3, 3 + (1 << 31)])
    batch = TokenBatch(np.zeros(3, np.uint16), rows)
    with pytest.raises(ValueError, match=r"corpus: document 1 has 2,147,483,648 ids; .* at most 2,147,483,647"):
        layout = layout_of("corpus", 300, format="megatron")
        token_files.write(tmp_path / "corpus", lambda n: [batch], layout, "run")


# -- interrupted runs


class Killed(BaseException):
    """Stops the run at once, as SIGKILL does: what comes after it does not happen."""


# Calls of the file system between two kills
STEPS = [pytest.param(29), pytest.param(1, marks=pytest.mark.full)]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a killed run closes nothing
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("name", NAMES)
def test_a_run_that_is_killed_at_any_moment_gives_the_same_bytes(words, tmp_path, name, step, monkeypatch):
    """A run is stopped at its 1st, 2nd, 3rd ... use of the file system; each time the next run has the same result."""
    (tmp_path / "text.txt").write_text("\n".join(TEXTS[:60]))
    options = {"format": name, "eos": True, "shard_tokens": 1500, "shuffle": 2, "threads": 1}
    if name == "mds":
        options["sequence_length"] = 100
    source = tmp_path / "text.txt"
    (tmp_path / "whole").mkdir()
    words.encode_corpus(source, tmp_path / "whole" / "c", **options)
    expected = written(tmp_path / "whole")
    moments = 0
    for moment in itertools.count(step // 3, step):
        folder = tmp_path / "killed"
        folder.mkdir()
        with monkeypatch.context() as patch:
            stopped = stop_at(patch, moment)
            try:
                words.encode_corpus(source, folder / "c", **options)
            except Killed:
                assert stopped()
        if not stopped():
            break
        for path, content in written(folder).items():
            if ".part" not in path:
                assert content == expected[path], f"{path} is half-written"
        words.encode_corpus(source, folder / "c", **options)
        assert written(folder) == expected
        assert [path for path in folder.iterdir() if path.name.startswith(".")] == []
        shutil.rmtree(folder)
        moments += 1
    assert moments > 1


def stop_at(patch, moment: int):
    """Makes the n-th call that changes the file system, and all after it, raise Killed; tells if it came to that."""
    left = [moment]

    def counted(function):
        def call(*arguments, **options):
            if left[0] <= 0:
                left[0] = -1
                raise Killed
            left[0] -= 1
            return function(*arguments, **options)

        return call

    changes = [
        (base, "write_file"),
        (base, "write_all"),
        *((os, name) for name in ("replace", "unlink", "mkdir", "rmdir")),
    ]
    for module, function in changes:
        patch.setattr(module, function, counted(getattr(module, function)))
    return lambda: left[0] < 0


def test_an_interrupted_run_does_not_begin_again(words, tmp_path):
    source = tmp_path / "text.txt"
    source.write_text("\n".join(TEXTS))
    lengths = [len(TEXTS[i].split()) for i in range(300)]
    options = {"format": "megatron", "shard_tokens": 1000}
    done = []

    def batches(n, stop):
        for i in range(n, 300):
            if i == stop:
                raise KeyboardInterrupt
            done.append(i)
            yield TokenBatch(np.zeros(lengths[i], np.uint16), np.array([0, lengths[i]]))

    layout = layout_of("c", 300, **options)
    with pytest.raises(KeyboardInterrupt):
        token_files.write(tmp_path / "c", lambda n: batches(n, 200), layout, "run")
    token_files.write(tmp_path / "c", lambda n: batches(n, None), layout, "run")
    assert done == [*range(300)] and len(gputok.open_tokens(tmp_path / "c")) == 300


@pytest.mark.parametrize("threads", [1, 3])
def test_checksums_that_an_interrupted_run_has_not_made(tmp_path, monkeypatch, threads):
    layout, asked = layout_of("c", 300, format="megatron", shard_tokens=20), []

    def write():
        def batches(n):
            asked.append(n)
            yield from (TokenBatch(np.full(7, i, np.uint16), np.array([0, 7])) for i in range(n, 30))

        token_files.write(tmp_path / "c", batches, layout, "run", threads=threads)

    def broken(path, name):
        raise OSError(errno.EIO, "Input/output error", str(path))

    with monkeypatch.context() as patched, pytest.raises(OSError, match="Input/output error"):
        patched.setattr(work.FileFacts, "of", broken)
        write()
    assert [path.name for path in tmp_path.iterdir()] == [".c.part"]
    write()
    tokens = gputok.open_tokens(tmp_path / "c")
    tokens.manifest.check()
    assert asked == [0, 30] and [ids.tolist() for ids in tokens] == [[i] * 7 for i in range(30)]


def test_a_run_of_another_kind_replaces_all_files_of_the_older_one(words, tmp_path):
    for name, shard_tokens in (("megatron", 500), ("megatron", 2000), ("mds", 500), ("mds", None)):
        words.encode_corpus(iter(TEXTS), tmp_path / name, format=name, shard_tokens=shard_tokens)
        tokens = gputok.open_tokens(tmp_path / name)
        files = {file.name for file in tokens.manifest.files} | {tokens.manifest.path.name}
        folder = tokens.manifest.path.parent
        assert {path.name for path in folder.iterdir() if path.is_file() and path.name.split(".")[0]} - files == set()


def test_a_folder_with_files_of_others_is_left_alone(words, tmp_path):
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "index.json").write_text("{}")
    with pytest.raises(FileExistsError, match=r"expected an empty folder, .* contains index\.json"):
        words.encode_corpus(iter(TEXTS), tmp_path / "c", format="mds")
    assert (tmp_path / "c" / "index.json").read_text() == "{}"


def test_a_folder_of_the_name_of_a_prefix(words, expected, tmp_path):
    (tmp_path / "c").mkdir()
    for name in ("megatron", "datatrove"):
        words.encode_corpus(iter(TEXTS), tmp_path / "c", format=name)
        assert [ids.tolist() for ids in gputok.open_tokens(tmp_path / "c")] == expected
    with pytest.raises(IsADirectoryError, match="this is a folder"):
        (tmp_path / "d.npy").mkdir()
        words.encode_corpus(iter(TEXTS), tmp_path / "d.npy")
    with pytest.raises(FileNotFoundError, match=r"none/c: the folder .*none does not exist"):
        words.encode_corpus(iter(TEXTS), tmp_path / "none" / "c", format="mds")


def test_two_runs_for_the_same_output(words, tmp_path):
    def second(stage, done, total):
        words.encode_corpus(iter(TEXTS), tmp_path / "c.npy")

    with pytest.raises(BlockingIOError):
        words.encode_corpus(iter(TEXTS), tmp_path / "c.npy", progress=second)


@pytest.mark.parametrize("name", NAMES)
def test_a_full_disk(words, tmp_path, name, monkeypatch):
    """The error names the output and the reason; nothing has a final name."""
    full = OSError(errno.ENOSPC, "No space left on device")

    def write_all(file, content):
        if memoryview(content).nbytes > 100:
            raise full

    monkeypatch.setattr(base, "write_all", write_all)
    with pytest.raises(OSError, match=r"No space left on device: '.*/c'") as error:
        words.encode_corpus(iter(TEXTS), tmp_path / "c", format=name)
    assert error.value.errno == errno.ENOSPC
    assert all(path.startswith(".c") for path in os.listdir(tmp_path))


def test_a_planted_link_is_not_followed(words, tmp_path):
    mine = tmp_path / "mine"
    mine.write_text("precious")
    for name in ("ids-00000", "ends-00000", "run.json", "c.npy.rows.npy", "c.npy.manifest.json"):
        (tmp_path / ".c.npy.part").mkdir()
        (tmp_path / ".c.npy.part" / name).symlink_to(mine)
        words.encode_corpus(iter(TEXTS), tmp_path / "c.npy")
        assert mine.read_text() == "precious"
    (tmp_path / ".c.npy.part").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotADirectoryError, match="work folder"):
        words.encode_corpus(iter(TEXTS), tmp_path / "c.npy")


@pytest.mark.parametrize("name", ["megatron", "mds", "datatrove", "olmo"])
def test_urls(words, tmp_path, name):
    fsspec = pytest.importorskip("fsspec")
    options = {"format": name, "eos": True, "shard_tokens": 2000}
    (tmp_path / "here").mkdir()
    words.encode_corpus(iter(TEXTS), tmp_path / "here" / "c", **options)
    url = f"memory://{name}-tokens/c"
    words.encode_corpus(iter(TEXTS), url, **options)
    files = fsspec.filesystem("memory")
    found = {path: files.cat(path) for path in files.find(f"/{name}-tokens")}
    root = f"/{name}-tokens/"
    assert {path.removeprefix(root): content for path, content in found.items()} == written(tmp_path / "here")
    ours, theirs = gputok.open_tokens(url), gputok.open_tokens(tmp_path / "here" / "c")
    assert [ids.tolist() for ids in ours] == [ids.tolist() for ids in theirs]
    with pytest.raises(FileNotFoundError):
        gputok.open_tokens(f"memory://{name}-tokens/other.npy")


# -- manifest and checks


def test_a_changed_file_is_found(words, tmp_path):
    words.encode_corpus(iter(TEXTS), tmp_path / "c", format="megatron", eos=True)
    manifest = gputok.open_tokens(tmp_path / "c").manifest
    content = (tmp_path / "c.bin").read_bytes()
    assert manifest.files[0].sha256 == hashlib.sha256(content).hexdigest()
    (tmp_path / "c.bin").write_bytes(content[:-1] + b"x")
    with pytest.raises(ValueError, match=r"c\.bin: has another checksum"):
        manifest.check()
    (tmp_path / "c.bin").write_bytes(content[:-2])
    with pytest.raises(ValueError, match=r"c\.bin: has [\d,]+ bytes; the manifest says"):
        manifest.check()


def test_damaged_manifests(words, tmp_path):
    words.encode_corpus(iter(TEXTS[:3]), tmp_path / "c", format="megatron")
    path = tmp_path / "c.manifest.json"
    right = json.loads(path.read_text())
    for message, change in {
        "expected a JSON object, got list": lambda content: [],
        "documents: is missing": lambda content: {**content, "documents": "3"},
        "tokens: is missing": lambda content: {k: v for k, v in content.items() if k != "tokens"},
        r"shards\[0\]\.files: is missing": lambda content: {**content, "shards": [3]},
        r"shards\[0\]\.files: '\.\./x' is not the name of a file": lambda content: {
            **content,
            "shards": [{"files": [{"name": "../x", "bytes": 1, "sha256": ""}]}],
        },
        "format: 'tar' is unknown": lambda content: {**content, "format": "tar"},
    }.items():
        path.write_text(json.dumps(change(right)))
        with pytest.raises(ValueError, match=f"c.manifest.json: {message}"):
            gputok.open_tokens(tmp_path / "c")
    path.write_text("{")
    with pytest.raises(ValueError, match=r"c\.manifest\.json: expected a JSON object: "):
        gputok.open_tokens(tmp_path / "c")


@pytest.mark.parametrize("name", NAMES)
def test_damaged_files_give_errors_that_name_the_file(words, tmp_path, name):
    """Bytes are changed, cut off and added at random: the ids can be read, or the error is one that says where."""
    words.encode_corpus(iter(TEXTS[:40]), tmp_path / "c", format=name, eos=True)
    tokens = gputok.open_tokens(tmp_path / "c")
    folder, data = tokens.manifest.path.parent, tokens.manifest.data_names[0]
    names = [file.name for file in tokens.manifest.files]
    right = {file: (folder / file).read_bytes() for file in names}
    tokens.manifest.path.unlink()
    path = folder if FORMATS[name].index else folder / data
    del tokens
    damage = random.Random(name)
    for i in range(300):
        file = damage.choice(names)
        content = bytearray(right[file])
        kind = damage.randrange(3)
        at = damage.randrange(min(len(content), damage.choice([40, 1 << 30])))
        if kind == 0:
            content[at] = damage.randrange(256)
        elif kind == 1:
            del content[at:]
        else:
            content[at:at] = bytes(damage.randrange(256) for _ in range(damage.randrange(1, 9)))
        (folder / file).unlink()
        (folder / file).write_bytes(content)
        try:
            found = gputok.open_tokens(path, name)
            assert sum(len(ids) for ids in found) == found.n_tokens
            if len(found):
                found[0], found[len(found) // 2]
        except ValueError as error:
            assert any(known in str(error) for known in [*names, str(path)]), (i, file, error)
        found = None
        (folder / file).unlink()
        (folder / file).write_bytes(right[file])
    for file in names:
        (folder / file).unlink()
        if not file.endswith(".metadata"):  # which datatrove needn't write
            with pytest.raises((FileNotFoundError, ValueError), match=file.split(".")[0]):
                gputok.open_tokens(path, name)
        (folder / file).write_bytes(right[file])


def test_fields_of_a_damaged_megatron_index(words, tmp_path):
    words.encode_corpus(iter(["a b", "c"]), tmp_path / "c", format="megatron")
    right = (tmp_path / "c.idx").read_bytes()
    for at, content, field in (
        (0, b"x", "magic"),
        (9, b"\2", "version"),
        (17, b"\6", "type"),
        (18, b"\3", "number of sequences"),
        (34, b"\3", "offset of sequence 1"),
        (38, b"\5", "lengths of sequences"),
        (50, b"\1", "offset of sequence 1"),
        (58, b"\1", "document index"),
        (66, b"\3", r"document index\[2\]"),
    ):
        (tmp_path / "c.idx").write_bytes(right[:at] + content + right[at + 1 :])
        with pytest.raises(ValueError, match=rf"c\.idx: {field}"):
            gputok.open_tokens(tmp_path / "c")


# -- sizes


def test_no_documents_and_only_empty_ones(words, tmp_path):
    for name in NAMES:
        for folder, texts in (("none", []), ("empty", ["", ""])):
            output = tmp_path / f"{name}-{folder}"
            assert words.encode_corpus(iter(texts), output, format=name).n_documents == len(texts)
            kept = 0 if FORMATS[name].index else len(texts)
            assert [ids.tolist() for ids in gputok.open_tokens(output)] == [[]] * kept, name


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("length", [None, 2])
@pytest.mark.parametrize("texts", [["a b", "", "c", "", ""], ["", ""]])
def test_documents_of_the_corpus_and_of_the_files(name, length, texts, words, tmp_path, monkeypatch, capsys):
    """mds keeps no document without ids, no folder a shard without: both numbers are said; files have the second."""
    from gputok import cli

    if length is not None and not FORMATS[name].takes_blocks:
        return
    output = tmp_path / "out"
    made = words.encode_corpus(iter(texts), output, format=name, sequence_length=length, shard_tokens=2)
    stored = len(gputok.open_tokens(output))
    assert (made.n_documents, made.n_stored) == (len(texts), stored)
    (manifest,) = (json.loads(file.path.read_bytes()) for file in token_files.manifests(output))
    assert (manifest["documents"], manifest["stored"]) == (len(texts), stored)
    assert sum(shard["stored"] for shard in manifest["shards"]) == stored
    whole = gputok.merge_tokens([output], tmp_path / "whole")
    assert (whole.n_documents, whole.n_stored) == (stored, stored)
    words.save(str(tmp_path / "words.json"))
    (tmp_path / "text.jsonl").write_text("".join(f"{json.dumps({'text': text})}\n" for text in texts))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    blocks = ["--sequence-length", str(length)] if length else []
    arguments = ["text.jsonl", "-t", "words.json", "-o", "again", "--format", name, "--shard-tokens", "2", *blocks]
    with pytest.raises(SystemExit):
        cli.main(["encode", *arguments])
    said = "".join(capsys.readouterr())
    assert (f"{stored} stored" in said) == (stored != len(texts) and length is None), said
    with pytest.raises(SystemExit):
        cli.main(["info", "--json", "again"])
    facts = json.loads(capsys.readouterr().out)
    assert (facts["documents"], facts["stored"]) == (len(texts), stored)


@pytest.mark.parametrize("name", NAMES)
def test_many_documents_and_a_long_one(name, tmp_path):
    """200,000 documents, and one of 3 million ids between them."""
    lengths = np.random.default_rng(0).integers(0, 5, 200_001)
    lengths[77_777] = 3_000_000
    rows = np.concatenate([[0], np.cumsum(lengths)])
    ids = np.random.default_rng(1).integers(0, 60_000, rows[-1]).astype(np.uint16)

    def batches(skip):
        for first in range(skip, len(lengths), 9000):
            part = rows[first : first + 9001]
            yield TokenBatch(ids[part[0] : part[-1]], part - part[0])

    token_files.write(tmp_path / "c", batches, layout_of("c", 60_000, format=name), "run")
    found = [*gputok.open_tokens(tmp_path / "c").batches()]
    assert np.array_equal(np.concatenate([batch.ids for batch in found]), ids)
    lengths = lengths if FORMATS[name].keeps_empty else lengths[lengths > 0]
    assert np.array_equal(np.concatenate([np.diff(batch.rows) for batch in found]), lengths)
    tokens = gputok.open_tokens(tmp_path / "c")
    assert max(len(tokens[i]) for i in (0, 50_000, int(lengths.argmax()))) == 3_000_000
