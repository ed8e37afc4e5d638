"""Byte-pair encoding."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from gputok.components import derived, described
from gputok.fields import (
    WrongValue,
    brief,
    checked,
    integer,
    number,
    optional,
    per_field,
    short,
    string,
    switch,
)
from gputok.files.atomic import replacing
from gputok.files.json_text import Buffer, deeper, escaped, woven
from gputok.models import base
from gputok.models.base import Model, Tokens
from gputok.models.bpe.merges import PackedMerges
from gputok.text.pieces import check_lengths
from gputok.tokens.vocabulary import Vocabulary, pack, packed_tokens
from gputok.types import Array


class _Merges(NamedTuple):
    """The tokens of each merge: uint32[m, 3], ids of the left, right and new one."""

    vocabulary: Vocabulary
    ids: Array

    def plain(self) -> list[list[str]]:
        names = self.vocabulary.names
        pairs = (list(map(names.__getitem__, column)) for column in self.ids[:, :2].T.tolist())
        return list(map(list, zip(*pairs, strict=True)))

    def json(self, newline: str) -> list[Buffer]:
        if not len(self.ids):
            return [b"[]"]
        inner, innermost = deeper(newline), deeper(deeper(newline))
        left, right = self._tokens(*escaped(self.vocabulary.data, self.vocabulary.offsets))
        opening, middle, closing = f',{inner}[{innermost}"', f'",{innermost}"', f'"{inner}]'
        rows = woven([opening.encode(), left, middle.encode(), right, closing.encode()])
        return [b"[", rows[1:], newline.encode(), b"]"]

    def lines(self) -> Buffer:
        """As in a merges.txt: the two tokens with a space between."""
        if not len(self.ids):
            return b""
        left, right = self._tokens(self.vocabulary.data, self.vocabulary.offsets)
        return woven([left, b" ", right, b"\n"])

    def _tokens(self, text: Array, offsets: Array) -> list[tuple[Array, Array, Array]]:
        """The columns of left and right tokens, where token i of the vocabulary is text[offsets[i]:offsets[i + 1]]."""
        columns = self.vocabulary.positions(self.ids[:, :2].T.astype(np.int64))
        return [(text, offsets[column], offsets[column + 1]) for column in columns]


class BPE(Model):
    """Byte-pair encoding (Sennrich et al. 2016): of a word's pairs the one of lowest rank is merged first, then the
    leftmost.

    vocab, merges: token -> id and pairs of tokens by rising rank, or the paths of a vocab.json and a merges.txt.
    cache_capacity: how many encoded words each thread keeps; 0 for none.
    dropout: the probability to put a merge off (Provilkov et al. 2020); then `tokenize` is random.
    unk_token: what stands for a character that the vocabulary lacks; without it such characters vanish.
    fuse_unk: unknown characters side by side are one unknown token.
    byte_fallback: an unknown character becomes the tokens `<0x..>` of its bytes if the vocabulary has them all.
    ignore_merges: a word that is a token is not taken apart.
    continuing_subword_prefix, end_of_word_suffix: put before characters that don't begin a word, after its last one.

    One more attribute, `sentencepiece` (False), gives all merges that spell one token the rank of the first of them,
    as SentencePiece does. Files name it where it is set; the namesake ignores it.

    Unlike in the namesake, merges that the arrays can't hold (a right part shorter than the prefix) and tokens
    that are missing are ValueErrors that name the merge, and unknown keyword arguments are TypeErrors.

    >>> bpe = BPE({"l": 0, "o": 1, "w": 2, "lo": 3, "low": 4}, [("l", "o"), ("lo", "w")])
    >>> [token.value for token in bpe.tokenize("lowlo")]
    ['low', 'lo']
    """

    place = 0
    checks = per_field(
        dropout=optional(lambda value: float(np.float32(_probability(value)))),
        unk_token=optional(string),
        continuing_subword_prefix=optional(string),
        end_of_word_suffix=optional(string),
        fuse_unk=switch,
        byte_fallback=switch,
        ignore_merges=switch,
        sentencepiece=switch,
        cache_capacity=integer(0, 2**31 - 1),
    )

    def __init__(
        self,
        vocab: Mapping[str, int] | str | None = None,
        merges: Sequence[tuple[str, str]] | str | None = None,
        cache_capacity: int | None = None,
        dropout: float | None = None,
        unk_token: str | None = None,
        continuing_subword_prefix: str | None = None,
        end_of_word_suffix: str | None = None,
        fuse_unk: bool | None = None,
        byte_fallback: bool = False,
        ignore_merges: bool = False,
    ):
        if (vocab is None) != (merges is None):
            raise ValueError("`vocab` and `merges` must be both specified")
        if isinstance(vocab, str) != isinstance(merges, str):
            raise ValueError("`vocab` and `merges` must be both be from memory or both filenames")
        if isinstance(vocab, str):
            vocab, merges = self.read_file(vocab, merges)
        self.dropout = dropout
        self.unk_token = unk_token
        self.continuing_subword_prefix = continuing_subword_prefix
        self.end_of_word_suffix = end_of_word_suffix
        self.fuse_unk = False if fuse_unk is None else fuse_unk
        self.byte_fallback = byte_fallback
        self.ignore_merges = ignore_merges
        self.cache_capacity = 10_000 if cache_capacity is None else cache_capacity
        self.sentencepiece = False
        self.vocabulary = base.vocabulary_of(vocab)
        pairs = _pairs(self.vocabulary, [] if merges is None else merges)
        self.merges = _joined_merges(self.vocabulary, pairs, continuing_subword_prefix)

    def set_vocabulary(self, vocabulary: Vocabulary, merges: Array, **affixes: str | None) -> None:
        """Replaces tokens and merges (int[m, 2], positions of tokens in the vocabulary, by rising rank).

        affixes: `continuing_subword_prefix` and `end_of_word_suffix` of these tokens, where they are others than before.
        """
        prefix = affixes.get("continuing_subword_prefix", self.continuing_subword_prefix)
        merged = _joined_merges(vocabulary, np.asarray(merges, np.int64), prefix)
        self._set(vocabulary=vocabulary, merges=merged, **affixes)

    @staticmethod
    def read_file(vocab: str, merges: str) -> tuple[dict[str, int], list[tuple[str, str]]]:
        """The contents of a vocab.json and a merges.txt."""
        with open(merges, encoding="utf-8", newline="\n") as file:
            lines = [line.removesuffix("\n").removesuffix("\r") for line in file]
        pairs = [tuple(line.split(" ")) for line in lines if not line.startswith("#version")]
        for line, pair in enumerate(pairs, 1):
            if len(pair) != 2:
                raise ValueError(
                    f"line {line} of {merges} must be two tokens with a space between, not {pair}"
                )
        return base.read_json_vocabulary(vocab), pairs

    @classmethod
    def from_file(cls, vocab: str, merges: str, **kwargs: Any) -> Self:
        """From a vocab.json and a merges.txt; further arguments are those of the class."""
        return cls(*cls.read_file(vocab, merges), **kwargs)

    def save(self, folder: str, prefix: str | None = None) -> list[str]:
        """Writes [prefix-]vocab.json and [prefix-]merges.txt into the folder; returns their paths."""
        vocab, merges = base.target(folder, prefix, "vocab.json"), base.target(folder, prefix, "merges.txt")
        with replacing(vocab) as beside:
            beside.write_bytes(b"".join(self.vocabulary.json("")))
        with replacing(merges) as beside:
            beside.write_bytes(b"#version: 0.2\n" + bytes(_Merges(self.vocabulary, self.merges).lines()))
        return [str(vocab), str(merges)]

    def get_trainer(self) -> Any:
        """A BpeTrainer with its defaults."""
        from gputok.models.bpe.trainer import BpeTrainer

        return BpeTrainer()

    def fields(self) -> dict[str, Any]:
        dropout = self.dropout  # single precision, and the shortest decimals that give it
        return {
            "type": "BPE",
            "dropout": None if dropout is None else float(str(np.float32(dropout))),
            "unk_token": self.unk_token,
            "continuing_subword_prefix": self.continuing_subword_prefix,
            "end_of_word_suffix": self.end_of_word_suffix,
            "fuse_unk": self.fuse_unk,
            "byte_fallback": self.byte_fallback,
            "ignore_merges": self.ignore_merges,
            **({"sentencepiece": True} if self.sentencepiece else {}),
            "vocab": self.vocabulary,
            "merges": _Merges(self.vocabulary, self.merges),
        }

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        """From the JSON form; merges are pairs or, as in older files, two tokens with a space between."""
        base.require(value, "BPE", "vocab", "merges")
        options = ("dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix")
        switches = ("fuse_unk", "byte_fallback", "ignore_merges")
        given = {name: value[name] for name in (*options, *switches) if value.get(name) is not None}
        if not isinstance(value["merges"], list | PackedMerges):
            raise WrongValue(f"must be a list, not {brief(value['merges'])}", "merges")
        model = cls(base.object_of(value, "vocab"), value["merges"], **given)
        model.sentencepiece = value.get("sentencepiece", False)
        return model

    def _described(self, n_items: int, n_bytes: int | None) -> str:
        fields = self.to_dict() | {"dropout": self.dropout}
        fields["merges"] = list(map(tuple, fields["merges"]))
        return described(fields.pop("type"), fields, n_items, n_bytes)

    def _clear_cache(self) -> None:
        """Forgets encoded words. It never changes an answer."""
        self.__dict__.pop("_caches", None)

    def _resize_cache(self, capacity: int) -> None:
        """How many encoded words each thread keeps."""
        self.cache_capacity = capacity

    @property
    def is_random(self) -> bool:
        return bool(self.dropout)

    @property
    def byte_tables(self) -> Any:
        return self._byte_tables

    def tables(self, byte_level: bool) -> Any:
        """The `kernels.BpeTables` for text, or for bytes that stand for ByteLevel characters (None if one is no token)."""
        return self._byte_tables if byte_level else self._tables

    def tokenize_pieces(self, data: Array, start: Array, end: Array, *, byte_level: bool) -> Tokens:
        from gputok.kernels.cpu.encode_words import merge

        tables = self._prepared_bytes if byte_level else self._prepared
        if tables is None:
            return base.tokenize_spelled(self, data, start, end)
        caches = self._caches[byte_level]  # a list is a pool for threads: its pop and append are atomic
        try:
            cache = caches.pop()
        except IndexError:
            cache = merge.word_cache(self.cache_capacity)
        parts = []
        for first, last in base.slices(start, end):
            words = data, start[first:last], end[first:last]
            parts.append(Tokens(*merge.encode_words(*words, tables, cache, self._random())))
            self._check_known(parts[-1].ids)
        caches.append(cache)
        return base.joined(parts)

    def encode_words(self, data: Array, start: Array, end: Array, *, byte_level: bool) -> tuple[Array, Array]:
        from gputok.kernels.cpu.encode_words import merge

        tables = self._prepared_bytes if byte_level else self._prepared
        if tables is None:
            return super().encode_words(data, start, end, byte_level=byte_level)
        check_lengths(start, end, "word")
        words = data, start, end, tables, merge.word_cache(0), self._random()
        ids, _, _, rows = merge.encode_words(*words, positions=False)
        self._check_known(ids)
        return ids, rows

    def _check_known(self, ids: Array) -> None:
        """Raises ValueError where an id stands for an unknown token that the vocabulary lacks."""
        if self.unk_token is None:
            return
        from gputok.kernels.cpu.encode_words import merge

        if self._common_tables.unk[0] == merge.NONE and (ids == merge.NONE).any():
            raise base.missing_unk(self.unk_token)

    def _random(self) -> Array:
        """uint64[1], not 0: the state of the random generator that dropout asks."""
        if not self.dropout:
            return np.ones(1, np.uint64)
        return np.frombuffer(os.urandom(8), np.uint64) | np.uint64(1)

    @derived
    def _prepared(self) -> Any:
        from gputok.kernels.cpu.encode_words import merge

        return merge.prepare(self._tables)

    @derived
    def _prepared_bytes(self) -> Any:
        from gputok.kernels.cpu.encode_words import merge

        return None if self._byte_tables is None else merge.prepare(self._byte_tables)

    @derived
    def _caches(self) -> tuple[list[Any], list[Any]]:
        """Encoded words as text, and as bytes that stand for ByteLevel characters."""
        return [], []

    @derived
    def _common_tables(self) -> Any:
        from gputok.models.bpe import tables

        return tables.common(self)

    @derived
    def _tables(self) -> Any:
        """The BpeTables for text of characters."""
        from gputok.models.bpe import tables

        return tables.for_characters(self, self._common_tables)

    @derived
    def _byte_tables(self) -> Any:
        """The BpeTables for bytes that stand for ByteLevel characters, or None where such a character isn't a token."""
        from gputok.models.bpe import tables

        return tables.for_bytes(self, self._common_tables)


_probability = number(0, 1)


def _pairs(vocabulary: Vocabulary, merges: Sequence[Any] | PackedMerges) -> np.ndarray:
    """int64[m, 2]: positions in the vocabulary of the two tokens of each merge."""
    from gputok.kernels.cpu import lookup

    if not isinstance(merges, PackedMerges):
        merges = _packed(merges)
    columns = zip(merges.start, merges.end, strict=True)
    found = np.stack(
        [lookup.find_strings(vocabulary.strings, merges.data, *column) for column in columns], axis=1
    )
    missing = np.flatnonzero((found < 0).any(axis=1))
    if len(missing):
        first = int(missing[0])
        pair = merges.pair(first)
        token = pair[0] if found[first, 0] < 0 else pair[1]
        raise ValueError(
            f"merge {first} is {short(pair)}, but the token {short(token)} isn't in the vocabulary"
        )
    return found


def _packed(merges: Sequence[Any]) -> PackedMerges:
    """Packs merges that are pairs of tokens, or two tokens with a space between."""
    if isinstance(merges, str) or not isinstance(merges, Sequence):
        raise TypeError(f"merges must be a list, not {type(merges).__name__}")
    if merges and isinstance(merges[0], str):
        return _lines(merges)
    if not (set(map(type, merges)) <= {list, tuple} and set(map(len, merges)) <= {2}):
        at, wrong = next(
            (i, pair) for i, pair in enumerate(merges) if not isinstance(pair, list | tuple) or len(pair) != 2
        )
        raise WrongValue(f"a merge must be a pair of tokens, not {brief(wrong)}", f"merges[{at}]")
    data, offsets = checked("merges", packed_tokens, list(itertools.chain.from_iterable(merges)))
    return PackedMerges(data, offsets[:-1].reshape(-1, 2).T, offsets[1:].reshape(-1, 2).T)


def _lines(merges: Sequence[str]) -> PackedMerges:
    """Packs merges written as "left right"; a "#version" line is left out."""
    from gputok.kernels.cpu import lookup

    data, offsets = checked("merges", packed_tokens, merges)
    if b"#version" in data.tobytes():
        merges = [line for line in merges if not line.startswith("#version")]
        data, offsets = pack(merges)
    middle = lookup.split_at_space(data, offsets)
    if (middle < 0).any():
        first = int(np.argmax(middle < 0))
        raise WrongValue(
            f"a merge must be two tokens with a space between, not {brief(merges[first])}", f"merges[{first}]"
        )
    return PackedMerges(data, np.stack([offsets[:-1], middle + 1]), np.stack([middle, offsets[1:]]))


def _joined_merges(vocabulary: Vocabulary, pairs: np.ndarray, prefix: str | None) -> np.ndarray:
    """uint32[m, 3]: ids of the left, right and new token of each merge; a pair given twice counts at its last rank."""
    from gputok.kernels.cpu import lookup

    if not len(pairs):
        return np.empty((0, 3), np.uint32)
    new = lookup.join_pairs(vocabulary.strings, *pairs.T, len((prefix or "").encode()))
    if (new < 0).any():
        rank = int(np.argmax(new < 0))
        a, b = (
            bytes(vocabulary.data[vocabulary.offsets[i] : vocabulary.offsets[i + 1]]).decode()
            for i in pairs[rank]
        )
        raise ValueError(f"merge {rank} is {(a, b)}, but the token that they form isn't in the vocabulary")
    merges = vocabulary.ids[np.column_stack([pairs, new])]
    keys = merges[:, 0].astype(np.uint64) << np.uint64(32) | merges[:, 1]
    if (np.diff(np.sort(keys)) > 0).all():
        return merges
    last = np.unique(keys[::-1], return_index=True)[1]
    return merges[np.sort(len(merges) - 1 - last)]
