"""A document that a limit on memory does not hold ends the count with a clear error, before it is read whole."""

import gzip
import json
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet
import pytest

from gputok import Tokenizer, WordCounts, models, pre_tokenizers
from gputok.corpus import Source
from gputok.files.temporary import MemoryLimit
from gputok.text import pieces

LIMIT = 32_000_000
LONGEST = Source.of([]).within(MemoryLimit.of(LIMIT)).longest
WORDS = "some words and some more words "
LONG = WORDS * (2 * LONGEST // len(WORDS))
SHORT = ["first line\n"] * 5


def counter() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokenizer


def sources(folder) -> dict:
    """A document that is too long, in the middle, by every way in: (source, the name of its beginning)."""
    text = "".join(SHORT) + LONG + "\nlast line\n"
    rows = "".join(json.dumps({"text": line}) + "\n" for line in [*SHORT, LONG, "last"])
    made = {}
    for name, content in (("a.txt", text), ("a.jsonl", rows)):
        (folder / name).write_text(content)
        at = content.index(json.dumps({"text": LONG})) if name == "a.jsonl" else len("".join(SHORT))
        made[name] = str(folder / name), f"{name}, byte {at}"
        with gzip.open(folder / f"{name}.gz", "wt") as file:
            file.write(content)
        made[f"{name}.gz"] = str(folder / f"{name}.gz"), f"{name}.gz, byte {at}"
    table = pa.table({"text": [*SHORT, LONG]})
    pa.parquet.write_table(table, folder / "a.parquet")
    made["parquet"] = str(folder / "a.parquet"), "a.parquet, column 'text', row 5"
    made["table"] = table, "the Table, document 5"
    made["iterator"] = iter([*SHORT, LONG]), "the list_iterator, document 5"
    made["separator"] = str(folder / "a.txt"), "a.txt, byte 0"
    return made


@pytest.mark.parametrize(
    "way", ["a.txt", "a.jsonl", "a.txt.gz", "a.jsonl.gz", "parquet", "table", "iterator", "separator"]
)
def test_a_document_that_the_limit_does_not_hold_is_named(way, tmp_path):
    source, where = sources(tmp_path)[way]
    options = {"separator": "<|no|>"} if way == "separator" else {}
    for resume in (None, tmp_path / "work") if isinstance(source, str) else (None,):
        with pytest.raises(ValueError, match=f"a document of more than {LONGEST:,} bytes begins here") as error:
            counter().count_words(source, memory_limit=LIMIT, threads=2, resume=resume, **options)
        assert where in str(error.value) and "raise memory_limit=" in str(error.value)


@pytest.mark.parametrize("n_bytes", [LONGEST - 1, LONGEST])
def test_a_document_that_just_fits_is_counted(n_bytes, tmp_path):
    line = (WORDS * (n_bytes // len(WORDS) + 1))[: n_bytes - 1] + "\n"
    (tmp_path / "a.txt").write_text("".join(SHORT) + line * 3)
    for source in (str(tmp_path / "a.txt"), iter([*SHORT, *[line] * 3])):
        found = counter().count_words(source, memory_limit=LIMIT, threads=2)
        assert found == counter().count_words(str(tmp_path / "a.txt"))


def test_zeros_of_gzip_end(tmp_path):
    """Three megabytes that unpack to three gigabytes: the error comes when the limit is reached."""
    path = tmp_path / "zeros.txt.gz"
    with gzip.open(path, "wb", 1) as file:
        for _ in range(30):
            file.write(bytes(10_000_000))
    code = f"""
import resource
from gputok.recipes import recipe
tokenizer, _ = recipe("bpe")
tokenizer.count_words(iter(["a word"]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    tokenizer.count_words({str(path)!r}, memory_limit={LIMIT})
except ValueError as error:
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < {LIMIT}, error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert done.stdout.startswith(f"True {path}, byte 0: a document of more than"), done.stdout + done.stderr


def test_no_limit_allows_documents_that_32_bits_can_not_number():
    assert Source.of([]).within(MemoryLimit.of("100GB")).longest < pieces.LONGEST


def test_an_engine_that_counts_within_a_limit_says_so():
    batch = pa.record_batch({"text": [LONG]})
    with pytest.raises(ValueError, match="a document of more than"):
        [*counter().word_counter(memory_limit=LIMIT)([batch])]
    assert len(WordCounts.from_arrow([*counter().word_counter(memory_limit=None)([batch])]))


@pytest.mark.full
@pytest.mark.parametrize(("n_bytes", "limit"), [(300_000_000, None), (4_000_000, 100_000_000)])
def test_lines_stay_within_the_limit(n_bytes, limit, tmp_path):
    """One long line without a limit, lines as long as the limit allows: words that are counted, and what it took."""
    with open(tmp_path / "a.txt", "w") as file:
        for _ in range(300_000_000 // n_bytes):
            file.write((WORDS * (n_bytes // len(WORDS))) + "\n")
    code = f"""
import resource
from gputok.recipes import recipe
tokenizer, _ = recipe("bpe")
tokenizer.count_words(iter(["a word"]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
counts = tokenizer.count_words({str(tmp_path / "a.txt")!r}, memory_limit={limit}, threads=2)
print(len(counts), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    n_words, used = map(int, done.stdout.split())
    assert n_words in (5, 6) and used < (limit or 3_000_000_000), used
