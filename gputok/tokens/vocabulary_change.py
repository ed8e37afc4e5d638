"""VocabularyChange: which ids a tokenizer had before and after tokens were added to it or removed from it."""

from __future__ import annotations

import io
import itertools
import json
import os
from dataclasses import dataclass
from typing import Any, Self, cast

import numpy as np

from gputok.checks import short, unwrapped
from gputok.files.locations import StorageOptions, read_bytes
from gputok.files.outputs import writing
from gputok.lazy import public
from gputok.types import Array, Positions

# For `resized`. With more parts, a sum is closer to the donor's embedding, but the same sum of our embeddings is worse:
# with 64 numbers an embedding, 4 to 8 parts are best
_MOST_PARTS, _SIZE_OF_A_PART = 64, 8
_KIND, _VERSION = "gputok.VocabularyChange", 1
_ARRAYS = ("old_to_new", "new_ids", "parts", "rows")


@public("gputok")
@dataclass(frozen=True, eq=False, repr=False)
class VocabularyChange:
    """What `Tokenizer.extend`, `prune` and `truncate` have done to the ids of a tokenizer.

    `resize_embeddings` gives a model the new vocabulary: tokens that stay keep their rows, and a new one gets the mean
    of the rows of the tokens that it replaces (Hewitt 2021 and others begin so). `between` compares two tokenizers.

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

    @classmethod
    def between(cls, old: Any, new: Any) -> Self:
        """Compares two tokenizers, to give a model the tokenizer of another one.

        Tokens are the same if they stand for the same bytes, and special tokens if their texts are the same. The parts
        of each other token are the longest tokens of `old` that spell it.

        Args:
            old: the tokenizer of the model (`Tokenizer` or `AutoTokenizer`).
            new: the tokenizer that it shall get.

        Returns:
            The change, whose `new_tokens` are those that `old` lacks.

        Example:
            >>> from gputok import Tokenizer, models
            >>> old = Tokenizer(models.BPE({"a": 0, "b": 1, "x": 2}, []))
            >>> new = Tokenizer(models.BPE({"b": 0, "a": 1, "ab": 2}, [("a", "b")]))
            >>> change = VocabularyChange.between(old, new)
            >>> change.old_to_new.tolist(), change.new_tokens, change.parts.tolist()
            ([1, 0, -1], ['ab'], [0, 1])
        """
        first, second = _spelled(old), _spelled(new)
        old_to_new = np.full(1 + max(first, default=-1), -1, np.int64)
        ids = {spelling: id for id, (spelling, _) in reversed(first.items())}
        new_tokens: list[str] = []
        new_ids: list[int] = []
        for id, (spelling, token) in second.items():
            known = ids.get(spelling)
            if known is not None and old_to_new[known] < 0:
                old_to_new[known] = id
            else:
                new_tokens.append(token)
                new_ids.append(id)
        ordinary = {text: id for (is_special, text), id in ids.items() if not is_special and text}
        parts = spelled_by([second[id][0][1] for id in new_ids], ordinary)
        rows = np.cumsum([0, *map(len, parts)], dtype=np.int64)
        flat = np.array([*itertools.chain.from_iterable(parts)], np.int64)
        return cls(old_to_new, 1 + max(second, default=-1), new_tokens, np.array(new_ids, np.int64), flat, rows)

    def resized(
        self, old: Array, n_rows: int | None = None, *, donor: Array | None = None, n_parts: int | None = None
    ) -> Array:
        """Makes the weight of an embedding with a row for each new id.

        Args:
            old: float[rows, ...], with a row for each old id, and perhaps more to pad it; a bias has one number a row.
            n_rows: the rows of the result; None: `size`. A row without a token, which no text reaches, gets the mean
                of all old ones.
            donor: the weight of the same kind of a model that has the new vocabulary. The new tokens are sparse sums of
                shared ones, by Orthogonal Matching Pursuit (arXiv 2506.06607); None: the means of their parts.
            n_parts: how many shared tokens such a sum has; None: an eighth of the size of an embedding, 64 at most.

        Returns:
            float32[n_rows, ...]

        Raises:
            ValueError: a weight has too few rows.

        Example:
            >>> ids, parts, rows = np.array([2]), np.array([0, 1]), np.array([0, 2])
            >>> change = VocabularyChange(np.array([1, -1, 0]), 3, ["ab"], ids, parts, rows)
            >>> change.resized(np.array([[1.0, 0.0], [2.0, 4.0], [9.0, 9.0]])).tolist()
            [[9.0, 9.0], [1.0, 0.0], [1.5, 2.0]]
        """
        old, n_old, n_rows = np.asarray(old, np.float32), len(self.old_to_new), self.size if n_rows is None else n_rows
        for name, weight, least in (("old", old, n_old), ("donor", donor, self.size)):
            if weight is not None and len(weight) < least:
                raise ValueError(f"{name} has {len(weight):,} rows, fewer than the {least:,} ids of its tokenizer")
        if n_rows < self.size:
            raise ValueError(f"n_rows={n_rows:,}: the new tokenizer has {self.size:,} ids")
        new = np.repeat(old[:n_old].mean(0, keepdims=True), n_rows, 0)
        kept = np.flatnonzero(self.old_to_new >= 0)
        new[self.old_to_new[kept]] = old[kept]
        if donor is not None and old.ndim == 2:
            donor = np.asarray(donor, np.float32)
            most = max(1, min(_MOST_PARTS, donor.shape[1] // _SIZE_OF_A_PART)) if n_parts is None else n_parts
            chosen, weights = pursue(donor[self.new_ids], donor[self.old_to_new[kept]], most)
            for i, id in enumerate(self.new_ids.tolist()):
                new[id] = weights[i] @ old[kept[chosen[i]]]
            return new
        lengths = np.diff(self.rows)
        some = lengths > 0
        if some.any():
            sums = np.add.reduceat(old[self.parts], self.rows[:-1][some])
            new[self.new_ids[some]] = sums / lengths[some].reshape(-1, *[1] * (old.ndim - 1))
        return new

    def resize_embeddings(
        self, model: Any, *, donor: Any = None, n_parts: int | None = None, multiple: int | None = None
    ) -> None:
        """Gives a model the new vocabulary, in place: input and output embeddings, and the ids in its configuration.

        Tied embeddings stay tied, padded ones padded.

        Args:
            model: a model of `transformers`, or with its `get_input_embeddings`, `get_output_embeddings` and
                `resize_token_embeddings`.
            donor: a model that has the new tokenizer: new tokens become sparse sums of shared ones, see `resized`.
            n_parts: how many shared tokens such a sum has, see `resized`.
            multiple: pads the rows to a multiple; None: to the largest power of two that divides the old number of rows
                (64 at most), if that is more than the number of old ids.

        Raises:
            TypeError: the model lacks such a method.
            ValueError: the model has fewer rows than the old tokenizer has ids.
        """
        for name in ("get_input_embeddings", "get_output_embeddings", "resize_token_embeddings"):
            for one in (model, *([] if donor is None else [donor])):
                if not hasattr(one, name):
                    raise TypeError(f"{type(one).__name__} has no {name}(): a model of transformers is expected")
        old, given = _weights(model), {} if donor is None else _weights(donor)
        n_old, embedding = len(old["input"]), model.get_input_embeddings()
        if multiple is None:
            multiple = min(64, n_old & -n_old) if n_old > len(self.old_to_new) else 1
        n_rows = -(-self.size // multiple) * multiple
        made: dict[str, Array] = {}
        for name, weight in old.items():
            # A donor with tied embeddings has no others for its output
            other = given.get(name, given.get("input")) if name != "bias" else None
            numbers = None if other is None else _numbers(other)
            made[name] = self.resized(_numbers(weight), n_rows, donor=numbers, n_parts=n_parts)
        padding = getattr(embedding, "padding_idx", None)
        try:
            model.resize_token_embeddings(n_rows, mean_resizing=False)
        except TypeError:  # it has no such argument
            model.resize_token_embeddings(n_rows)
        for name, weight in _weights(model).items():
            weight.data.copy_(weight.data.new_tensor(made[name]))
        if padding is not None:
            model.get_input_embeddings().padding_idx = self._new_id(padding)
        for configuration in ("config", "generation_config"):
            config: Any = getattr(model, configuration, None)
            fields: dict[str, Any] = getattr(config, "__dict__", {})
            for name, value in [*fields.items()]:
                if name.endswith("_token_id") and value is not None:
                    setattr(config, name, self._new_id(value))

    def _new_id(self, id: Any) -> Any:
        """The new id of an old one, or of each in a list; None: the token is gone."""
        if isinstance(id, list):
            return [self._new_id(one) for one in cast("list[int]", id)]
        found = int(self.old_to_new[id]) if 0 <= id < len(self.old_to_new) else -1
        return None if found < 0 else found

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


def _spelled(tokenizer: Any) -> dict[int, tuple[tuple[bool, bytes], str]]:
    """What each token stands for, by rising id: (is it an added token, its bytes), and the token."""
    inner = unwrapped(tokenizer)
    added = inner.get_added_tokens_decoder()
    tokens = sorted((id, token) for token, id in inner.get_vocab().items())
    return {
        id: ((True, added[id].content.encode()) if id in added else (False, inner.token_bytes(id) or b""), token)
        for id, token in tokens
    }


def _weights(model: Any) -> dict[str, Any]:
    """The weights that have a row for each id: input, output if it is another, and the bias of the output, if any."""
    first, last = model.get_input_embeddings().weight, model.get_output_embeddings()
    weights = {"input": first} if last is None or last.weight is first else {"input": first, "output": last.weight}
    bias = getattr(last, "bias", None)
    return weights if bias is None else {**weights, "bias": bias}


def _numbers(weight: Any) -> Array:
    return weight.detach().float().cpu().numpy()


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
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        if str(file["kind"]) != f"{_KIND}/{_VERSION}":
            raise ValueError(f"kind {file['kind']}")
        ends = np.cumsum(file["lengths"]).tolist()
        raw = file["tokens"].tobytes()
        tokens = [raw[a:b].decode() for a, b in zip([0, *ends], ends, strict=False)]
        return int(file["size"]), tokens, {name: file[name].astype(np.int64) for name in _ARRAYS}


_TOGETHER = 512  # targets that are worked on together: one product of matrices finds the next part of each
_LEAST = 1e-6  # a rest of at most this share of the target counts as none; the number also keeps equations solvable


def pursue(targets: Array, shared: Array, n_parts: int) -> tuple[Positions, Array]:
    """Writes `targets`, float[n, size], as sums of at most `n_parts` of `shared`, float[m, size]: arXiv 2506.06607.

    Each round takes the vector that is most like what is left of the target, and chooses all weights anew by least
    squares. Returns int64[n, k], rows of `shared`; and float64[n, k], the weight of each, 0 where fewer suffice.

    >>> chosen, weights = pursue(np.array([[0.0, 2.0, 3.0]]), np.eye(3), 2)
    >>> chosen.tolist(), weights.round(4).tolist()
    ([[2, 1]], [[3.0, 2.0]])
    """
    targets, shared = np.asarray(targets, np.float64), np.asarray(shared, np.float64)
    k = min(n_parts, len(shared))
    lengths = np.linalg.norm(shared, axis=1)
    directions = shared / np.where(lengths > 0, lengths, 1)[:, None]
    chosen, weights = np.zeros((len(targets), k), np.int64), np.zeros((len(targets), k))
    for first in range(0, len(targets), _TOGETHER):
        some = targets[first : first + _TOGETHER]
        picked, factors, rest = chosen[first : first + _TOGETHER], weights[first : first + _TOGETHER], some.copy()
        rows = np.arange(len(some))
        for n in range(1, k + 1):
            likeness = np.abs(rest @ directions.T)
            likeness[rows[:, None], picked[:, : n - 1]] = -1
            picked[:, n - 1] = likeness.argmax(1)
            parts = directions[picked[:, :n]]
            gram = parts @ parts.transpose(0, 2, 1) + _LEAST * np.eye(n)
            solved: Array = np.asarray(np.linalg.solve(gram, parts @ some[:, :, None]), np.float64)[:, :, 0]
            open_ = np.linalg.norm(rest, axis=1) > _LEAST * np.linalg.norm(some, axis=1)
            factors[open_, :n] = solved[open_]
            rest = some - (factors[:, None, :n] @ parts)[:, 0]
        factors /= np.where(lengths > 0, lengths, 1)[picked]
    return chosen, weights


def spelled_by(texts: list[bytes], known: dict[bytes, int]) -> list[list[int]]:
    """Cuts each text into the longest known pieces from the left; bytes that none begins with are left out.

    >>> spelled_by([b"abcx"], {b"a": 0, b"ab": 1, b"c": 2})
    [[1, 2]]
    """
    longest = max(map(len, known), default=0)
    found: list[list[int]] = []
    for text in texts:
        parts: list[int] = []
        at = 0
        while at < len(text):
            ends = range(min(len(text), at + longest), at, -1)
            end = next((end for end in ends if text[at:end] in known), None)
            if end is not None:
                parts.append(known[text[at:end]])
            at = end or at + 1
        found.append(parts)
    return found
