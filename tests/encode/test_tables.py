"""Functions for columns of text: the same numbers, ids and parts as the methods of the tokenizer."""

from __future__ import annotations

import functools

import growing
import pytest

from gputok import Tokenizer
from gputok.tables import ColumnFunctions

pa = pytest.importorskip("pyarrow", reason="columns need PyArrow")
TEXTS = [*growing.texts(12, 30), "", None, "x " * 50]


@functools.cache
def tokenizer() -> Tokenizer:
    return growing.KINDS["Qwen 3"][1]()


def ids() -> list[list[int] | None]:
    return [None if text is None else tokenizer().encode(text, add_special_tokens=False).ids for text in TEXTS]


def parts(most: int) -> list[list[str] | None]:
    return [
        None if text is None else [text[one.start : one.stop] for one in tokenizer().split(text, most)]
        for text in TEXTS
    ]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_arrow(kind):
    functions, column = ColumnFunctions(tokenizer()), pa.array(TEXTS, kind)
    assert functions.encode_tokens(column).to_pylist() == ids()
    assert functions.count_tokens(column).to_pylist() == [None if one is None else len(one) for one in ids()]
    assert functions.split_tokens(column, 20).to_pylist() == parts(20)
    assert functions.count_tokens(pa.chunked_array([column[:3], column[3:]])) == functions.count_tokens(column)
    assert functions.count_tokens(column[:0]).to_pylist() == []


def test_later_changes_of_the_tokenizer_have_no_effect():
    changing = Tokenizer.from_str(tokenizer().to_str())
    functions = ColumnFunctions(changing)
    changing.enable_truncation(1)
    changing.pre_tokenizer = None
    assert functions.encode_tokens(pa.array(TEXTS)).to_pylist() == ids()
    assert functions.split_tokens(pa.array(TEXTS), 20).to_pylist() == parts(20)


def test_duckdb():
    duckdb = pytest.importorskip("duckdb", reason="the engine is in the package duckdb")
    connection, functions = duckdb.connect(), ColumnFunctions(tokenizer())
    functions.register(connection)
    texts = pa.table({"n": range(len(TEXTS)), "text": TEXTS})
    connection.register("texts", texts)
    found = connection.sql(
        "SELECT count_tokens(text), encode_tokens(text), split_tokens(text, 20 + n % 2) FROM texts ORDER BY n"
    ).fetchall()
    expected = [(None if one is None else len(one), one, parts(20 + n % 2)[n]) for n, one in enumerate(ids())]
    assert found == expected


def test_polars():
    pl = pytest.importorskip("polars", reason="the engine is in the package polars")
    functions, frame = ColumnFunctions(tokenizer()), pl.DataFrame({"text": TEXTS})
    found = frame.select(
        functions.polars("count_tokens", "text").alias("n"),
        functions.polars("encode_tokens", pl.col("text")).alias("ids"),
        functions.polars("split_tokens", "text", 20).alias("parts"),
    )
    assert found["ids"].to_list() == ids() and found["parts"].to_list() == parts(20)
    assert found["n"].to_list() == [None if one is None else len(one) for one in ids()]
    with pytest.raises(ValueError, match="'encode': the functions are count_tokens, encode_tokens, split_tokens"):
        functions.polars("encode", "text")
