"""Arrays of other programs whose offsets lie are refused where text or word counts come in, before a kernel reads them.

Arrow trusts what it is given by its C interface, from memory-mapped files and from `Array.from_buffers`.
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pytest

from gputok import TextBatch, Tokenizer, WordCounts, models, pre_tokenizers
from gputok.corpus import Source

FAR = 10**9
TYPES = {
    "string": (pa.string(), np.int32),
    "large_string": (pa.large_string(), np.int64),
    "binary": (pa.binary(), np.int32),
    "large_binary": (pa.large_binary(), np.int64),
}
OFFSETS = {
    "end beyond the data": [0, 2, FAR],
    "middle beyond the data": [0, FAR, 5],
    "begin below 0": [-FAR, 2, 5],
    "middle below 0": [0, -FAR, 5],
    "falling": [0, 4, 2, 5],
    "falling to 0": [5, 0, 0],
}


def array(kind: pa.DataType, width: type, n_rows: int, bitmap: bytes | None = None) -> tuple[pa.Array, np.ndarray]:
    """A whole column of the bytes "hello", and its offsets, which can be overwritten after Arrow has looked at them."""
    ends = np.linspace(0, 5, n_rows + 1).astype(width)
    buffers = [None if bitmap is None else pa.py_buffer(bitmap), pa.py_buffer(ends), pa.py_buffer(b"hello")]
    return pa.Array.from_buffers(kind, n_rows, buffers, -1 if bitmap else 0), ends


class Broken(NamedTuple):
    column: pa.Array
    numbers: np.ndarray  # memory of the column
    lies: list  # what is written there once the column is part of a table

    def tell(self) -> None:
        self.numbers[:] = self.lies


def broken() -> dict[str, Broken]:
    found = {}
    for name, (kind, width) in TYPES.items():
        for what, offsets in OFFSETS.items():
            n = len(offsets) - 1
            found[f"{name}, {what}"] = Broken(*array(kind, width, n), offsets)
            found[f"{name}, {what}, a missing value"] = Broken(*array(kind, width, n, b"\2"), offsets)
    for what, lies in (("beyond it", [0, FAR]), ("below 0", [-FAR, 0])):
        numbers = np.zeros(2, np.int32)
        indices = pa.Array.from_buffers(pa.int32(), 2, [None, pa.py_buffer(numbers)])
        column = pa.DictionaryArray.from_arrays(indices, pa.array(["a", "b"]), safe=False)
        found[f"dictionary, number {what}"] = Broken(column, numbers, lies)
    words, ends = array(pa.string(), np.int32, 2)
    column = pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int32()), words)
    found["dictionary of broken words"] = Broken(column, ends, [0, FAR, 5])
    for what, number, begin in (("of another buffer", 7, 0), ("beyond its buffer", 0, FAR)):
        views = np.zeros((2, 4), np.int32)  # size, first bytes, number of the buffer, where in it
        column = pa.Array.from_buffers(pa.string_view(), 2, [None, pa.py_buffer(views), pa.py_buffer(b"hello" * 40)])
        found[f"view {what}"] = Broken(column, views, [[100, int.from_bytes(b"hell", "little"), number, begin]])
    return found


BROKEN = [*broken()]


def tokenizer() -> Tokenizer:
    made = Tokenizer(models.BPE({letter: i for i, letter in enumerate("helo")}, [], unk_token="h"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return made


def readers(column: pa.Array) -> dict:
    """Every way in which a column of texts gets in."""
    table = pa.table({"text": column})
    batch = pa.RecordBatch.from_arrays([column], ["text"])
    struct = pa.StructArray.from_arrays([column], ["text"])
    return {
        "array": lambda: [*tokenizer().encode_corpus(column)],
        "table": lambda: [*tokenizer().encode_corpus(table)],
        "batches": lambda: [*tokenizer().encode_corpus([batch])],
        "reader": lambda: [*Source(pa.RecordBatchReader.from_batches(batch.schema, [batch]), False).read()],
        "struct": lambda: [*Source(struct, False).read()],
        "count_words": lambda: tokenizer().count_words(table),
        "corpus_encoder": lambda: [*tokenizer().corpus_encoder()([batch])],
        "word_counter": lambda: [*tokenizer().word_counter()([batch])],
        "train": lambda: tokenizer().train_from_iterator(table),
    }


@pytest.mark.parametrize("name", BROKEN)
def test_broken_texts_are_refused(name):
    case = broken()[name]
    ways = readers(case.column)
    case.tell()
    for way, read in ways.items():
        with pytest.raises(ValueError, match="broken Arrow data"):
            print(way, read())


@pytest.mark.parametrize("name", BROKEN)
def test_broken_words_are_refused(name):
    case = broken()[name]
    table = pa.table({"word": case.column, "count": pa.array([1] * len(case.column))})
    batches = table.to_batches()
    case.tell()
    for byte_level in (False, True):
        with pytest.raises(ValueError, match="column 'word': broken Arrow data"):
            WordCounts.from_arrow(table, byte_level=byte_level)
        with pytest.raises(ValueError, match="column 'word': broken Arrow data"):
            WordCounts.from_arrow(batches, byte_level=byte_level)


def test_broken_counts_are_refused():
    words = pa.array(["a", "b", "c"])
    numbers = pa.DictionaryArray.from_arrays(pa.array([0, FAR, 0]), pa.array([1]), safe=False)
    with pytest.raises(ValueError, match="column 'count': "):
        WordCounts.from_arrow(pa.RecordBatch.from_arrays([words, numbers], ["word", "count"]))


def test_slices_and_columns_without_rows_are_whole():
    for kind, width in TYPES.values():
        column, ends = array(kind, width, 3)
        ends[:] = 1, 1, 3, 5
        assert [text for batch in Source(column.slice(1, 2), False).read() for text in batch.strings()] == ["el", "lo"]
        none = pa.Array.from_buffers(kind, 0, [None, None, pa.py_buffer(b"")])
        assert [text for batch in Source(none, False).read() for text in batch.strings()] == []
        assert len(WordCounts.from_arrow(pa.table({"word": none, "count": pa.array([], pa.int64())}))) == 0


LISTS = pytest.mark.parametrize("offsets", OFFSETS.values(), ids=OFFSETS)
DATA = np.frombuffer(b"hello", np.uint8)


@LISTS
def test_batches_of_broken_offsets_are_refused(offsets):
    with pytest.raises(ValueError, match=r"the TextBatch: row . begins at byte"):
        [*tokenizer().encode_corpus(TextBatch(DATA, np.array(offsets)))]


def test_batches_of_other_arrays_are_refused():
    ends = np.array([0, 5])
    for data, offsets in (
        (b"hello", ends),
        (DATA, [0, 5]),
        (DATA.astype(np.int8), ends),
        (DATA, ends.astype(np.int32)),
    ):
        with pytest.raises(TypeError, match=r"the TextBatch: (data|offsets) must be an array of"):
            [*tokenizer().encode_corpus(TextBatch(data, offsets))]
    with pytest.raises(ValueError, match="offsets must have one number more"):
        [*tokenizer().encode_corpus(TextBatch(DATA, np.zeros(0, np.int64)))]
    with pytest.raises(ValueError, match="the TextBatch, document 1: 0xff is not UTF-8"):
        tokenizer().count_words(TextBatch(np.frombuffer(b"a\xff", np.uint8), np.array([0, 1, 2])))


@LISTS
def test_word_counts_of_broken_offsets_are_refused(offsets):
    for byte_level in (False, True):
        with pytest.raises(ValueError, match=r"the word counts: row . begins at byte"):
            WordCounts(DATA, np.array(offsets), np.ones(len(offsets) - 1, np.int64), byte_level)


@pytest.mark.parametrize(
    "change",
    [
        {"data": b"hello"},
        {"data": DATA.astype(np.int8)},
        {"offsets": [0, 5]},
        {"offsets": np.array([0, 5], np.int32)},
        {"offsets": np.array([0, 2, 5])},
        {"offsets": np.zeros(0, np.int64)},
        {"counts": np.array([1.0])},
        {"counts": np.array([0])},
        {"counts": np.array([[1]])},
        {"byte_level": 2},
        {"byte_level": "no"},
        {"data": np.frombuffer(b"hell\xff", np.uint8)},
    ],
    ids=str,
)
def test_word_counts_of_other_arrays_are_refused(change):
    whole = {"data": DATA, "offsets": np.array([0, 5]), "counts": np.array([1]), "byte_level": False}
    WordCounts(**whole)
    with pytest.raises((TypeError, ValueError), match="the word counts: "):
        WordCounts(**whole | change)


def test_a_dictionary_of_other_things_is_no_word_counts():
    for counts in ({"a": 1.5}, {"a": True}, {"a": "1"}, {"a": 0}, {"a": 2**63}, {1: 1}, {None: 1}):
        with pytest.raises((TypeError, ValueError), match=r"^the (count of|dictionary)"):
            WordCounts.from_dict(counts)
