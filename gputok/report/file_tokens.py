"""Counts the tokens of files: those in a list, or those in a folder that a git repository would hold."""

from __future__ import annotations

import dataclasses
import io
import itertools
import os
import pathlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Unpack, get_args

import numpy as np

from gputok.corpus import Source
from gputok.corpus.document_kinds import file_kind, refuse_binary
from gputok.corpus.options import Place
from gputok.corpus.packing import checked
from gputok.files.arrow import needing
from gputok.files.file_systems import Stream, local_path
from gputok.files.locations import File, LocalFile, OpenFile, find
from gputok.files.repositories import LeftOut, walk
from gputok.lazy import public
from gputok.pipeline.pipeline import Pipeline
from gputok.pipeline.run import Run, RunOptions
from gputok.progress import reporting
from gputok.report.figures import aligned
from gputok.report.groups import GroupMeasures, Groups
from gputok.report.measures import code_points, counted, own_pipeline
from gputok.text.pieces import TextBatch, joined
from gputok.types import Array

By = Literal["file", "ending", "language"]
"""What the rows of a table stand for."""

# A text file of up to this many bytes is one document. Each line of a larger one is, so that memory holds only batches
WHOLE_BYTES = 64 << 20
_TOGETHER = 16 << 20  # files are encoded together as soon as they have this many bytes
_LOOKED_AT = 8000  # a file with a null among this many first bytes is binary, as for git
_LARGEST = 10  # the most files that are shown below the table


@public("gputok.report")
class Counted(NamedTuple):
    """The tokens of a file, or of several.

    Attributes:
        name: the path of the file; or an ending or a language.
        n_files: files.
        n_documents: documents.
        n_bytes: bytes of text.
        n_words: runs of characters that are not white space.
        n_tokens: tokens, by each tokenizer.
    """

    name: str
    n_files: int
    n_documents: int
    n_bytes: int
    n_words: int
    n_tokens: tuple[int, ...]


@public("gputok.report")
@dataclass(frozen=True, eq=False, repr=False)
class FileCounts:
    """How many tokens files have.

    Attributes:
        tokenizers: the names of the tokenizers.
        files: each file, in the order in which they were found.
        left_out: the files and folders that were not read (`name`), and the reason of each (`why`, `detail`).
    """

    tokenizers: tuple[str, ...]
    files: tuple[Counted, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def total(self) -> Counted:
        """The tokens of all files together."""
        return _sum("total", self.files, len(self.tokenizers))

    def by(self, what: By) -> list[Counted]:
        """Adds files up.

        Args:
            what: "ending", "language" (told by the name of a file, as Pygments does), or "file".

        Returns:
            A row for each, those with most tokens of the first tokenizer first.

        Raises:
            ValueError: `what` is none of these.
            ImportError: for languages, and Pygments is missing.
        """
        if what not in get_args(By):
            raise ValueError(f"by={what!r}: expected one of {', '.join(get_args(By))}")
        groups: dict[str, list[Counted]] = {}
        name_of = {"file": str, "ending": _ending, "language": _language}[what]
        for file in self.files:
            groups.setdefault(name_of(file.name), []).append(file)
        rows = [_sum(name, files, len(self.tokenizers)) for name, files in groups.items()]
        return sorted(rows, key=lambda row: (-row.n_tokens[0], row.name))

    def groups(self, what: By = "ending") -> Groups:
        """Returns the rows of `by` with bytes a token, tokens a word, parity and Gini, also as CSV or a data frame."""
        rows = (
            GroupMeasures(row.name, name, row.n_documents, row.n_bytes, row.n_words, n_tokens)
            for row in self.by(what)
            for name, n_tokens in zip(self.tokenizers, row.n_tokens, strict=True)
        )
        return Groups(what, tuple(rows))

    def cost(self, price: float) -> tuple[float, ...]:
        """Computes what the tokens of each tokenizer cost; price: of a million tokens."""
        if not 0 <= price < float("inf"):
            raise ValueError(f"price={price}: expected a number of 0 or more, for a million tokens")
        return tuple(n_tokens * price / 1_000_000 for n_tokens in self.total.n_tokens)

    def to_dict(self, by: By = "ending", price: float | None = None) -> dict[str, Any]:
        """Returns the numbers for JSON: the sum, the rows of `by`, what was left out, and the cost if there is one."""
        facts = self._facts(self.total) | {f"by_{by}": [self._facts(row) for row in self.by(by)]}
        facts["left_out"] = [one._asdict() for one in self.left_out]
        del facts["name"]
        return facts if price is None else facts | {"cost": self._named(self.cost(price))}

    def _facts(self, row: Counted) -> dict[str, Any]:
        numbers = {"files": row.n_files, "documents": row.n_documents, "bytes": row.n_bytes, "words": row.n_words}
        return {"name": row.name, **numbers, "tokens": self._named(row.n_tokens)}

    def _named(self, values: Sequence[Any]) -> dict[str, Any]:
        return dict(zip(self.tokenizers, values, strict=True))

    def to_str(self, by: By = "ending", price: float | None = None) -> str:
        """Shows a table by ending, language or file, the largest files, the sum, its cost, and what was left out."""
        parts, files = [], self.by("file")
        if len(files) > 1:
            largest = [] if by == "file" else [self._table("largest files", files[:_LARGEST])]
            parts = [self._table(by, self.by(by)), *largest]
        parts.append("\n".join([*self._sums(price), *self.groups(by).said(), *self._why()]))
        return "\n\n".join(parts)

    def __str__(self) -> str:
        return self.to_str()

    def __repr__(self) -> str:
        return f"<FileCounts: {', '.join(self.tokenizers)} on {len(self.files):,} files>"

    def _table(self, heading: str, rows: list[Counted]) -> str:
        heads = [f"tokens, {name}" for name in self.tokenizers] if len(self.tokenizers) > 1 else ["tokens"]
        each = [] if "file" in heading else ["files"]  # a row of a file needs no number of files
        table = [[heading, *each, "bytes", *heads, "share"]]
        most = self.total.n_tokens[0]
        for row in rows:
            share = f"{row.n_tokens[0] / most:.1%}" if most else ""
            numbers = [row.n_files, row.n_bytes, *row.n_tokens][1 - len(each) :]
            table.append([row.name, *(f"{n:,}" for n in numbers), share])
        return "\n".join(aligned(table))

    def _sums(self, price: float | None) -> list[str]:
        """Writes a line for each tokenizer, about all files together."""
        total = self.total
        costs = [""] * len(self.tokenizers)
        if price is not None:
            costs = [f"; {_money(cost)} at {price:,.2f} a million" for cost in self.cost(price)]
        where = f"{_many(total.n_files, 'file')}, {_many(total.n_documents, 'document')}, {total.n_bytes:,} bytes"
        lines = []
        for name, n_tokens, cost in zip(self.tokenizers, total.n_tokens, costs, strict=True):
            before = f"{name}: " if len(self.tokenizers) > 1 else ""
            each = f", {total.n_bytes / n_tokens:.2f} bytes a token" if n_tokens else ""
            each += f", {n_tokens / total.n_words:.2f} tokens a word" if total.n_words else ""
            lines.append(f"{before}{n_tokens:,} tokens in {where}{each}{cost}")
        return lines

    def _why(self) -> list[str]:
        reasons = Counter(one.why for one in self.left_out)
        found = ", ".join(f"{n:,} {why}" for why, n in reasons.most_common())
        n = len(self.left_out)
        return [f"{_many(n, 'file')} or folder{'' if n == 1 else 's'} left out: {found}"] if n else []


def count_files(
    paths: Any, tokenizers: Any, *, lines: bool = False, gitignore: bool = True, **options: Unpack[RunOptions]
) -> FileCounts:
    r"""Counts the tokens of files, without special tokens around each document.

    A folder is read as a repository: hidden files too, but not `.git`, links, and what `.gitignore` names. Binary files
    (a null among the first 8,000 bytes, or the first bytes of a known kind) and those that are not UTF-8 are left out.

    A text file is one document, as if it were pasted into a prompt; so is `.json`, `.jsonl` or `.csv` without a column
    of text. Files with such a column and Parquet have a document for each row, and compressed files and those of more
    than 64 MB one for each line, as for `Tokenizer.train`.

    Args:
        paths: a file, a folder, a glob, a URL or an open file, or a list of these.
        tokenizers: a tokenizer of gputok, `tokenizers` or `transformers`, or several by their names.
        lines: each line of a text file is a document.
        gitignore: False: what `.gitignore` names is read, too.
        options: how files are read, and with how many threads (`gputok.pipeline.run.RunOptions`). With a column, JSON
            Lines, CSV and Parquet files must have it. With `errors="replace"`, files that are not UTF-8 are read.

    Returns:
        The numbers of each file, which `print` shows by ending.

    Raises:
        FileNotFoundError: a path or glob names no file.
        ValueError: no file could be read; or a file with more than 64 MB is broken or not UTF-8.
        ImportError: a package is missing, which the message names.

    Example:
        >>> import tempfile
        >>> from gputok import Tokenizer, models, pre_tokenizers
        >>> tokenizer = Tokenizer(models.WordLevel({"so": 0, "it": 1, "goes": 2}))
        >>> tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> _ = (folder / "a.txt").write_text("so it\ngoes"), (folder / "b.png").write_bytes(b"\x89PNG\0")
        >>> print(count_files(folder, tokenizer))
        3 tokens in 1 file, 1 document, 10 bytes, 3.33 bytes a token, 1.00 tokens a word
        1 file or folder left out: 1 binary
    """
    given: Mapping[str, Any] = tokenizers if isinstance(tokenizers, dict) else {"tokenizer": tokenizers}
    pipelines = {name: own_pipeline(name, one) for name, one in given.items()}
    if not pipelines:
        raise ValueError("tokenizers: name one at least")
    run, reading = Run.asked(options, RunOptions)
    empty = Source([], True, **reading)
    counting = _Counting(pipelines, run.threads)
    left_out: list[LeftOut] = []
    with reporting(run.progress) as report:
        for file in _found(paths, gitignore, empty.storage_options):
            texts = file if isinstance(file, LeftOut) else _texts(file, empty, lines, run.threads)
            if isinstance(texts, LeftOut):
                left_out.append(texts)
            else:
                counting.add(str(file), texts)
            report("encode", counting.n_bytes, None)
        counting.flush()
    if not counting.names and left_out:
        one = left_out[0]
        raise ValueError(f"{one.name}: no text to count: {one.detail or one.why}; {len(left_out):,} left out")
    return FileCounts(tuple(pipelines), counting.counted(), tuple(left_out))


def _found(paths: Any, gitignore: bool, storage_options: Any) -> Iterator[File | LeftOut]:
    """Yields each file once, and what is left out of folders."""
    seen: set[str] = set()
    for given in paths if isinstance(paths, list | tuple) else [paths]:
        name = local_path(os.fspath(given)) if isinstance(given, str | os.PathLike) else None
        if name is not None and pathlib.Path(name).is_dir():
            found = walk(pathlib.Path(name), gitignore=gitignore)
            files = (LocalFile(one) if isinstance(one, pathlib.Path) else one for one in found)
        else:
            files = find(given, storage_options)
        for file in files:
            shown = file.name if isinstance(file, LeftOut) else str(file)
            if shown not in seen or isinstance(file, OpenFile):
                seen.add(shown)
                yield file


class _Counting:
    """Encodes files together, and counts the tokens of each."""

    def __init__(self, pipelines: Mapping[str, Pipeline], threads: int | None) -> None:
        self.names: list[str] = []
        self.n_bytes = 0
        self._pipelines, self._threads = pipelines, threads
        self._sums: list[Array] = []  # of each file: documents, bytes, words, and the tokens of each tokenizer
        self._held: list[tuple[int, TextBatch]] = []  # the number of a file, and some of its documents
        self._size = 0  # bytes that are held

    def add(self, name: str, texts: Iterator[TextBatch]) -> None:
        """Takes the documents of a file."""
        number = len(self.names)
        self.names.append(name)
        self._sums.append(np.zeros(3 + len(self._pipelines), np.int64))
        for batch in texts:
            n_bytes = int(batch.offsets[-1] - batch.offsets[0])
            self.n_bytes += n_bytes
            self._held.append((number, batch))
            self._size += n_bytes
            if self._size >= _TOGETHER:
                self.flush()

    def flush(self) -> None:
        """Encodes what is held."""
        if not self._held:
            return
        numbers, batches = zip(*self._held, strict=True)
        batch, files = joined([*batches]), np.repeat(numbers, [one.n_documents for one in batches])
        for _ in counted(self._pipelines, batch, code_points(batch), files, self._sums, self._threads):
            pass
        self._held, self._size = [], 0

    def counted(self) -> tuple[Counted, ...]:
        rows = zip(self.names, np.array(self._sums).tolist(), strict=True)
        return tuple(Counted(name, 1, n, n_bytes, words, tuple(tokens)) for name, (n, n_bytes, words, *tokens) in rows)


def _texts(file: File, reading: Source, lines: bool, threads: int | None) -> Iterator[TextBatch] | LeftOut:
    """Reads the documents of a file, or says why the file is left out."""
    kind, compression = file_kind(file)
    size = file.size
    is_small = size is not None and size <= WHOLE_BYTES
    if kind:
        column = "text" if kind == ".json" and reading.column is None else reading.column
        source = dataclasses.replace(reading, content=[Place(file)], column=column, separator=None)
        if not is_small or reading.column is not None:
            return source.read(threads)
        try:
            return iter([*source.read(threads)])
        except (ValueError, ImportError) as error:
            if kind == ".parquet" or compression:
                return LeftOut(str(file), "not readable", str(error))
    source = dataclasses.replace(reading, content=[Place(file)], column=None)
    if compression or (size is not None and not is_small) or lines or reading.separator is not None:
        return _of_lines(file, source, threads)
    stream = io.BufferedReader(file.open())  # type: ignore[arg-type]  # a raw stream may read less than asked for
    head = stream.read(WHOLE_BYTES + 1)
    if len(head) <= WHOLE_BYTES:
        stream.close()
        return _whole(file, head, reading)
    rest = OpenFile(Stream(stream, head), name=file.name, shown=str(file))
    return _of_lines(rest, dataclasses.replace(source, content=[Place(rest)]), threads)


def _whole(file: File, data: bytes, reading: Source) -> Iterator[TextBatch] | LeftOut:
    """Makes one document of the content of a file, or says why the file is left out."""
    try:
        refuse_binary(str(file), data)
    except ValueError as error:
        return LeftOut(str(file), "binary", str(error))
    if b"\0" in data[:_LOOKED_AT]:
        return LeftOut(str(file), "binary")
    batch = TextBatch(np.frombuffer(data, np.uint8), np.array([0, len(data)]))
    try:
        return iter([checked(batch, reading.errors, lambda byte: f"{file}, byte {byte}", lines=False)])
    except ValueError as error:
        return LeftOut(str(file), "not UTF-8", str(error))


def _of_lines(file: File, source: Source, threads: int | None) -> Iterator[TextBatch] | LeftOut:
    """Reads a text file whose lines are documents, or says why it is left out; only the first batch is checked here."""
    batches = source.read(threads)
    try:
        first = [*itertools.islice(batches, 1)]
    except (ValueError, ImportError) as error:
        return LeftOut(str(file), "binary or not UTF-8", str(error))
    if first and not first[0].data[:_LOOKED_AT].all():
        return LeftOut(str(file), "binary")
    return itertools.chain(first, batches)


def _sum(name: str, files: Sequence[Counted], n_tokenizers: int) -> Counted:
    numbers = [(file.n_files, file.n_documents, file.n_bytes, file.n_words) for file in files]
    n_files, n_documents, n_bytes, n_words = map(sum, zip((0,) * 4, *numbers, strict=True))
    n_tokens = tuple(sum(file.n_tokens[i] for file in files) for i in range(n_tokenizers))
    return Counted(name, n_files, n_documents, n_bytes, n_words, n_tokens)


def _ending(name: str) -> str:
    """Returns the ending of a name; that of a compressed file has the ending before it as well.

    >>> _ending("src/A.PY"), _ending("books.txt.gz"), _ending("Makefile")
    ('.py', '.txt.gz', 'no ending')
    """
    path = pathlib.PurePath(name.lower())
    _, compression = file_kind(LocalFile(pathlib.Path(path)))
    return "".join(path.suffixes[-2:] if compression else path.suffixes[-1:]) or "no ending"


def _language(name: str) -> str:
    with needing("by='language' needs Pygments: pip install 'gputok[repository]'"):
        from pygments.lexers import find_lexer_class_for_filename
    lexer = find_lexer_class_for_filename(pathlib.PurePath(name).name)
    return "other" if lexer is None else lexer.name


def _many(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _money(cost: float) -> str:
    """Writes a cost with two decimals, or with two significant digits if it is less than 1.

    >>> _money(1234.5), _money(0.0123), _money(0)
    ('1,234.50', '0.012', '0.00')
    """
    return f"{cost:,.2f}" if cost >= 1 or not cost else f"{cost:.2g}"
