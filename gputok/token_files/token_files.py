"""Files of the ids of a corpus: written batch by batch, resumable after an interruption, renamed when complete.

`gputok.token_files.formats` lists the formats. Beside each output, or in its folder, lies a manifest in JSON,
`NAME.manifest.json`: which tokenizer made the ids, the numbers of documents, ids and bytes, a checksum of each file.
"""

from __future__ import annotations

import bisect
import itertools
import os
import pathlib
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypedDict

import numpy as np

from gputok.checks import short
from gputok.files.arrow import needed_for
from gputok.files.atomic import naming
from gputok.files.file_systems import local_path
from gputok.files.locations import StorageOptions, copied
from gputok.files.outputs import Target, work_folder
from gputok.token_files.batches import TokenBatch as TokenBatch
from gputok.token_files.batches import id_dtype as id_dtype
from gputok.token_files.formats import FORMATS, KINDS, chosen
from gputok.token_files.formats.base import OpenShard, TokenFormat
from gputok.token_files.manifest import INSIDE, Manifest, manifest_name, manifests_in
from gputok.token_files.work import Layout, Output, opened
from gputok.types import Array, FileFormat

__all__ = ["KINDS", "Layout", "TokenBatch", "TokenFiles", "Written", "layout_of", "open_tokens", "write"]

_ROWS_AT_ONCE = 1 << 13  # documents that are read together
_IDS_AT_ONCE = 1 << 22


class Seconds(NamedTuple):
    """What the time of a run went to.

    Attributes:
        reading: seconds that encoding waited for text; where the threads that encode also read, their seconds of
            reading divided by the number of threads.
        encoding: the rest.
        writing: seconds of putting ids into files.
    """

    reading: float = 0.0
    encoding: float = 0.0
    writing: float = 0.0


class Written(NamedTuple):
    """What a run wrote to a file of ids.

    Attributes:
        n_documents: documents of the corpus.
        n_new_documents: documents that this run encoded: fewer if it resumed an interrupted run.
        n_ids: ids of the new documents.
        n_unknown: how many of these ids stand for text that the vocabulary lacks.
        n_bytes: UTF-8 of all documents, or 0 if an earlier run had encoded all of them.
        n_stored: documents in the files, or blocks of `sequence_length` ids. Fewer than `n_documents` if some have no
            ids, and the format keeps none of these (mds).
        seconds: what the time went to.
    """

    n_documents: int
    n_new_documents: int
    n_ids: int
    n_unknown: int
    n_bytes: int
    n_stored: int
    seconds: Seconds = Seconds()


class FileOptions(TypedDict, total=False):
    """What files of ids are like: keyword arguments of all functions that write them. All may be left out.

    Attributes:
        format: what to write: "npy", "bin", "arrow", "parquet", "megatron", "datatrove", "nanogpt", "llmc", "mds",
            "litdata" or "olmo" (`gputok.token_files.formats` describes the files); None: the ending of the output
            decides, .npy, .bin, .arrow or .parquet.
        shard_tokens: how many ids a file has at most, in whole documents (more if one document has more); None: one
            file, or for "mds" and "litdata" files of 64 MB.
        shuffle: the seed of the order of the documents in each file, `numpy.random.default_rng(seed).permutation`;
            None: the order of the corpus.
        dtype: the dtype of the ids; None: by the format's own rule.
        sequence_length: ids of a block; documents are joined, then cut into blocks, which are stored instead ("mds").
    """

    format: FileFormat | None
    shard_tokens: int | None
    shuffle: int | None
    dtype: str | np.dtype[Any] | type | None
    sequence_length: int | None


def layout_of(
    output: str | os.PathLike[str],
    vocab_size: int,
    *,
    format: str | None = None,
    dtype: str | np.dtype[Any] | type | None = None,
    shard_tokens: int | None = None,
    shuffle: int | None = None,
    sequence_length: int | None = None,
) -> Layout:
    """Checks how an output, a path or URL, shall be written, before anything is; the options are `FileOptions`.

    vocab_size: the largest id plus 1. Raises ValueError if a format doesn't exist or can't store this, or an id doesn't
    fit in the dtype.

    >>> layout_of("corpus", 50_000, format="megatron").dtype
    dtype('uint16')
    """
    name = os.fspath(output)
    form = chosen(name, format)
    given = {"shard_tokens": shard_tokens, "shuffle": shuffle, "sequence_length": sequence_length}
    for option, value in given.items():
        least = 0 if option == "shuffle" else 1
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
            raise ValueError(f"{option}={value!r}: expected a whole number of at least {least}")
    stores = f"the format {form.name} stores"
    if sequence_length is not None and not form.takes_blocks:
        able = ", ".join(f.name for f in FORMATS.values() if f.takes_blocks)
        raise ValueError(f"sequence_length={sequence_length}: {stores} whole documents; blocks are stored by {able}")
    if shard_tokens is not None and shard_tokens > form.most_ids:
        raise ValueError(f"shard_tokens={shard_tokens:,}: {stores} at most {form.most_ids:,} ids in a file")
    return Layout(form, _dtype_of(form, vocab_size, dtype), shard_tokens, shuffle, sequence_length)


def _dtype_of(form: TokenFormat, vocab_size: int, dtype: Any) -> np.dtype[Any]:
    try:
        found = form.dtype_of(vocab_size) if dtype is None else np.dtype(dtype)
    except TypeError:
        raise ValueError(f"dtype={dtype!r}: expected one of {', '.join(form.dtypes)}") from None
    if found.name not in form.dtypes:
        if dtype is not None:
            stored = " or ".join(form.dtypes)
            raise ValueError(f"dtype={found.name}: the format {form.name} stores {stored}, no other dtype")
        found = np.dtype(form.dtypes[-1])  # the widest dtype of the format, too narrow: the error below names it
    if vocab_size - 1 > np.iinfo(found).max:
        not_in = f"which does not fit in {found.name}; choose another {'format' if dtype is None else 'dtype'}"
        raise ValueError(f"format {form.name}: the largest id of the tokenizer is {vocab_size - 1:,}, {not_in}")
    return found


def names(path: str | os.PathLike[str], layout: Layout) -> list[str]:
    """Returns the paths or URLs of files that `write` makes: of the first shard, and of each that exists (locally).

    >>> names("s3://bucket/ids.npy", layout_of("ids.npy", 300))[:2]
    ['s3://bucket/ids.npy', 's3://bucket/ids.npy.rows.npy']
    """
    name = os.fspath(path)
    if (local := local_path(name)) is not None:
        return Output(pathlib.Path(local), layout).names()
    form, folder, last = layout.format, *name.rstrip("/").rsplit("/", 1)
    data = form.data_name(form.stem(last), None if layout.shard_tokens is None else 0, layout.shuffle is not None)
    if form.index:
        folder = f"{folder}/{last}"
    return [f"{folder}/{file}" for file in (data, *form.beside(data), form.index) if file]


def write(
    path: str | os.PathLike[str],
    batches: Callable[[int], Iterable[TokenBatch]],
    layout: Layout,
    fingerprint: str,
    storage_options: StorageOptions = None,
    *,
    tokenizer: dict[str, Any] | None = None,
    n_bytes: Callable[[], int] = lambda: 0,
    threads: int | None = None,
) -> tuple[int, int]:
    """Writes the ids of a corpus; returns the numbers of documents, and of documents or blocks in the files.

    Batches go to a work folder (`.NAME.part`) beside the output, whose files get their final names at the end. If the
    only file of ids is a symbolic link, the file that the link points to is replaced; other files lie beside the link.
    An interrupted run leaves its work folder; the next run with the same `fingerprint` resumes after the last complete
    document, a run with another one starts from the beginning. If `path` is a URL, the files are made in a temporary
    folder of this machine and uploaded at the end; if the upload fails, the next run only uploads.

    batches: called at most once, with the number of documents that an interrupted run wrote; returns the batches after
    these. fingerprint: a hash of everything that the ids depend on: tokenizer, source, options. tokenizer: what the
    manifest says of it. n_bytes: called at the end; tells how many bytes of text the documents had. threads: how many
    work, the caller's included. Raises ValueError if the format can't store a document; OSError if writing fails.
    """
    name = os.fspath(path)
    fingerprint = f"{fingerprint} {layout.format.name} {layout[1:]}"
    if layout.format.name in ("arrow", "parquet"):  # a missing PyArrow is an error now, not after hours of encoding
        with needed_for(f"{name}: writing .{layout.format.name} files"):
            import pyarrow as pa  # noqa: F401

    def write_local(local: pathlib.Path) -> tuple[tuple[int, int], list[pathlib.Path]]:
        output = Output(local, layout)
        with naming(local, output.work), opened(output, fingerprint, tokenizer or {}) as work:
            work.write(batches, n_bytes, threads)
            return (work.n_documents, work.n_stored), work.publish()

    if (local := local_path(name)) is not None:
        return write_local(pathlib.Path(local))[0]
    is_folder = bool(layout.format.index)
    target = Target(name.rstrip("/") if is_folder else name, storage_options)
    made = work_folder(name) / target.name
    done = made.with_name("done")
    if not (done.exists() and done.read_text().startswith(fingerprint)):
        (n_documents, n_stored), files = write_local(made)
        names = "\n".join(file.name for file in files)
        done.write_text(f"{fingerprint}\n{n_documents} {n_stored}\n{names}")
    _, numbers, *names = done.read_text().split("\n")
    for file in names:
        to = Target(f"{target.url}/{file}", storage_options) if is_folder else target.beside(file)
        to.upload(made / file if is_folder else made.with_name(file))
    shutil.rmtree(made.parent)
    n_documents, n_stored = map(int, numbers.split())
    return n_documents, n_stored


# -- reading


class TokenFiles(Sequence["Array"]):
    """The ids of a corpus, read from files that are mapped into memory; `open_tokens` makes it.

    `tokens[i]` are the ids of document i, `len(tokens)` is the number of documents (or of blocks of a fixed length),
    and `for ids in tokens` goes through all. Parquet alone is not mapped, but unpacked a row group at a time.

    Attributes:
        format: the name of the format.
        manifest: the manifest that lies beside the files; None: there is none.
        paths: the files of ids.
    """

    def __init__(self, form: TokenFormat, paths: Iterable[pathlib.Path], manifest: Manifest | None = None) -> None:
        self.format, self.manifest = form.name, manifest
        self.paths = [*paths]
        self._shards: list[OpenShard] = [shard for path in self.paths for shard in form.open(path)]
        self._first = [0, *itertools.accumulate(shard.n_documents for shard in self._shards)]

    def __repr__(self) -> str:
        return f"TokenFiles({len(self):,} documents, format {self.format})"

    @property
    def n_tokens(self) -> int:
        """The number of ids."""
        return sum(shard.n_ids for shard in self._shards)

    def __len__(self) -> int:
        return self._first[-1]

    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, slice):
            return [self[k] for k in range(*i.indices(len(self)))]
        i = int(i)
        if not -len(self) <= i < len(self):
            raise IndexError(f"document {i} of {len(self):,}")
        i %= len(self)
        shard = bisect.bisect_right(self._first, i) - 1
        return self._shards[shard].document(i - self._first[shard])

    def __iter__(self) -> Iterator[Array]:
        for ids, rows in self.batches():
            for first, last in itertools.pairwise(rows.tolist()):
                yield ids[first:last]

    def batches(self, skip: int = 0) -> Iterator[TokenBatch]:
        """Yields the documents after the first `skip`, some at a time, so that the files may be larger than memory."""
        for shard, first in zip(self._shards, self._first[:-1], strict=True):
            at = max(skip - first, 0)
            while at < shard.n_documents:
                last = min(at + _ROWS_AT_ONCE, shard.n_documents)
                batch = shard.batch(at, last)
                if len(batch.ids) > _IDS_AT_ONCE and last > at + 1:
                    last = at + max(int(np.searchsorted(batch.rows, _IDS_AT_ONCE, "right")) - 1, 1)
                    rows = batch.rows[: last - at + 1]
                    batch = TokenBatch(batch.ids[: rows[-1]], rows)
                yield batch
                at = last


def open_tokens(
    path: str | os.PathLike[str], format: FileFormat | None = None, *, storage_options: StorageOptions = None
) -> TokenFiles:
    """Opens files of ids of any format, document by document, without reading them into memory.

    Args:
        path: the output of `Tokenizer.encode_corpus`, its manifest or its folder, or files that another tool wrote: a
            name as `encode_corpus` takes it, or one of the files of ids. A URL is copied to this machine first.
        format: the name of a format, for files without a manifest; None: the files tell.
        storage_options: of the file system of a URL, see `gputok.files.locations`.

    Returns:
        The documents.

    Raises:
        FileNotFoundError: if there is no such file, or if one beside it is missing.
        ValueError: if the files are of no known format, or a file is damaged; the message names file and field.

    Example:
        >>> import tempfile
        >>> from gputok import Tokenizer, models, pre_tokenizers
        >>> tokenizer = Tokenizer(models.WordLevel({"so": 0, "it": 1, "goes": 2}))
        >>> tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        >>> prefix = tempfile.mkdtemp() + "/corpus"
        >>> _ = tokenizer.encode_corpus(iter(["so it", "goes"]), prefix, format="megatron")
        >>> [ids.tolist() for ids in open_tokens(prefix)]
        [[0, 1], [2]]
    """
    name = os.fspath(path)
    if (local := local_path(name)) is not None:
        return _open_local(pathlib.Path(local), name, format)
    folder = tempfile.mkdtemp(prefix="gputok-")
    try:
        copy = _download(name.rstrip("/"), pathlib.Path(folder), format, storage_options)
        tokens = _open_local(copy, name, format)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(tokens, shutil.rmtree, folder, ignore_errors=True)
    return tokens


def manifests(path: str | os.PathLike[str]) -> list[Manifest]:
    """Returns the manifest of an output on this machine, or all of a folder; FileNotFoundError: there is none."""
    local = pathlib.Path(path)
    found = manifests_in(local) if local.is_dir() else [_manifest_of(local)]
    if not any(found):
        raise FileNotFoundError(f"{path}: no manifest of files of ids (NAME.manifest.json or manifest.json)")
    return [Manifest(manifest) for manifest in found if manifest is not None]


def is_output(path: str) -> bool:
    """Returns True if a path or URL names files of ids, as far as its name and the files beside it tell."""
    local = local_path(path)
    if local is None:
        return path.endswith(KINDS)
    found = pathlib.Path(local)
    if local.endswith(KINDS) or found.is_dir() or _manifest_of(found) is not None:
        return True
    return any(form.is_at(found) for form in FORMATS.values())


def _open_local(path: pathlib.Path, name: str, format: str | None) -> TokenFiles:
    found = _manifest_of(path)
    if found is not None:
        manifest = Manifest(found)
        known = manifest.content["format"]
        if known not in FORMATS or format not in (None, known):
            raise ValueError(f"{found}: format: {short(known)} is unknown, or not {short(format)}")
        names = manifest.data_names
        if path.name in names:  # one shard of several
            names = [path.name]
        return TokenFiles(FORMATS[known], [found.parent / name for name in names], manifest)
    form = next((one for one in FORMATS.values() if one.is_at(path)), None) if format is None else chosen(name, format)
    if form is None:
        if not path.exists():
            raise FileNotFoundError(f"{name}: no such file, and no output of ids of that name")
        kind = "a folder" if path.is_dir() else path.suffix or "a file without ending"
        wanted = f"a file of ids ({', '.join(KINDS)}) or another output of the formats {', '.join(FORMATS)}"
        raise ValueError(f"{name}: expected {wanted}, got {kind}")
    paths = form.data_paths(path)
    if not paths:
        raise FileNotFoundError(f"{name}: no files of the format {form.name}")
    return TokenFiles(form, paths)


def _manifest_of(path: pathlib.Path) -> pathlib.Path | None:
    """Returns the manifest of an output, of a file of it, or in a folder, or None; ValueError: there are several."""
    if path.name.endswith(INSIDE):
        return path if path.is_file() else None
    beside = path.with_name(manifest_name(path.name, False))
    if beside.is_file():
        return beside
    if path.is_dir():
        found = manifests_in(path)
        if len(found) > 1:
            raise ValueError(f"{path}: has {len(found)} outputs; name one, such as {found[0]}")
        return found[0] if found else None
    # A manifest has the main name of its output (`output_name`), such as PREFIX.npy if `path` is PREFIX
    names = {form.output_name(path.name) for form in FORMATS.values()}
    found = [path.with_name(manifest_name(name, False)) for name in sorted(names)]
    found = [manifest for manifest in found if manifest.is_file()]
    if len(found) > 1:
        raise ValueError(f"{path}: names {len(found)} outputs; name one, such as {found[0]}")
    if not path.is_file():
        return found[0] if found else None
    # The file may be one of several shards, or lie beside a file of ids
    of_shard = (one for one in manifests_in(path.parent) if any(f.name == path.name for f in Manifest(one).files))
    return next(of_shard, None)


def _download(url: str, folder: pathlib.Path, format: str | None, storage_options: StorageOptions) -> pathlib.Path:
    """Copies an output to a folder; returns the path to open there."""
    parent, _, last = url.rpartition("/")
    # A manifest has the main name of its output, as in `_manifest_of`
    others = sorted({form.output_name(last) for form in FORMATS.values()} - {last})
    names = [(parent, manifest_name(name, False)) for name in (last, *others)]
    for parent_url, manifest in (*names[:1], (url, INSIDE), *names[1:]):
        try:
            found = copied(f"{parent_url}/{manifest}", folder, storage_options)
        except FileNotFoundError:
            continue
        for file in Manifest(found).files:
            copied(f"{parent_url}/{file.name}", folder, storage_options)
        return found
    form = chosen(url, format)
    for name in (last, *form.beside(last)):
        copied(f"{parent}/{name}", folder, storage_options)
    return folder / last
