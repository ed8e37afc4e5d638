"""What tokenizers make of each source or language of a corpus: rows by file, or by the values of a column."""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gputok.corpus import Source
from gputok.corpus.document_kinds import file_kind
from gputok.corpus.memory_sources import is_columnar
from gputok.files.arrow import needing
from gputok.files.outputs import returned
from gputok.lazy import public
from gputok.report.figures import aligned
from gputok.text.pieces import TextBatch
from gputok.types import Array


def short_names(paths: list[str]) -> list[str]:
    """Shortens paths to their last parts, as few as keep the names different.

    >>> short_names(["models/a/tokenizer.json", "models/b/tokenizer.json", "http://me:word@host/gpt2.json?key=12"])
    ['a/tokenizer.json', 'b/tokenizer.json', 'gpt2.json']
    """
    # URLs are shown without user, password and query
    shown = [re.sub("://[^/]*@", "://", path.partition("?")[0]) if "://" in path else path for path in paths]
    parts = [path.rstrip("/").split("/") for path in shown]
    counts = [1] * len(paths)

    def names() -> list[str]:
        return ["/".join(part[-count:]) for part, count in zip(parts, counts, strict=True)]

    for _ in range(max(map(len, parts), default=0)):
        times = Counter(now := names())
        counts = [count + (times[name] > 1) for count, name in zip(counts, now, strict=True)]
    return names()


def evenness(costs: Sequence[float]) -> tuple[float, float]:
    """Computes how evenly texts are treated: parity, the highest cost divided by the lowest, and the Gini coefficient.

    A cost is tokens a byte. The Gini coefficient is the mean difference of two costs, divided by twice their mean.

    >>> evenness([1.0, 3.0])
    (3.0, 0.25)
    """
    values = np.array(costs)
    return max(costs) / min(costs), float(np.abs(values[:, None] - values).mean() / (2 * values.mean()))


_MOST = 10_000  # a column with more values than this is refused as `group_by`
_SHOWN = 30  # the most groups that a table shows; `rows`, CSV and JSON have all
_HEADS = ("tokenizer", "documents", "bytes", "tokens", "bytes/token", "tokens/word")


@public("gputok.report")
class GroupMeasures(NamedTuple):
    """What one tokenizer makes of one group of documents.

    Attributes:
        group: the name of the file, or the value of the column; "" for rows without one.
        tokenizer: the name of the tokenizer.
        n_documents: documents.
        n_bytes: bytes of UTF-8.
        n_words: runs of characters that are not white space.
        n_tokens: tokens.
    """

    group: str
    tokenizer: str
    n_documents: int
    n_bytes: int
    n_words: int
    n_tokens: int

    @property
    def bytes_per_token(self) -> float:
        """Compression: bytes of UTF-8 per token."""
        return self.n_bytes / self.n_tokens if self.n_tokens else 0.0

    @property
    def tokens_per_word(self) -> float:
        """Fertility: tokens per word, that is per run of characters that are not white space."""
        return self.n_tokens / self.n_words if self.n_words else 0.0

    def facts(self) -> dict[str, Any]:
        """Returns all numbers by name."""
        return self._asdict() | {"bytes_per_token": self.bytes_per_token, "tokens_per_word": self.tokens_per_word}


@public("gputok.report")
@dataclass(frozen=True, eq=False, repr=False)
class Groups:
    """What tokenizers make of each source or language.

    Attributes:
        by: "file", or the name of a column.
        rows: a row for each group and tokenizer, the groups with most bytes first.
    """

    by: str
    rows: tuple[GroupMeasures, ...]

    @property
    def evenness(self) -> dict[str, tuple[float, float]]:
        """Tokenizer -> (parity, Gini) as in `Sizes`, of the tokens a byte of the groups; needs two groups with text."""
        costs: dict[str, list[float]] = {}
        for row in self.rows:
            if row.n_bytes and row.n_tokens:
                costs.setdefault(row.tokenizer, []).append(row.n_tokens / row.n_bytes)
        return {name: evenness(cost) for name, cost in costs.items() if len(cost) > 1}

    def table(self) -> list[tuple[str, ...]]:
        """Returns a row of headings, and a row of formatted numbers for each group and tokenizer."""
        rows: list[tuple[str, ...]] = [(self.by, *_HEADS)]
        for row in self.rows:
            rates = f"{row.bytes_per_token:.3f} {row.tokens_per_word:.3f}"
            numbers = f"{row.n_documents:,} {row.n_bytes:,} {row.n_tokens:,} {rates}"
            rows.append((row.group or "(none)", row.tokenizer, *numbers.split()))
        return rows

    def to_dict(self) -> dict[str, Any]:
        """Returns the numbers for JSON."""
        even = {name: {"parity": parity, "gini": gini} for name, (parity, gini) in self.evenness.items()}
        return {"by": self.by, "rows": [row.facts() for row in self.rows], "evenness": even}

    def to_csv(self, path: str | os.PathLike[str] | None = None) -> str | None:
        """Writes a table with all numbers; returns it if there is no path."""
        written = io.StringIO()
        rows = [row.facts() for row in self.rows]
        # The csv module writes the keys of a dict: the first row stands for the headings
        csv.writer(written, lineterminator="\n").writerows([*rows[:1], *(facts.values() for facts in rows)])
        return returned(written.getvalue(), path)

    def to_pandas(self) -> Any:
        """Returns a pandas.DataFrame of all rows; needs pandas (`pip install 'gputok[pandas]'`)."""
        with needing("a data frame needs pandas: pip install 'gputok[pandas]'"):
            import pandas as pd
        return pd.DataFrame([row.facts() for row in self.rows])

    def __str__(self) -> str:
        groups = [*dict.fromkeys(row.group for row in self.rows)]
        lines = aligned(self.table()[: 1 + _SHOWN * (len(self.rows) // max(1, len(groups)))], (0, 1))
        lines += [f"and {len(groups) - _SHOWN:,} more"] if len(groups) > _SHOWN else []
        return "\n".join([*lines, *self.said()])

    def said(self) -> list[str]:
        """Says the evenness of each tokenizer."""
        return [f"{name}: parity {parity:.3f}, Gini {gini:.3f}" for name, (parity, gini) in self.evenness.items()]

    def __repr__(self) -> str:
        return f"<Groups by {self.by}: {len(self.rows):,} rows>"


class Grouping:
    """Reads a corpus with the group of each document."""

    def __init__(self, source: Source, group_by: str | None, tokenizers: Sequence[str]) -> None:
        """group_by: a column; None: each file is a group, if there are several."""
        self._source, self._column, self._tokenizers = source, group_by, [*tokenizers]
        self.by_file = group_by is None and source.is_files and len(source.content) > 1
        self._numbers: dict[str, int] = {}
        self.sums: list[Array] = []  # of each group: documents, bytes, words, and the tokens of each tokenizer
        if group_by is not None:
            self._check()

    def _check(self) -> None:
        source, column = self._source, self._column
        if source.is_open or (not source.is_files and not is_columnar(source.content)):
            why = "the corpus is read twice, for its text and this column"
            raise ValueError(f"group_by={column!r}: {why}: give files or a table")
        for place in source.content if source.is_files else []:
            if not file_kind(place.file)[0]:
                raise ValueError(f"group_by={column!r}: {place.file} is plain text, which has no columns")

    def read(self, threads: int | None) -> Iterator[tuple[TextBatch, Array]]:
        """Yields batches, and the number of the group of each document, int64[n_documents]."""
        if self.by_file:
            content = self._source.content
            paths = [*dict.fromkeys(str(place.file) for place in content)]
            names = dict(zip(paths, short_names(paths), strict=True))
            for place in content:
                number = self._number(names[str(place.file)])
                for batch in dataclasses.replace(self._source, content=[place]).read(threads):
                    yield batch, np.full(batch.n_documents, number)
            return
        labels: Iterator[str] = itertools.repeat("")
        if self._column is not None:
            source = dataclasses.replace(self._source, column=self._column)
            labels = itertools.chain.from_iterable(batch.strings() for batch in source.read(threads))
        for batch in self._source.read(threads):
            names = itertools.islice(labels, batch.n_documents)
            yield batch, np.array([*map(self._number, names)], np.int64)

    def _number(self, name: str) -> int:
        number = self._numbers.setdefault(name, len(self.sums))
        if number == len(self.sums):
            if number == _MOST and self._column is not None:
                raise ValueError(f"group_by={self._column!r}: has more than {_MOST:,} values, too many for groups")
            self.sums.append(np.zeros(3 + len(self._tokenizers), np.int64))
        return number

    def groups(self) -> Groups | None:
        """Returns the rows; None if the whole corpus is one group."""
        if self._column is None and not self.by_file:
            return None
        order = sorted(self._numbers.items(), key=lambda item: (-self.sums[item[1]][1], item[0]))
        rows = (
            GroupMeasures(name, tokenizer, n_documents, n_bytes, n_words, n_tokens[i])
            for name, number in order
            for n_documents, n_bytes, n_words, *n_tokens in [self.sums[number].tolist()]
            for i, tokenizer in enumerate(self._tokenizers)
        )
        return Groups(self._column or "file", tuple(rows))
