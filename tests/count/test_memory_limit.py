"""Counting and merging within a limit on memory: the same counts whatever was spilled, and nothing left on the disk."""

import contextlib
import errno
import gzip
import itertools
import lzma
import os
import pathlib
import pickle
import random
import re
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from children import child, end
from gputok.kernels.cpu import count_words as word_kernels
from gputok.kernels.cpu import rewrite, word_table
from gputok.kernels.cpu.walk import tables as walk
from gputok.kernels.cuda.device import SIZES

from gputok import AddedToken, Tokenizer, WordCounts, cli, models, normalizers, pre_tokenizers, trainers
from gputok.corpus import Source
from gputok.corpus.options import ReadSizes
from gputok.counts import files, partitions
from gputok.counts.files import WordColumns
from gputok.files.temporary import MemoryLimit, TemporaryFile, resident
from gputok.pipeline.count.units import Slices
from gputok.pipeline.count.words import count_corpus, count_words
from gputok.pipeline.run import Run
from gputok.text.pieces import TextBatch
from gputok.text.way import Way
from tests import reference


def texts(seed: int = 0, n: int = 4000) -> list[str]:
    """Documents with some frequent words, many rare ones of all lengths, and empty documents."""
    rng = random.Random(seed)
    frequent = ["the", "house", "12", "é", "日本語", "x" * 16, "y" * 17, "z" * 40, "\n", "  "]
    return [
        " ".join(
            rng.choice(frequent) if rng.random() < 0.6 else f"{rng.randrange(10**7):x}" * rng.choice([1, 1, 3])
            for _ in range(rng.choice([0, 1, 20]))
        )
        for _ in range(n)
    ]


def batches(documents: list[str], n: int = 7) -> list[TextBatch]:
    edges = np.linspace(0, len(documents), n + 1).astype(int).tolist()
    return [TextBatch.from_strings(documents[a:b]) for a, b in itertools.pairwise(edges)]


def byte_level() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokenizer


def arrays(counts: WordCounts) -> tuple[bytes, list[int], list[int]]:
    return counts.data.tobytes(), counts.offsets.tolist(), counts.counts.tolist()


SMALL = Slices(walk=1 << 12, parts=1 << 13, steps=1 << 12)


def limit_of(n_bytes: int, folder: pathlib.Path) -> MemoryLimit:
    """A limit with any size of a table, on as many threads as are asked for."""
    return MemoryLimit(n_bytes, str(folder), least_table=1)


# -- keys and partitions


def test_keys_equal_the_reference_and_never_change():
    rng = np.random.default_rng(0)
    words = [rng.integers(0, 256, n).astype(np.uint8).tobytes() for n in [*range(70), 1000] for _ in range(3)]
    offsets = np.cumsum([0, *map(len, words)])
    keys = word_kernels.word_keys(np.frombuffer(b"".join(words), np.uint8), offsets)
    assert np.array_equal(keys, reference.word_keys(np.frombuffer(b"".join(words), np.uint8), offsets))
    # files on the disks of users are ordered by them
    words = [b"", b"a", b" the", b"0123456789abcdef", b"0123456789abcdefg"]
    packed = np.frombuffer(b"".join(words), np.uint8), np.cumsum([0, *map(len, words)])
    assert word_kernels.word_keys(*packed).tolist() == KEYS


KEYS = [0x0, 0x2C533B78E215AB0E, 0x9C9910EB62AC0C1E, 0x5752EC14E313336C, 0xCA2AC86CB7D34711]


@pytest.mark.slow
def test_keys_of_words_that_differ_in_few_bits():
    """Of 246,147 words of four private-use characters, which differ in bytes 7 and 15 alone, 12,739 had equal keys."""
    rng = np.random.default_rng(0)
    for first in (0x100000, 0xF0000, 0x4E00, 0x30):  # also of ideographs and digits
        characters = [chr(first + i) for i in range(64 if first > 0x30 else 10)]
        words = {"".join(rng.choice(characters, 4 if first > 0x30 else 9)).encode() for _ in range(100_000)}
        offsets = np.cumsum([0, *map(len, words)])
        keys = word_kernels.word_keys(np.frombuffer(b"".join(words), np.uint8), offsets)
        assert len(np.unique(keys)) == len(words), hex(first)


def test_partitions_hold_all_words_in_the_order_of_their_keys():
    counts = byte_level().count_words(iter(texts()), progress=False)
    sizes, parts = partitions.in_partitions(counts.columns())
    parts = list(parts)
    assert [len(part.counts) for part in parts] == sizes and sum(sizes) == len(counts)
    assert min(sizes) > len(counts) / 64 / 2  # spread evenly
    joined = WordCounts(*partitions.collected(parts, True, None))
    keys = word_kernels.word_keys(joined.data, joined.offsets)
    assert np.all(keys[1:] > keys[:-1]) and joined == counts
    again, slices = partitions.in_partitions(joined.columns())
    assert again == sizes
    assert arrays(WordCounts(*partitions.collected(slices, True, None))) == arrays(joined)


def test_only_words_with_equal_keys_are_sorted_by_their_bytes(monkeypatch):
    """All words of a partition were, so that one equal key made a merge of counts 13 times slower."""
    words = WordCounts.from_dict({f"{i:03}": 1 for i in range(999, -1, -1)}).columns()
    keys = np.arange(1000, dtype=np.uint64)
    keys[[5, 7]], keys[[100, 200, 300]], keys[999] = 5000, 4000, 5000
    monkeypatch.setattr(partitions, "word_keys", lambda data, offsets: keys)
    asked: list[int] = []
    word = type(words).word
    monkeypatch.setattr(type(words), "word", lambda self, i: asked.append(i) or word(self, i))
    ordered = partitions.in_key_order(words)
    assert sorted(asked) == [5, 7, 100, 200, 300, 999]
    found = [word(ordered, i).decode() for i in range(1000)]
    assert found[-6:] == ["699", "799", "899", "000", "992", "994"] and len(set(found)) == 1000


def test_words_with_one_key_are_in_the_order_of_their_bytes(monkeypatch, tmp_path):
    monkeypatch.setattr(partitions, "word_keys", lambda data, offsets: np.zeros(len(offsets) - 1, np.uint64))
    counts = WordCounts.from_dict({"b": 1, "a": 2, "": 3, "ab": 4})
    assert [word for word, _ in WordCounts.merge([counts]).items()] == [b"a", b"ab", b"b"]


# -- counting


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("n_bytes", [30_000, 10_000_000])
def test_the_same_counts_and_bytes_whatever_the_limit(n_bytes, threads, tmp_path):
    documents, plan = texts(), byte_level().pipeline.pre_tokenizer.way(Way())
    unlimited = count_words(batches(documents), plan)
    memory = limit_of(n_bytes, tmp_path)
    limited = count_words(batches(documents, 3), plan, threads=threads, memory=memory, slices=SMALL)
    assert limited == unlimited and limited.byte_level
    assert arrays(limited) == arrays(WordCounts.merge([unlimited]))
    assert os.listdir(tmp_path) == []
    unlimited.save(tmp_path / "unlimited.parquet")
    limited.save(tmp_path / "limited.parquet")
    assert (tmp_path / "limited.parquet").read_bytes() == (tmp_path / "unlimited.parquet").read_bytes()


def test_a_partition_that_is_too_large_is_parted_again(tmp_path, monkeypatch):
    skipped = set()
    make = partitions.Tally.__init__

    def recorded(tally, *arguments, **options):
        make(tally, *arguments, **options)
        skipped.add(tally._skip)

    monkeypatch.setattr(partitions.Tally, "__init__", recorded)
    documents, plan = texts(), byte_level().pipeline.pre_tokenizer.way(Way())
    limited = count_words(batches(documents), plan, memory=limit_of(12_000, tmp_path), slices=SMALL)
    assert skipped >= {0, 6, 12}
    assert limited == count_words(batches(documents), plan)


@pytest.mark.parametrize("added", [False, True])
@pytest.mark.parametrize(
    ("normalizer", "pre_tokenizer"),
    [
        (None, pre_tokenizers.ByteLevel(add_prefix_space=False)),
        (None, pre_tokenizers.Whitespace()),  # by parts
        (normalizers.Strip(), pre_tokenizers.Whitespace()),  # by steps
        (None, None),
    ],
)
def test_every_way_of_counting_spills(normalizer, pre_tokenizer, added, tmp_path):
    tokenizer = Tokenizer(models.WordLevel())
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre_tokenizer
    documents = texts(seed=1, n=800)
    if added:
        tokenizer.add_tokens([AddedToken("<x>", normalized=False), "house"])
        documents[100] = "one <x> two"
    pipeline = tokenizer.pipeline

    def counted(memory):
        source = Source(batches(documents, 40), False, sizes=ReadSizes(batch=500))
        return count_corpus(pipeline, source, Run("cpu", 2, False, memory), slices=SMALL)

    limited = counted(limit_of(16_000, tmp_path))
    assert limited.spelled_out() == counted(None).spelled_out()
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
def test_devices_count_a_part_of_the_corpus_at_a_time(tmp_path, monkeypatch):
    """What a device would count is counted by the CPU's kernels here."""
    rounds = []

    def count_on(device, shares, automaton, **_):
        table = word_table.new_table()
        rounds.append(0)
        for text, offsets, position, _ in shares:
            data = np.concatenate(text)
            rounds[-1] += len(data)
            table = word_kernels.count_words(data, offsets, position, walk.prepare(automaton), table)
        n, n_bytes = table.state[word_table.N_WORDS], table.state[word_table.N_BYTES]
        end = table.offsets[: n + 1]
        kept = ~((np.diff(end) == 1) & (table.arena[end[:-1]] == walk.END_OF_TEXT))
        packed, offsets = rewrite.gather(table.arena[:n_bytes], end[:-1][kept], end[1:][kept])
        return packed, offsets, word_kernels.counts(table)[kept], table.position[:n][kept]

    monkeypatch.setattr("gputok.pipeline.count.devices.count_batches", count_on)
    documents, plan, calls = texts(), byte_level().pipeline.pre_tokenizer.way(Way()), []
    total = sum(len(document.encode()) for document in documents)

    def counted(memory):
        report = None if memory is None else lambda *call: calls.append(call)
        devices = [SimpleNamespace(name=name, in_use=contextlib.nullcontext, sizes=SIZES) for name in "ab"]
        return count_words(batches(documents, 30), plan, devices=devices, memory=memory, report=report, total=total)

    limited = counted(limit_of(100_000, tmp_path))
    assert len(rounds) > 4 and max(rounds) < total / 3 and sum(rounds) == total
    assert limited == counted(None) == count_words(batches(documents), plan)
    assert [call for call in calls if call[0] == "count"][-1] == ("count", total, total)
    assert calls[-1] == ("add up", 64, 64)


def test_a_word_larger_than_the_limit_is_counted(tmp_path):
    documents = ["a" * 300_000, "b", "a" * 300_000, "c" * 200_000] * 2
    limited = count_words(
        batches(documents),
        byte_level().pipeline.pre_tokenizer.way(Way()),
        memory=limit_of(1000, tmp_path),
        slices=SMALL,
    )
    assert dict(limited.items()) == {b"a" * 300_000: 4, b"b": 2, b"c" * 200_000: 2}


def test_public_calls_take_the_limit(tmp_path):
    documents = texts(n=500)
    tokenizer, unlimited = byte_level(), byte_level()
    options = {"memory_limit": "80MB", "temporary": tmp_path}
    counts = tokenizer.count_words(iter(documents), **options)
    assert counts == tokenizer.count_words(iter(documents))
    assert pickle.loads(pickle.dumps(counts)) == counts
    tokenizer.train_from_iterator(documents, tokenizer.model.get_trainer(), **options)
    unlimited.train_from_iterator(documents)
    assert tokenizer.to_str() == unlimited.to_str()
    (tmp_path / "text.txt").write_text("\n".join(documents))
    tokenizer.train([str(tmp_path / "text.txt")], memory_limit=40_000_000)
    unlimited.train([str(tmp_path / "text.txt")])
    assert tokenizer.to_str() == unlimited.to_str()


def test_the_command_line_takes_the_limit(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text("\n".join(texts()))
    (tmp_path / "spill").mkdir()

    def run(*arguments):
        with pytest.raises(SystemExit) as status:
            cli.main(arguments)
        return status.value.code

    limits = ["--memory-limit", "80MB", "--temporary", "spill"]
    assert run("count", "text.txt", "-o", "a.parquet") == run("count", "text.txt", "-o", "b.parquet", *limits) == 0
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert run("train", "text.txt", "--vocab-size", "400", "-o", "a.json") == 0
    assert run("train", "text.txt", "--vocab-size", "400", "-o", "b.json", *limits) == 0
    assert run("train", "--from-counts", "a.parquet", "--vocab-size", "400", "-o", "c.json", *limits) == 0
    assert len({(tmp_path / name).read_bytes() for name in ("a.json", "b.json", "c.json")}) == 1
    assert run("count", "text.txt", "--memory-limit", "much") == 1
    assert "--memory-limit much: expected a number of bytes" in capsys.readouterr().err


def test_training_says_what_it_takes_and_what_would_fit():
    counts = byte_level().count_words(iter(texts()), progress=False)
    trainer, tokenizer = trainers.BpeTrainer(vocab_size=300), byte_level()
    needed = trainer.memory_needed(len(counts), len(counts.data))
    assert trainer.check_memory(counts, needed) == needed
    with pytest.raises(MemoryError, match=r"distinct words takes about .* MB, and memory_limit leaves") as error:
        trainer.check_memory(counts, needed // 2)
    min_count, kept = re.search(r"min_count=(\d+) .* keeps ([\d,]+) of them", str(error.value)).groups()
    fewer = counts.at_least(int(min_count))
    assert len(fewer) == int(kept.replace(",", ""))
    assert trainer.memory_needed(len(fewer), len(fewer.data)) <= needed // 2
    assert (
        trainer.memory_needed(
            *map(sum, zip(*((1, len(word)) for word, n in counts.items() if n >= int(min_count) - 1), strict=True))
        )
        > needed // 2
    )
    with pytest.raises(MemoryError, match=r"raise the limit$"):
        trainer.check_memory(counts, 1)
    calls = []
    tokenizer.train_from_word_counts(counts, trainer, memory_limit="1GB", progress=lambda *call: calls.append(call))
    assert calls[0] == (f"merge: about {needed / 1e6:,.0f} MB", 0, None)


def test_words_are_left_out_by_their_count():
    counts = byte_level().count_words(iter(texts()), progress=False)
    frequent = WordCounts.from_dict({word: n for word, n in counts.items() if n >= 3}, byte_level=True)
    assert counts.at_least(3) == frequent and counts.at_least(1) is counts
    ours, same = byte_level(), byte_level()
    ours.train_from_iterator(texts(), trainers.BpeTrainer(vocab_size=300), min_count=3)
    same.train_from_word_counts(frequent, trainers.BpeTrainer(vocab_size=300))
    assert ours.to_str() == same.to_str()
    n_words, n_bytes = counts.sizes_by_count(5)
    for count in range(1, 6):
        words = [word for word, n in counts.items() if n == count or (count == 5 and n > 5)]
        assert (n_words[count], n_bytes[count]) == (len(words), sum(map(len, words)))


# -- what goes wrong


@pytest.mark.parametrize("limit", ["", "4 apples", "-1", -5, 0, "1e9", True, 1.5e9, "31MB", 1000])
def test_what_is_no_limit_is_refused(limit):
    with pytest.raises(ValueError, match="memory_limit="):
        byte_level().count_words(iter(["text"]), memory_limit=limit)


def test_a_limit_is_read_as_people_write_it():
    sizes = {"400MB": 400_000_000, "1.5 GiB": 1_610_612_736, "40000kB": 40_000_000, " 2g ": 2_000_000_000, 10**9: 10**9}
    for text, n_bytes in sizes.items():
        assert MemoryLimit.of(text).n_bytes == n_bytes
    assert MemoryLimit.of(None) is None


def test_a_folder_that_is_none_is_refused(tmp_path):
    (tmp_path / "file").touch()
    for folder in ("missing", "file"):
        with pytest.raises(NotADirectoryError, match=folder):
            byte_level().count_words(iter(["text"]), memory_limit="1GB", temporary=tmp_path / folder)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_a_full_disk_is_one_clear_error(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.TemporaryFile", lambda **options: open("/dev/full", "r+b", buffering=0))
    memory = limit_of(60_000, tmp_path)
    with pytest.raises(OSError, match=r"no room for more than 0 bytes .*--temporary") as error:
        count_words(batches(texts()), byte_level().pipeline.pre_tokenizer.way(Way()), memory=memory, slices=SMALL)
    assert error.value.errno == errno.ENOSPC and str(tmp_path) in str(error.value)


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("--memory-limit", "80MB", "--temporary", "work"),
            r"gputok: work: no room for more than [\d,]+ bytes in a temporary file; .*--memory-limit\)",
        ),
        (("--resume", "work"), r"gputok: \S*work/part-000000\.parquet: File too large"),
        ((), r"gputok: \S*counts\.parquet: File too large"),
    ],
    ids=["spilling", "resumable", "writing"],
)
def test_a_command_that_finds_no_room_says_so_in_one_line(arguments, said, tmp_path):
    """Files that may not exceed half a megabyte stand for a full disk."""
    letters = str.maketrans("0123456789", "ghijklmnop")  # no word is cut
    (tmp_path / "text.txt").write_text(" \n".join(f"{i * i:x}" for i in range(300_000)).translate(letters))
    (tmp_path / "work").mkdir()
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 19, 1 << 19))"
    script = f"{limit}; from gputok.cli import main; main()"
    command = [sys.executable, "-c", script, "count", "text.txt", "-o", "counts.parquet", *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    lines = [line for line in done.stderr.splitlines() if "compiling kernels" not in line]
    assert done.returncode == 1 and len(lines) == 1 and re.fullmatch(said, lines[0]), done.stderr
    assert sorted(os.listdir(tmp_path)) == ["text.txt", "work"]
    assert [name for name in os.listdir(tmp_path / "work") if name.startswith("part-")] == []


def test_an_error_while_reading_is_raised_and_nothing_stays(tmp_path):
    def broken():
        yield from batches(texts())
        raise OSError("the network is gone")

    with pytest.raises(OSError, match="the network is gone"):
        count_words(
            broken(), byte_level().pipeline.pre_tokenizer.way(Way()), memory=limit_of(60_000, tmp_path), slices=SMALL
        )
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("how", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.full)])
def test_nothing_stays_after_a_kill(how, tmp_path):
    script = """
import sys, itertools, numpy as np
from gputok.files.temporary import MemoryLimit
from gputok.pipeline.count.words import count_words
from gputok.pre_tokenizers import ByteLevel
from gputok.text.pieces import TextBatch
from gputok.text.way import Way

def batches():
    for i in itertools.count():
        if i == 5:
            print("begun", flush=True)
        yield TextBatch.from_strings([" ".join(map(str, range(50_000 * i, 50_000 * (i + 1))))])
way = ByteLevel(add_prefix_space=False).way(Way())
count_words(batches(), way, threads=2, memory=MemoryLimit(4_000_000, sys.argv[1], 1))
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    with child(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as counting:
        assert counting.stdout.readline() == b"begun\n"
        time.sleep(0.2)
        assert end(counting, how) < 5
        assert how == signal.SIGKILL or b"KeyboardInterrupt" in counting.stderr.read()
    assert os.listdir(tmp_path) == []


def test_temporary_files_are_read_anywhere_and_mapped(tmp_path):
    file = TemporaryFile(str(tmp_path))
    assert len(file.mapped(np.int64)) == 0
    for i in range(3):
        file.append(np.arange(10 * i, 10 * i + 10))
    file.append(np.empty(0, np.uint8))
    assert file.n_bytes == 240 and os.listdir(tmp_path) == []
    assert file.read(72, 16).view(np.int64).tolist() == [9, 10]
    mapped = file.mapped(np.int64)
    file.close()
    assert mapped.tolist() == list(range(30)) and not mapped.flags.writeable


# -- merging and loading


def shards(n: int = 9) -> tuple[list[WordCounts], WordCounts]:
    documents, tokenizer = texts(seed=3), byte_level()
    parts = [tokenizer.count_words(iter(documents[i::n]), progress=False) for i in range(n)]
    return parts, tokenizer.count_words(iter(documents), progress=False)


def test_shards_merge_within_a_limit(tmp_path, monkeypatch):
    parts, whole = shards()
    in_memory = WordCounts.merge(parts)
    monkeypatch.setattr("gputok.files.temporary._LEAST_BYTES", 1)
    merged = WordCounts.merge(reversed(parts), memory_limit=50_000, temporary=tmp_path)
    assert arrays(merged) == arrays(in_memory) and merged == whole
    mixed = [parts[0].spelled_out(), *parts[1:]]
    for shards_ in (mixed, mixed[::-1]):
        merged = WordCounts.merge(shards_, memory_limit=50_000, temporary=tmp_path)
        assert merged == whole.spelled_out() == WordCounts.merge(shards_)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("limit", [None, 40_000_000])
def test_an_empty_shard_changes_nothing(limit, tmp_path):
    """What counts without words say of bytes: those of an empty corpus are not byte-level."""
    tokenizer = byte_level()
    empty = tokenizer.count_words(iter([]), progress=False)
    counts = tokenizer.count_words(iter(texts(n=100)), progress=False)
    options = {"memory_limit": limit, "temporary": tmp_path}
    for given in ([empty, counts], [counts, empty], [counts, empty, counts]):
        merged = WordCounts.merge(given, **options)
        assert merged.byte_level and merged == WordCounts.merge([each for each in given if len(each)])
        for i, each in enumerate(given):
            each.save(tmp_path / f"{i}.parquet")
        assert WordCounts.load([tmp_path / f"{i}.parquet" for i in range(len(given))], **options) == merged
    none = WordCounts.from_dict({}, byte_level=True)
    assert WordCounts.merge([none, none], **options).byte_level
    assert not WordCounts.merge([none, empty], **options).byte_level


def test_a_word_of_the_byte_ff_is_merged():
    counts = WordCounts.from_dict({b"\xff": 1, b"a": 2}, byte_level=True)
    assert dict(WordCounts.merge([counts, counts]).items()) == {b"\xff": 2, b"a": 4}


def save_with_row_groups(counts: WordCounts, path: pathlib.Path) -> None:
    """Saves a file like one of many words, with a row group for each partition."""
    sizes, parts = partitions.in_partitions(counts.columns())
    files.write(path, parts, sizes, counts.byte_level, few_words=1)


@pytest.mark.parametrize(("few", "limit"), [(True, None), (False, 80_000)])
def test_files_are_loaded_together(limit, few, tmp_path):
    parts, whole = shards()
    folder = tmp_path / "shards"
    folder.mkdir()
    save = WordCounts.save if few else save_with_row_groups
    for i, part in enumerate(parts):
        save(part, folder / f"{i}.parquet")
    assert pa.parquet.ParquetFile(folder / "0.parquet").num_row_groups == (1 if few else 64)
    (folder / "_SUCCESS").touch()
    options = {"memory_limit": limit and limit_of(limit, tmp_path)}
    expected = arrays(WordCounts.merge(parts))
    for source in (folder, str(folder / "*.parquet"), [str(folder / f"{i}.parquet") for i in range(9)]):
        assert arrays(WordCounts.load(source, **options)) == expected
    one = WordCounts.load(folder / "3.parquet", **options)
    assert one == parts[3]
    save(parts[4].spelled_out(), folder / "4.parquet")
    assert WordCounts.load(folder, **options) == whole.spelled_out()


def test_a_file_that_another_program_changed(tmp_path):
    """Its description came along, and says nothing true any longer."""
    parts, _ = shards(2)
    save_with_row_groups(parts[0], tmp_path / "a.parquet")
    table = pa.parquet.read_table(tmp_path / "a.parquet")
    pa.parquet.write_table(pa.concat_tables([table, table]), tmp_path / "twice.parquet")
    assert WordCounts.load(tmp_path / "twice.parquet") == WordCounts.merge([parts[0]] * 2)
    pa.parquet.write_table(table.sort_by("count"), tmp_path / "sorted.parquet", row_group_size=100)
    assert WordCounts.load(tmp_path / "sorted.parquet") == parts[0]
    with pytest.raises(ValueError, match=r"sorted\.parquet: its words are not in the order"):
        WordCounts.load([tmp_path / "a.parquet", tmp_path / "sorted.parquet"])


# -- what engines write


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint8(), pa.int32(), pa.uint64(), pa.float64(), pa.decimal128(38, 0)])
@pytest.mark.parametrize("words", [pa.binary(), pa.large_binary(), pa.string(), pa.large_string()])
def test_any_type_that_holds_words_and_counts_is_read(kind, words, tmp_path):
    table = pa.table(
        {"w": pa.array(["a", "b", "a"]).cast(words), "sum(count)": pa.array([1, 2, 3], pa.int64()).cast(kind)}
    )
    pa.parquet.write_table(table, tmp_path / "part-0.snappy.parquet")
    names = {"word_column": "w", "count_column": "sum(count)"}
    for given in (WordCounts.load(tmp_path, byte_level=False, **names), WordCounts.from_arrow(table, **names)):
        assert dict(given.items()) == {b"a": 4, b"b": 2} and not given.byte_level
    for source in (table.to_batches()[0], table.to_reader(), table.to_batches(1), iter(table.to_batches(2))):
        assert WordCounts.from_arrow(source, **names) == given
    assert WordCounts.from_arrow(table, byte_level=True, **names).byte_level


def test_what_an_engine_wrote_wrongly_is_named(tmp_path):
    def refused(message, table, **options):
        pa.parquet.write_table(pa.table(table), tmp_path / "a.parquet")
        for load in (
            lambda: WordCounts.load(tmp_path / "a.parquet", **{"byte_level": False, **options}),
            lambda: WordCounts.from_arrow(pa.table(table), **{k: v for k, v in options.items() if k != "byte_level"}),
        ):
            with pytest.raises(ValueError, match=message):
                load()

    refused(r"no column 'count'; it has word, n\. Name", {"word": ["a"], "n": [1]})
    refused(r"column 'word': expected words .* got int64", {"word": [1], "count": [1]})
    refused(r"column 'count': expected integers of 64 bits, got string", {"word": ["a"], "count": ["1"]})
    refused(r"column 'count': .*", {"word": ["a"], "count": [1.5]})
    refused(r"column 'count': 1 values are missing", {"word": ["a", "b"], "count": [1, None]})
    refused(r"word 1 occurs 0 times", {"word": ["a", "b"], "count": [1, 0]})
    refused(r"column 'count': .*", {"word": ["a"], "count": pa.array([2**64 - 1], pa.uint64())})
    refused(r"word 1, b'\\xff', is not UTF-8", {"word": [b"a", b"\xff"], "count": [1, 1]})
    refused(r"word 1, b'\\xa9', is not UTF-8", {"word": [b"\xc3", b"\xa9"], "count": [1, 1]})
    with pytest.raises(ValueError, match="say by byte_level= whether"):
        WordCounts.load(tmp_path / "a.parquet")
    WordCounts.from_dict({"a": 1}).save(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="its words are not byte-level, but byte_level=True was given"):
        WordCounts.load(tmp_path / "a.parquet", byte_level=True)
    with pytest.raises(FileNotFoundError):
        WordCounts.load(tmp_path / "missing")
    with pytest.raises(TypeError, match="expected Arrow data"):
        WordCounts.from_arrow(5)


# -- at full size

STREAM = """
import sys
from tests.bench.scale import documents
from gputok.bench.peers import peak_memory
from gputok.recipes import recipe

tokenizer, _ = recipe("bpe")
texts, folder = documents(int(sys.argv[1])), sys.argv[2]
counts = tokenizer.count_words(texts, memory_limit="600MB", temporary=folder, threads=2)
counts.save(folder + "/counts.parquet")
peak = peak_memory() // 10**6  # before the sum, which has the system map a temporary file of all counts
print(len(counts), int(counts.counts.sum()), peak)
"""


@pytest.mark.full
def test_twenty_gigabytes_are_counted_in_less_than_one(tmp_path):
    """A stream of ever new words, which is never in memory as a whole."""
    n_bytes = int(os.environ.get("GPUTOK_STREAM_BYTES", 20_000_000_000))
    command = [sys.executable, "-c", STREAM, str(n_bytes), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    n_words, n_occurrences, peak = map(int, done.stdout.split())
    assert peak < 1000
    assert n_words > n_bytes / 400 and n_occurrences > n_bytes / 6
    assert os.listdir(tmp_path) == ["counts.parquet"]


# -- what the process grows by

GROWN = """
import sys
from gputok import Tokenizer, WordCounts
from gputok.recipes import recipe

def memory(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(name)) * 1024

path, limit, work = sys.argv[1], int(sys.argv[2]), sys.argv[3]
tokenizer, _ = recipe("bpe")
if work in ("extend", "prune"):
    tokenizer = Tokenizer.from_file(sys.argv[4])
source = (line for line in open(path)) if work == "iterator" else path
shards = [WordCounts.load(path)] * 2 if work == "merge" else []
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")
before = memory("VmRSS")
try:
    limits = {"memory_limit": limit, "threads": 2}
    match work:
        case "extend":
            print(tokenizer.extend(source, 20, progress=False, **limits))
        case "prune":
            tokenizer.prune(300, source, progress=False, **limits)
            print(sys.argv[5])
        case "load":
            print(len(WordCounts.load([path, path], **limits)))
        case "merge":
            print(len(WordCounts.merge(shards, **limits)))
        case _:
            print(len(tokenizer.count_words(source, progress=False, **limits)))
except (ValueError, MemoryError) as error:
    print(error)
print(memory("VmHWM") - before)
"""


@pytest.fixture(scope="module")
def many_words(tmp_path_factory):
    """A text of 24 MB in all kinds of files: most of it are words that occur once."""
    folder = tmp_path_factory.mktemp("words")
    numbers = np.random.default_rng(0).integers(0, 36**7, 2_400_000)
    letters = str.maketrans("0123456789", "ghijklmnop")
    words = [f"{n:x}".translate(letters) for n in numbers.tolist()]
    lines = [" ".join(words[i : i + 12]) for i in range(0, len(words), 12)]
    (folder / "a.txt").write_text("\n".join(lines) + "\n")
    raw = (folder / "a.txt").read_bytes()
    (folder / "a.txt.gz").write_bytes(gzip.compress(raw, 1))
    (folder / "a.txt.xz").write_bytes(lzma.compress(raw, preset=0))
    with pa.CompressedOutputStream(str(folder / "a.txt.zst"), "zstd") as file:
        file.write(raw)
    (folder / "a.jsonl").write_text("".join(f'{{"n": 1, "text": "{line}"}}\n' for line in lines))
    (folder / "a.csv").write_text("n,text\n" + "".join(f'1,"{line}"\n' for line in lines))
    pyarrow.parquet.write_table(pa.table({"text": lines}), folder / "a.parquet", row_group_size=20_000)
    WordCounts.from_dict(dict.fromkeys(words, 1), byte_level=True).save(folder / "counts.parquet")
    base = byte_level()
    base.train_from_iterator(texts(), trainers.BpeTrainer(vocab_size=400, show_progress=False))
    base.save(str(folder / "base.json"))
    return folder, len({*words})


def grown(path, limit: int, *work: str) -> tuple[str, int]:
    """What the process says, and by how many bytes it grew."""
    command = [sys.executable, "-c", GROWN, str(path), str(limit), *work]
    plain = {name: value for name, value in os.environ.items() if name != "MALLOC_PERTURB_"}  # it writes to all memory
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=plain)
    said, n_bytes = done.stdout.splitlines()
    return said, int(n_bytes)


@pytest.mark.full  # what else the machine does tells, too
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks /proc what the process had")
@pytest.mark.parametrize(
    "name", ["txt", "txt.gz", "txt.xz", "txt.zst", "jsonl", "csv", "parquet", "iterator", "load", "merge", "prune"]
)
def test_a_process_grows_by_the_limit(name, many_words):
    """By a quarter more at worst; or the least limit is said, and that one is kept."""
    folder, n_words = many_words
    path, work = folder / f"a.{name}", ("count",)
    if name == "iterator":
        path, work = folder / "a.txt", (name,)
    elif name in ("load", "merge"):
        path, work = folder / "counts.parquet", (name,)
    elif name == "prune":
        path, work = folder / "a.txt", (name, str(folder / "base.json"), str(n_words))
    for limit in (60_000_000, 120_000_000):
        said, n_bytes = grown(path, limit, *work)
        if least := re.search(r"the least limit is (\d+) MB$", said):
            assert limit < 120_000_000
            limit = 10**6 * int(least[1]) + 2_000_000  # what is in memory differs a little from run to run
            said, n_bytes = grown(path, limit, *work)
        assert int(said) >= n_words
        assert n_bytes <= 1.25 * limit


@pytest.mark.full  # what else the machine does tells, too
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks /proc what the process had")
def test_extending_says_what_it_takes(many_words):
    folder, _ = many_words
    said, n_bytes = grown(folder / "a.txt", 100_000_000, "extend", str(folder / "base.json"))
    assert "distinct words takes about" in said and "memory_limit leaves" in said
    assert n_bytes <= 125_000_000


COMMAND = """
import sys
from gputok.cli import main

try:
    main(sys.argv[1:])
finally:
    with open("/proc/self/status") as file:
        print(next(line.split()[1] for line in file if line.startswith("VmHWM")))
"""


@pytest.mark.full  # what else the machine does tells, too
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks /proc what the process had")
@pytest.mark.parametrize("limit", [40, 80])
def test_counting_as_a_command_grows_by_the_limit(limit, many_words, tmp_path):
    """Also while it writes the counts and adds them up."""
    folder, _ = many_words
    (tmp_path / "tiny.txt").write_text("a house")
    options = ["-o", str(tmp_path / "x.parquet"), "--threads", "2", "--memory-limit", f"{limit}MB"]

    def peak(path: pathlib.Path) -> int:
        command = [sys.executable, "-c", COMMAND, "count", str(path), *options]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1]) * 1024

    assert peak(folder / "a.txt") - peak(tmp_path / "tiny.txt") <= 1.25e6 * limit


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks /proc what the process has")
def test_sums_leave_temporary_files_on_the_disk(tmp_path):
    """The sum of all counts, after the work, had a whole file of them in memory."""
    n, memory = 1 << 20, limit_of(50_000_000, tmp_path)
    words = WordColumns(np.full(n, ord("a"), np.uint8), np.arange(n + 1), np.full(n, 1 << 24), True)
    counts = WordCounts.of_checked(partitions.collected([words], True, memory))
    before = resident()[1]
    assert counts.n_occurrences() == counts.n_bytes_of_text() == n << 24
    assert repr(counts).endswith(f"{n << 24:,} occurrences>")
    counts.check_symbols()
    assert resident()[1] - before < n


def test_a_private_mapping_keeps_what_was_written_to_it(tmp_path):
    np.arange(1, 4).tofile(tmp_path / "counts")
    counts = np.memmap(tmp_path / "counts", np.int64, "c")
    counts[:] = 7
    words = WordCounts(np.frombuffer(b"abc", np.uint8), np.arange(4), counts)
    assert words.n_occurrences() == words.n_occurrences() == 21 and counts.tolist() == [7, 7, 7]


def test_counts_are_written_and_read_without_pandas(tmp_path):
    """PyArrow imports it to convert numbers: 50 MB and half a second."""
    pytest.importorskip("pandas")
    script = """
import sys
from gputok import Tokenizer, WordCounts, models, open_tokens

WordCounts.from_dict({"hug": 2}).save("counts.parquet")
assert len(WordCounts.load("counts.parquet")) == 1
tokenizer = Tokenizer(models.WordLevel({"a": 0}))
tokenizer.encode_corpus(iter(["a", "a"]), "ids.parquet")
assert open_tokens("ids.parquet")[1].tolist() == [0]
print("pandas" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
