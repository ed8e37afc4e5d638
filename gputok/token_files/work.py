"""The work folder of an output of ids: shards that are finished, and the one that is being written.

The folder `.NAME.part` lies beside the output, and holds:

| name                        | content                                                                        |
|-----------------------------|--------------------------------------------------------------------------------|
| `run.json`                  | a checksum, the fingerprint of the run, and what is known of each finished shard |
| `ids-00003`                 | ids of shard 3: the bytes that its format keeps free, then ids                 |
| `ends-00003`                | int64, the end of each document in these ids                                   |
| `rest-00003`                | if blocks are written: the last ids of shard 2, which did not fill a block     |
| other names                 | files of finished shards, under their final names                              |

A kill at any moment loses no finished document: a document's ids are written before its end; until `run.json` lists a
shard, its files are made again from ids and ends; and files get their final names only when all are finished.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import json
import os
import pathlib
import re
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from gputok.files.atomic import created, is_plain, locked, real_target, reopened, replacing
from gputok.kernels.threads import ThreadCall, ThreadPool, thread_count
from gputok.token_files.batches import TokenBatch
from gputok.token_files.formats import FORMATS, base
from gputok.token_files.manifest import FileFacts, Manifest, manifest_name
from gputok.types import Array, Positions

_RUN = "run.json"
_MOST_BYTES = 255  # of a name, in most file systems


class Layout(NamedTuple):
    """Checked `FileOptions`. Without `shard_tokens`, there is one shard, unless the format has a size of shards."""

    format: base.TokenFormat
    dtype: np.dtype[Any]
    shard_tokens: int | None = None
    shuffle: int | None = None
    sequence_length: int | None = None


class Output:
    """The names of the files of an output, on this machine; path: the output as the user names it.

    Raises FileNotFoundError if the folder that would hold the output does not exist; IsADirectoryError, FileExistsError
    if a file is to be written, but there is a folder of this name, or the other way round.
    """

    def __init__(self, path: pathlib.Path, layout: Layout) -> None:
        form = layout.format
        self.path, self.layout = path, layout
        self.name = form.output_name(path.name)
        self.is_folder = bool(form.index)
        beside = manifest_name(self.name, self.is_folder)  # the longest name that an output gets
        if (too_many := len(os.fsencode(beside)) - _MOST_BYTES) > 0:
            follows = f"{beside[-14:]!r} follows it, and a name has at most {_MOST_BYTES}"
            raise OSError(errno.ENAMETOOLONG, f"the name is {too_many} bytes too long: {follows}", str(path))
        self.is_sharded = self.is_folder or layout.shard_tokens is not None
        self.folder = pathlib.Path(os.path.realpath(path)) if self.is_folder else path.parent
        if self.is_folder and self.folder.exists() and not self.folder.is_dir():
            raise FileExistsError(errno.EEXIST, "is a file, but a folder is to be written", str(path))
        if not self.is_folder and self.data_name(0) == self.name:
            # If the only file of ids is to replace a link, it replaces the file that the link points to
            self._base = real_target(path.with_name(self.name))
        else:
            self._base = self.folder if self.is_folder else pathlib.Path(os.path.realpath(path.parent), self.name)
        if not self._base.parent.is_dir():
            raise FileNotFoundError(f"{path}: the folder {self._base.parent} does not exist; create it first")
        self.work = self._base.with_name(f".{self._base.name}.part")

    def data_name(self, number: int) -> str:
        """Returns the final name of the file of ids of a shard."""
        form, of_shard = self.layout.format, number if self.is_sharded else None
        return form.data_name(form.stem(self.name), of_shard, self.layout.shuffle is not None)

    @property
    def manifest(self) -> pathlib.Path:
        """The path of the manifest."""
        return self.folder / manifest_name(self.name, self.is_folder)

    def final(self, name: str) -> pathlib.Path:
        """Returns the final path of a file; if the user chose its name, and a link has it, where the link points to."""
        path = self.folder / name
        return real_target(path, follow=not self.is_folder and name == self.path.name)

    def owns(self, form: base.TokenFormat, name: str) -> bool:
        """Returns True if an output of this path can have a file of this name, in a format with any layout."""
        stem, numbers = form.stem(self.name), map(int, re.findall(r"\d{1,9}", name))
        data = [form.data_name(stem, *how) for how in itertools.product((None, *numbers), (False, True))]
        return name in {form.index, *data, *(other for each in data for other in form.beside(each))}

    def names(self) -> list[str]:
        """Returns the paths of files that will be written: of the first shard, and of each that exists already."""
        form, names = self.layout.format, []
        for number in itertools.count():
            name = self.data_name(number)
            if number and (not self.is_sharded or not os.path.lexists(self.folder / name)):
                break
            names += [name, *form.beside(name)]
        names += [form.index] if self.is_folder else []
        return [str(self.folder / name) for name in [*names, self.manifest.name]]

    def check_free(self) -> None:
        """Raises FileExistsError if the folder to be written has files that are not from an earlier run."""
        if not self.is_folder or not self.folder.is_dir() or self.manifest.exists():
            return
        if others := sorted(path.name for path in self.folder.iterdir() if not path.name.startswith(".")):
            wanted = "expected an empty folder, or one that gputok wrote"
            raise FileExistsError(f"{self.path}: {wanted}, but it contains {others[0]}; name another folder")


class Work:
    """An open work folder; files of a run with another fingerprint are removed. The arguments are those of `write`."""

    def __init__(self, output: Output, fingerprint: str, tokenizer: dict[str, Any]) -> None:
        self._output, self._layout, self._form = output, output.layout, output.layout.format
        self._folder, self._tokenizer = output.work, tokenizer
        self._about = base.About(tokenizer.get("name", "gputok"), self._layout.dtype, self._layout.sequence_length)
        self._new: dict[str, Any] = {"fingerprint": fingerprint, "complete": False, "bytes_in": 0, "shards": []}
        found = self._read_run()
        self._run: dict[str, Any] = self._new if found is None else found
        self._sums: list[ThreadCall] = []  # of files of finished shards
        if found is None:
            output.check_free()
            _empty(self._folder)
            self._save()
        self._remove_leftovers()

    def _read_run(self) -> dict[str, Any] | None:
        """Reads `run.json`; None: it is missing, damaged or of another run, or its files are not as it lists them."""
        file = reopened(self._folder / _RUN)
        if file is None:
            return None
        with file:
            digest, _, text = file.read().partition(b"\n")
        run: dict[str, Any] = json.loads(text) if digest == _digest(text) else {}
        if run.get("fingerprint") != self._new["fingerprint"]:
            return None
        for shard in run["shards"]:  # after a crash of the machine, files may be shorter
            for file in shard["files"]:
                work, name = file["work"], file["name"]
                if pathlib.PurePath(work).name != work or not self._output.owns(self._form, name):
                    return None  # gputok gives no such names, so another program wrote `run.json`
                path = self._folder / work
                if not os.path.lexists(path) and run["complete"]:
                    path = self._output.final(name)
                if not is_plain(path) or path.stat().st_size != file["bytes"]:
                    return None
        return run

    def _save(self) -> None:
        text = json.dumps(self._run).encode()
        with replacing(self._folder / _RUN, follow=False) as temporary:
            temporary.write_bytes(_digest(text) + b"\n" + text)

    @property
    def _shards(self) -> list[dict[str, Any]]:
        return self._run["shards"]

    @property
    def n_documents(self) -> int:
        """The documents of the finished shards."""
        return sum(shard["documents"] for shard in self._shards)

    @property
    def n_stored(self) -> int:
        """The documents in the files of finished shards, or the blocks; some formats keep no document without ids."""
        return sum(shard["stored"] for shard in self._shards)

    def _remove_leftovers(self) -> None:
        """Removes the files that finished shards were made from."""
        kept = {file["work"] for shard in self._shards for file in shard["files"]} | {_RUN}
        number = f"{len(self._shards):05d}"
        kept |= {f"{kind}-{number}" for kind in ("ids", "ends", "rest")}
        for path in self._folder.iterdir():
            if path.name not in kept and not (path.name.startswith(".") and path.name.endswith(".part")):
                path.unlink()

    # -- writing

    def write(
        self, batches: Callable[[int], Iterable[TokenBatch]], n_bytes: Callable[[], int], threads: int | None
    ) -> None:
        """Writes all documents, unless that is done; n_bytes is asked at the end. Other threads make checksums."""
        if self._run["complete"]:
            return
        part, self._pool = self._open_part(), ThreadPool(thread_count(threads), helps=True)
        try:
            self._sum_later(file for shard in self._shards for file in shard["files"] if not file["sha256"])
            for batch in batches(part.first_document + part.n_documents):
                part = self._add(part, batch)
            # A corpus without documents gets a shard without documents
            if part.n_documents or not self._shards:
                self._finish(part)
        finally:
            try:
                part.close()
                for call in self._sums:  # also after an interruption: the next run then notices a changed shard
                    call.result()
                if self._sums:
                    self._save()
            finally:
                self._pool.stop()
        self._run.update(complete=True, bytes_in=n_bytes())
        self._save()

    def _add(self, part: _Part, batch: TokenBatch) -> _Part:
        """Adds documents to the shard, and to new ones when it is full; returns the last one."""
        rows, dtype = batch.rows, self._layout.dtype
        ids = batch.ids.view(dtype) if batch.ids.dtype.itemsize == dtype.itemsize else batch.ids.astype(dtype)
        first, most = 0, self._layout.shard_tokens or self._form.shard_tokens
        n = batch.n_documents
        while first < n:
            last = n
            if most is not None:
                # A shard has as many documents as fit, at least one
                room = most - part.n_ids
                last = int(np.searchsorted(rows[first + 1 :], rows[first] + room, "right")) + first
                last = max(last, first + (part.n_documents == 0))
            if last > first:
                added = rows[first : last + 1]
                self._form.check_rows(added, part.first_document + part.n_documents, str(self._output.path))
                part.add(ids, added)
                if part.n_ids > self._form.most_ids:
                    most, how = f"at most {self._form.most_ids:,}", "choose shard_tokens= (--shard-tokens)"
                    stores = f"format={self._form.name!r} stores {most} ids in a file"
                    raise ValueError(f"{self._output.path}: {stores}; {how}, {most}")
            if last < n:
                self._finish(part)
                part.close()
                part = self._open_part()
            first = last
        return part

    def _open_part(self) -> _Part:
        rest = self._folder / f"rest-{len(self._shards):05d}"
        before = rest.read_bytes() if self._shards and self._shards[-1]["rest"] else b""
        space = self._form.space(self._layout.dtype)
        return _Part(self._folder, len(self._shards), self.n_documents, bytes(space) + before, self._layout.dtype)

    def _finish(self, part: _Part) -> None:
        """Makes the files of a shard and records them."""
        ids_path, rows, n_rest = part.ids_path, part.rows(), 0
        space = self._form.space(self._layout.dtype)
        before = (part.n_before - space) // self._layout.dtype.itemsize
        if self._layout.shuffle is not None:
            ids_path, rows = self._shuffled(part, rows)
        length, ids = self._layout.sequence_length, base.mapped(ids_path, self._layout.dtype, space)
        if length is not None:
            n_blocks, n_rest = divmod(before + int(rows[-1]), length)
            rows = np.arange(n_blocks + 1) * length
            rest = self._folder / f"rest-{part.number + 1:05d}"
            base.write_file(rest, np.ascontiguousarray(ids[rows[-1] :]))
        shard = base.Shard(self._output.data_name(part.number), ids_path, rows, part.first_document, self._about)
        facts, files = base.ShardFacts(shard.name, 0, 0, 0), {}
        if rows[-1] or not self._output.is_folder:
            facts, files = self._make(shard, ids)
        del ids
        sized = [(name, work, (self._folder / work).stat().st_size) for name, work in files.items()]
        made = [{"name": name, "bytes": size, "sha256": "", "work": work} for name, work, size in sized]
        numbers = {"documents": part.n_documents, "stored": facts.documents, "rest": n_rest}
        self._shards.append({**facts._asdict(), **numbers, "files": made})
        self._save()
        self._remove_leftovers()
        self._sum_later(self._shards[-1]["files"])

    def _sum_later(self, files: Iterable[dict[str, Any]]) -> None:
        """Lets threads make the checksums of files; an interrupted run has "" for those that are not made."""
        self._sums += [self._pool.submit(self._sum, file) for file in files]

    def _sum(self, file: dict[str, Any]) -> None:
        file["sha256"] = FileFacts.of(self._folder / file["work"], file["name"]).sha256

    def _make(self, shard: base.Shard, ids: Array) -> tuple[base.ShardFacts, dict[str, str]]:
        """Makes the files of a shard; returns the facts, and final name -> name in the work folder."""
        if self._form.in_place:
            if header := self._form.header(shard):
                with _reopened(shard.ids_path) as file:
                    base.write_all(file, header)
            size = shard.ids_path.stat().st_size
            facts = base.ShardFacts(shard.name, shard.n_documents, shard.n_ids, size)
            files = {shard.name: shard.ids_path.name}
        else:
            facts = self._form.write(shard, ids, self._folder / shard.name)
            files = {shard.name: shard.name}
        self._form.write_beside(shard, self._folder)
        return facts, files | {name: name for name in self._form.beside(shard.name)}

    def _shuffled(self, part: _Part, rows: Positions) -> tuple[pathlib.Path, Positions]:
        """Writes the documents in the order of the seed, some at a time; returns the file and the new rows."""
        from gputok.files.temporary import let_go

        size, data = self._layout.dtype.itemsize, base.mapped(part.ids_path, "u1")
        order = np.random.default_rng(self._layout.shuffle).permutation(part.n_documents)
        lengths = np.diff(rows)[order]
        new_rows = np.append(0, np.cumsum(lengths))
        start = part.n_before + rows[:-1][order] * size
        path = part.ids_path.with_name(f"shuffled-{part.number:05d}")
        base.write_file(path, data[: part.n_before])
        with open(path, "ab", buffering=0) as file:
            for first, last in base.batches(new_rows):
                at = start[first:last]
                base.write_all(file, base.gathered(data, at, at + lengths[first:last] * size))
                let_go(data)
        return path, new_rows

    # -- final names

    def publish(self) -> list[pathlib.Path]:
        """Gives all files their final names, and removes the work folder; returns the files, the manifest last.

        Files of an older run with these names are removed first: a kill may leave no file, which is better than new ids
        beside old rows.
        """
        output, written = self._output, [file for shard in self._shards for file in shard["files"]]
        if output.is_folder:
            output.folder.mkdir(exist_ok=True)
        self._remove_older({file["name"] for file in written})
        data = {shard["files"][0]["name"] for shard in self._shards if shard["files"]}
        for file in written:
            if file["name"] in data and (self._folder / file["work"]).exists():
                output.final(file["name"]).unlink(missing_ok=True)
        for file in sorted(written, key=lambda file: file["name"] in data):
            self._move(file["work"], file["name"])
        names = [file["name"] for file in written]
        index: dict[str, Any] | None = None
        if output.is_folder:
            there = (shard for shard in self._shards if shard["files"])
            facts = [base.ShardFacts(s["name"], s["stored"], s["tokens"], s["n_bytes"]) for s in there]
            path = self._folder / self._form.index
            base.write_file(path, self._form.index_of(facts, self._about))
            index = FileFacts.of(path, self._form.index)._asdict()
            self._move(path.name, path.name)
            names.append(path.name)
        base.write_file(self._folder / output.manifest.name, self._manifest(index))
        self._move(output.manifest.name, output.manifest.name)
        _empty(self._folder)
        self._folder.rmdir()
        return [output.folder / name for name in [*names, output.manifest.name]]

    def _remove_older(self, names: set[str]) -> None:
        """Removes the manifest of an older run, and its files that this run doesn't replace.

        A manifest can come from anywhere: what it names goes only if gputok gives such names to files of this output.
        """
        output, older = self._output, None
        with contextlib.suppress(ValueError):
            older = Manifest(output.manifest) if output.manifest.is_file() else None
        if older is not None and (form := FORMATS.get(older.content["format"])) is not None:
            for file in older.files:
                if file.name not in names and output.owns(form, file.name):
                    (output.folder / file.name).unlink(missing_ok=True)
        for name in filter(None, (output.manifest.name, self._form.index)):
            output.final(name).unlink(missing_ok=True)

    def _move(self, work: str, name: str) -> None:
        """Gives a file of the work folder its final name, unless an interrupted run has done that."""
        source, target = self._folder / work, self._output.final(name)
        if not source.exists():
            return
        try:
            os.replace(source, target)
        except OSError as error:
            if error.errno != errno.EXDEV:  # EXDEV: the user's link points to another disk, so the file is copied there
                raise
            with replacing(target, follow=False) as temporary:
                shutil.copyfile(source, temporary)
            source.unlink()

    def _manifest(self, index: dict[str, Any] | None) -> bytes:
        shards, layout = self._shards, self._layout
        files = [file for shard in shards for file in shard["files"]] + ([index] if index else [])
        content: dict[str, Any] = {
            "format": self._form.name,
            "tokenizer": self._tokenizer,
            "dtype": layout.dtype.name,
            **{name: getattr(layout, name) for name in ("shard_tokens", "shuffle", "sequence_length")},
            "documents": self.n_documents,
            "stored": self.n_stored,
            "tokens": sum(shard["tokens"] for shard in shards),
            "bytes_in": self._run["bytes_in"],
            "bytes_out": sum(file["bytes"] for file in files),
            "shards": [
                {name: shard[name] for name in ("documents", "stored", "tokens")}
                | {"files": [{k: v for k, v in file.items() if k != "work"} for file in shard["files"]]}
                for shard in shards
                if shard["files"]
            ],
        }
        if index:
            content["index"] = index
        return json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n"


class _Part:
    """The shard that is being written; before: the bytes before the first id of its own documents."""

    def __init__(self, folder: pathlib.Path, number: int, first_document: int, before: bytes, dtype: Any) -> None:
        self.number, self.first_document, self.n_before = number, first_document, len(before)
        self.ids_path = folder / f"ids-{number:05d}"
        self._ends_path, self._dtype = folder / f"ends-{number:05d}", dtype
        ids = reopened(self.ids_path)
        if ids is None or self.ids_path.stat().st_size < len(before):
            base.write_file(self.ids_path, before)
            ids = _reopened(self.ids_path)
        self._ids, self._ends = ids, reopened(self._ends_path) or created(self._ends_path)
        self.n_documents, self.n_ids = self._recover()

    def _recover(self) -> tuple[int, int]:
        """Cuts both files after the last document that both have; returns the numbers of documents and ids."""
        size = self._dtype.itemsize
        n_written = (self._ids.seek(0, os.SEEK_END) - self.n_before) // size
        self._ends.seek(0)
        ends = np.fromfile(self._ends, np.int64, self._ends_path.stat().st_size // 8)
        kept = (np.diff(ends, prepend=0) >= 0) & (ends >= 0) & (ends <= n_written)
        # After a crash of the machine, `ends` may have any values. The first wrong one ends what is kept
        n_documents = len(ends) if kept.all() else int(kept.argmin())
        n_ids = int(ends[n_documents - 1]) if n_documents else 0
        self._ends.truncate(8 * n_documents)
        self._ends.seek(0, os.SEEK_END)
        self._ids.truncate(self.n_before + n_ids * size)
        self._ids.seek(0, os.SEEK_END)
        return n_documents, n_ids

    def add(self, ids: Array, rows: Positions) -> None:
        """Adds the documents ids[rows[i]:rows[i + 1]]."""
        ends = rows[1:] + (self.n_ids - rows[0])
        # Ids are written before ends, so that for each end in the file, the ids are there
        base.write_all(self._ids, np.ascontiguousarray(ids[rows[0] : rows[-1]]))
        self._ids.flush()
        base.write_all(self._ends, ends)
        self._ends.flush()
        self.n_documents, self.n_ids = self.n_documents + len(ends), int(ends[-1])

    def rows(self) -> Positions:
        """Returns the rows of all documents: int64[n_documents + 1]."""
        rows = np.zeros(self.n_documents + 1, np.int64)
        self._ends.seek(0)
        base.read_all(self._ends, rows[1:].view(np.uint8))
        return base.checked_rows(rows, self.n_ids, self._ends_path, "ends")

    def close(self) -> None:
        """Closes the files."""
        self._ids.close()
        self._ends.close()


@contextlib.contextmanager
def opened(output: Output, fingerprint: str, tokenizer: dict[str, Any]) -> Iterator[Work]:
    """Opens or makes a work folder and locks it; BlockingIOError: it is in use; NotADirectoryError: it is no folder."""
    folder = output.work
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
    if not stat.S_ISDIR(folder.lstat().st_mode):
        raise NotADirectoryError(f"{folder}: is not a folder, but this is the name of gputok's work folder; remove it")
    with locked(folder):
        yield Work(output, fingerprint, tokenizer)


def _digest(text: bytes) -> bytes:
    """Returns the first line of `run.json`: a checksum of the other lines, by which a damaged file is noticed."""
    return hashlib.sha256(text).hexdigest().encode()


def _empty(folder: pathlib.Path) -> None:
    """Removes all files of a work folder, `run.json` last."""
    for path in sorted(folder.iterdir(), key=lambda path: path.name == _RUN):
        path.unlink()


def _reopened(path: pathlib.Path) -> BinaryIO:
    """Opens a file that this run made, for reading and writing."""
    file = reopened(path)
    if file is None:
        raise FileNotFoundError(errno.ENOENT, "another process has removed or replaced it", str(path))
    return file
