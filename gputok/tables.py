"""Functions for columns of text in DuckDB, Polars and Arrow: tokens counted, ids, and parts of at most n tokens.

>>> import duckdb
>>> from gputok import Tokenizer, models, pre_tokenizers
>>> tokenizer = Tokenizer(models.WordLevel({"so": 0, "it": 1, "goes": 2}))
>>> tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
>>> connection = duckdb.connect()
>>> ColumnFunctions(tokenizer).register(connection)
>>> query = "SELECT count_tokens('so it goes'), encode_tokens('so it'), split_tokens('so it goes', 2)"
>>> connection.sql(query).fetchall()
[(3, [0, 1], ['so it', ' goes'])]
"""

from __future__ import annotations

import itertools
from typing import Any

from gputok.files.arrow import needed_for
from gputok.tokenizer import Tokenizer


class ColumnFunctions:
    """The functions of one tokenizer for columns of text. A missing text (null) gives null.

    Args:
        tokenizer: the tokenizer, as it is now: later changes have no effect.
        threads: how many threads encode a column; engines already call the functions from several threads.

    Raises:
        ImportError: PyArrow is not installed.
    """

    def __init__(self, tokenizer: Tokenizer, *, threads: int = 1) -> None:
        with needed_for("a column of text"):
            import pyarrow.compute  # noqa: F401
        self._tokenizer = type(tokenizer).of(tokenizer.pipeline)
        self._encoder = tokenizer.corpus_encoder(column="text", add_special_tokens=False, threads=threads)

    def encode_tokens(self, column: Any) -> Any:
        """Encodes each text, without special tokens around it.

        Args:
            column: strings, as an Arrow array, or a column that exports Arrow data (a pl.Series of Polars).

        Returns:
            Arrow's large_list of uint16 or, if an id needs 32 bits, uint32.

        Example:
            >>> import pyarrow as pa
            >>> from gputok import Tokenizer, models
            >>> ColumnFunctions(Tokenizer(models.BPE({"a": 0}, []))).encode_tokens(pa.array(["aa", None])).to_pylist()
            [[0, 0], None]
        """
        import pyarrow as pa
        from pyarrow import compute

        pc: Any = compute
        texts = _chunked(column)
        ids = self._encoder.of_table(pa.table({"text": texts}))["ids"].combine_chunks()
        nothing = pa.scalar(None, ids.type)
        return ids if not texts.null_count else pc.if_else(texts.is_valid().combine_chunks(), ids, nothing)

    def count_tokens(self, column: Any) -> Any:
        """Counts the tokens of each text, without special tokens around it.

        Args:
            column: as for `encode_tokens`.

        Returns:
            Arrow's int64.
        """
        from pyarrow import compute

        pc: Any = compute
        return pc.list_value_length(self.encode_tokens(column))

    def split_tokens(self, column: Any, max_tokens: Any, overlap: int = 0) -> Any:
        """Splits each text into parts of at most `max_tokens` tokens (`Tokenizer.split`).

        Args:
            column: as for `encode_tokens`.
            max_tokens: the most tokens of a part: a number, or a column of numbers.
            overlap: as for `Tokenizer.split`.

        Returns:
            Arrow's large_list of large_string.
        """
        import pyarrow as pa

        texts = _chunked(column).to_pylist()
        is_one = isinstance(max_tokens, int)
        limits: Any = itertools.repeat(max_tokens) if is_one else _chunked(max_tokens).to_pylist()
        split = self._tokenizer.split
        found = [
            None if text is None or most is None else [text[one.start : one.stop] for one in split(text, most, overlap)]
            for text, most in zip(texts, limits, strict=False)
        ]
        return pa.array(found, pa.large_list(pa.large_string()))

    def register(self, connection: Any) -> None:
        """Makes the functions `count_tokens(text)`, `encode_tokens(text)`, `split_tokens(text, max_tokens)` in DuckDB.

        Args:
            connection: a connection of DuckDB, or the module `duckdb`.
        """
        import pyarrow as pa

        counts, lists = pa.int64(), (pa.list_(pa.uint32()), pa.list_(pa.string()))
        # As lambdas, since DuckDB looks at the parameters of a function
        functions: dict[str, tuple[Any, ...]] = {
            "count_tokens": (lambda text: self.count_tokens(text).cast(counts), ["VARCHAR"], "BIGINT"),
            "encode_tokens": (lambda text: self.encode_tokens(text).cast(lists[0]), ["VARCHAR"], "UINTEGER[]"),
            "split_tokens": (
                lambda text, max_tokens: self.split_tokens(text, max_tokens).cast(lists[1]),
                ["VARCHAR", "BIGINT"],
                "VARCHAR[]",
            ),
        }
        for name, (function, parameters, result) in functions.items():
            connection.create_function(name, function, parameters, result, type="arrow", null_handling="special")

    def polars(self, name: str, column: Any, *arguments: Any) -> Any:
        """Makes an expression of Polars that calls one of the three functions.

        Args:
            name: "count_tokens", "encode_tokens" or "split_tokens".
            column: the name of a column of strings, or an expression.
            arguments: the other arguments of the function, such as `max_tokens`.

        Returns:
            The expression: `frame.with_columns(n=functions.polars("count_tokens", "text"))`.

        Raises:
            ValueError: there is no such function.
        """
        import polars as pl  # pyright: ignore[reportMissingImports]

        kinds = {"count_tokens": pl.Int64, "encode_tokens": pl.List(pl.UInt32), "split_tokens": pl.List(pl.String)}
        if name not in kinds:
            raise ValueError(f"{name!r}: the functions are {', '.join(kinds)}")
        call, kind = getattr(self, name), kinds[name]

        def run(series: Any) -> Any:
            return pl.Series(pl.from_arrow(call(series, *arguments))).cast(kind)

        expression = pl.col(column) if isinstance(column, str) else column
        return expression.map_batches(run, return_dtype=kind, is_elementwise=True)


def _chunked(column: Any) -> Any:
    import pyarrow as pa

    if isinstance(column, pa.ChunkedArray):
        return column
    return pa.chunked_array(column if hasattr(column, "__arrow_c_stream__") else [column])
