"""VocabularyChange: which ids a tokenizer had before and after tokens were added to it or removed from it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from gputok.checks import short
from gputok.files.locations import read_bytes
from gputok.files.outputs import writing
from gputok.types import public

if TYPE_CHECKING:
    from gputok.files.locations import StorageOptions
    from gputok.types import Positions

_KIND, _VERSION = "gputok.VocabularyChange", 1
_ARRAYS = ("old_to_new", "new_ids", "parts", "rows")


@public("gputok")
@dataclass(frozen=True, eq=False, repr=False)
class VocabularyChange:
    """What `Tokenizer.extend`, `prune` and `truncate` have done to the ids of a tokenizer.

    With it, the embeddings of a model are resized to the new vocabulary. `old` is the weight of an input or an output
    embedding, with a row for each old id, and perhaps more rows to pad it. Tokens that stay keep their rows, and a new
    token gets the mean of the rows of the tokens that it replaces (Hewitt 2021 and others begin so):

        def resized(old, change, multiple=64):
            n_rows = -(-change.size // multiple) * multiple
            new = old.mean(0).repeat(n_rows, 1)  # padding gets the mean: no text reaches it, and no output prefers it
            old_to_new = torch.from_numpy(change.old_to_new)
            kept = old_to_new >= 0
            new[old_to_new[kept]] = old[: len(kept)][kept]
            if len(change.new_ids):
                parts, rows = torch.from_numpy(change.parts), torch.from_numpy(change.rows)
                new[torch.from_numpy(change.new_ids)] = functional.embedding_bag(parts, old, rows[:-1], mode="mean")
            return new

    Here `functional` is `torch.nn.functional`. With a model of `transformers`:
    `model.resize_token_embeddings(n_rows)`, then copy `resized(...)` into `model.get_input_embeddings().weight` and, if it
    is another matrix, into `model.get_output_embeddings().weight`.

    Attributes:
        old_to_new: int64[old ids], the new id of each old id; -1: the token is gone, or there was no such id.
        size: the number of rows that embeddings need, the highest new id plus 1.
        new_tokens: the tokens that were added, by rising id.
        new_ids: int64[n_new], their ids.
        parts: int64[n_parts], for each new token the *old* ids that it was made of, one token after the other.
        rows: int64[n_new + 1]; new token i was made of parts[rows[i]:rows[i + 1]].

    Example:
        >>> from gputok import Tokenizer, models
        >>> tokenizer = Tokenizer(models.BPE({"a": 0, "b": 1, "c": 2, "ab": 3}, [("a", "b")]))
        >>> change = tokenizer.extend(iter(["abc"]), 1)
        >>> change
        <VocabularyChange: 4 tokens kept, 1 new, 0 gone>
        >>> change.new_tokens, change.new_ids.tolist(), change.parts.tolist(), change.rows.tolist()
        (['abc'], [4], [3, 2], [0, 2])
        >>> tokenizer.truncate(4).old_to_new.tolist()
        [0, 1, 2, 3, -1]
    """

    old_to_new: Positions
    size: int
    new_tokens: list[str]
    new_ids: Positions
    parts: Positions
    rows: Positions

    @classmethod
    def without_new(cls, old_to_new: Positions) -> Self:
        """Makes a change that adds no token."""
        nothing = np.empty(0, np.int64)
        return cls(old_to_new, 1 + int(old_to_new.max(initial=-1)), [], nothing, nothing, np.zeros(1, np.int64))

    def __repr__(self) -> str:
        n_kept = int(np.count_nonzero(self.old_to_new >= 0))
        gone = len(self.old_to_new) - n_kept
        return f"<VocabularyChange: {n_kept:,} tokens kept, {len(self.new_ids):,} new, {gone:,} gone>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, VocabularyChange):
            return NotImplemented
        same = (np.array_equal(getattr(self, name), getattr(other, name)) for name in _ARRAYS)
        return all(same) and (self.size, self.new_tokens) == (other.size, other.new_tokens)

    def save(self, path: str | os.PathLike[str], *, storage_options: StorageOptions = None) -> None:
        """Writes the change atomically.

        Args:
            path: the file or its URL, by its ending .npz (arrays of NumPy) or .json (lists of numbers).
            storage_options: options of the file system of a URL (`gputok.files.locations`).

        Raises:
            ValueError: the path has another ending.
        """
        as_json = _is_json(path)
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        with writing(path, storage_options) as temporary, open(temporary, "wb") as file:
            if as_json:
                lists = {name: array.tolist() for name, array in arrays.items()}
                form = {"type": _KIND, "version": _VERSION, "size": self.size, "new_tokens": self.new_tokens}
                file.write(json.dumps({**form, **lists}, ensure_ascii=False).encode())
            else:
                lengths = np.array([len(token.encode()) for token in self.new_tokens], np.int64)
                tokens = np.frombuffer("".join(self.new_tokens).encode(), np.uint8)
                kind = np.array(f"{_KIND}/{_VERSION}")
                np.savez_compressed(file, kind=kind, size=self.size, tokens=tokens, lengths=lengths, **arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, storage_options: StorageOptions = None) -> Self:
        """Reads a change that `save` wrote.

        Args:
            path: the file or its URL.
            storage_options: as for `save`.

        Returns:
            The change.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is damaged, holds something else, or has another ending than .npz and .json.
        """
        read = _from_json if _is_json(path) else _from_npz
        data = read_bytes(os.fspath(path), storage_options)
        try:
            size, tokens, arrays = read(data)
            change = cls(size=size, new_tokens=tokens, **arrays)
            change._check()
        except Exception as error:  # whatever zipfile, zlib, NumPy and json raise for damaged files
            raise ValueError(f"{os.fspath(path)}: is no VocabularyChange that gputok wrote: {error}") from None
        return change

    def _check(self) -> None:
        """Raises ValueError if the fields contradict each other."""
        n_old, n_new = len(self.old_to_new), len(self.new_tokens)
        if len(self.new_ids) != n_new or len(self.rows) != n_new + 1:
            raise ValueError(f"{n_new} tokens, but {len(self.new_ids)} ids and {len(self.rows)} rows")
        if self.rows[0] != 0 or self.rows[-1] != len(self.parts) or (np.diff(self.rows) < 0).any():
            raise ValueError("the rows don't cover the parts")
        for name, least, n in (("old_to_new", -1, self.size), ("new_ids", 0, self.size), ("parts", 0, n_old)):
            array = getattr(self, name)
            if len(array) and not (array.min() >= least and array.max() < n):
                raise ValueError(f"{name} has a number that is not an id")


def _is_json(path: str | os.PathLike[str]) -> bool:
    name = os.fspath(path)
    if not name.endswith((".npz", ".json")):
        raise ValueError(f"{name}: a VocabularyChange is a file that ends in .npz or .json")
    return name.endswith(".json")


def _from_json(data: bytes) -> tuple[int, list[str], dict[str, Any]]:
    form = json.loads(data)
    if form["type"] != _KIND or form["version"] != _VERSION:
        raise ValueError(f"type {short(form['type'])}, version {short(form['version'])}")
    return int(form["size"]), form["new_tokens"], {name: np.array(form[name], np.int64) for name in _ARRAYS}


def _from_npz(data: bytes) -> tuple[int, list[str], dict[str, Any]]:
    import io

    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        if str(file["kind"]) != f"{_KIND}/{_VERSION}":
            raise ValueError(f"kind {file['kind']}")
        ends = np.cumsum(file["lengths"]).tolist()
        raw = file["tokens"].tobytes()
        tokens = [raw[a:b].decode() for a, b in zip([0, *ends], ends, strict=False)]
        return int(file["size"]), tokens, {name: file[name].astype(np.int64) for name in _ARRAYS}
