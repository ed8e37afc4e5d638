"""BPE, the model of byte-pair encoding."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from gputok.checks import WrongValue, brief, checked, field, in_file, integer, number, optional, short, string, switch
from gputok.components import derived
from gputok.files.json_text import deeper, rows
from gputok.kernels.signatures import NamedTuple
from gputok.models import base
from gputok.models.base import Model, Tokens
from gputok.pool import Pool
from gputok.text.pieces import check_lengths
from gputok.tokens.vocabulary import Vocabulary, pack, packed_tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    from gputok.files.json_text import Buffer
    from gputok.kernels import Automaton, BpeTables, Pairs, Strings
    from gputok.types import Array, Bytes, Ids, Positions


class JoinedMerges(NamedTuple):
    """Merges by rising rank, whose tokens have been found in a vocabulary."""

    vocabulary: Vocabulary
    # uint32[m, 3], the positions of the left token, the right token, and the token that both form, or NONE
    positions: Ids
    # The table of the ranks of these pairs, which all differ; None: the model makes it
    pairs: Pairs | None = None


class _Merges(NamedTuple):
    """The merges of a model, in the form of `gputok.files.json_text.Packed`."""

    vocabulary: Vocabulary
    pairs: Positions  # int64[m, 2], the positions in the vocabulary of the left and the right token of each merge

    def plain(self) -> list[list[str]]:
        """Returns the left and the right token of each merge."""
        names = self.vocabulary.tokens
        pairs = (list(map(names.__getitem__, column)) for column in self.pairs.T.tolist())
        return list(map(list, zip(*pairs, strict=True)))

    def json(self, newline: str) -> Iterator[Buffer]:
        """Returns the JSON text of `plain`, in parts; newline: a line break and the indentation, or ""."""
        inner, innermost = deeper(newline), deeper(deeper(newline))
        left, right = self._tokens()
        opening, middle, closing = f',{inner}[{innermost}"', f'",{innermost}"', f'"{inner}]'
        columns = [opening.encode(), left, middle.encode(), right, closing.encode()]
        return rows(columns, newline, "[]")

    def lines(self) -> Iterator[bytes]:
        """Returns the lines of a merges.txt, in parts: the left token, a space, and the right token of each merge."""
        from gputok.kernels.cpu.json_tables import write_rows

        left, right = self._tokens()
        return write_rows([left, b" ", right, b"\n"])

    def _tokens(self) -> list[tuple[Bytes, Positions, Positions]]:
        """Returns the left tokens, and the right tokens, as columns of a table."""
        return [(self.vocabulary.data, self.vocabulary.offsets, column) for column in self.pairs.T]


class BPE(Model):
    """Tokenizes a word by byte-pair encoding (Sennrich et al. 2016).

    A word starts as a sequence of characters. Among its pairs of neighbours, the pair of the lowest rank (and, if it
    occurs more than once, its leftmost occurrence) is merged to one token, again and again, until no pair has a rank.

    Args:
        vocab: a mapping of tokens to ids, or the path of a vocab.json.
        merges: the pairs of tokens by rising rank, or the path of a merges.txt.
        cache_capacity: how many encoded words each thread caches; 0: none; None: 10,000.
        dropout: the probability that a merge is skipped (Provilkov et al. 2020), which makes results random.
        unk_token: the token that replaces a character that the vocabulary lacks; None: such characters are removed.
        continuing_subword_prefix: written before each character that doesn't begin a word.
        end_of_word_suffix: written after the last character of a word.
        fuse_unk: neighbouring unknown characters become one unknown token.
        byte_fallback: an unknown character becomes the tokens `<0x..>` of its bytes, if the vocabulary has them all.
        ignore_merges: a word that is a token becomes this token, even if merges don't lead to it.

    Attributes:
        sentencepiece: False by default. True: all merges that make the same token get the rank of the first of them, as
            in SentencePiece. The attribute is written to files if it is True; `tokenizers` ignores it there.

    Raises:
        TypeError: if an argument has a wrong type, or is unknown. (`tokenizers` ignores unknown arguments.)
        ValueError: if a value is not allowed; or if a merge needs a token that the vocabulary lacks, or its right token
            is shorter than the prefix; the message contains the merge.

    Example:
        >>> bpe = BPE({"l": 0, "o": 1, "w": 2, "lo": 3, "low": 4}, [("l", "o"), ("lo", "w")])
        >>> [token.value for token in bpe.tokenize("lowlo")]
        ['low', 'lo']
    """

    turn = 0
    trainer = "bpe.BpeTrainer"
    stored = ("byte_strings", "byte_ranks", "cuts")
    # Has single precision, and is written with the fewest decimals that distinguish it from other such numbers
    dropout: float | None = field(
        optional(lambda value: float(np.float32(_probability(value)))),
        written=lambda value: None if value is None else float(str(np.float32(value))),
    )
    unk_token: str | None = field(optional(string))
    continuing_subword_prefix: str | None = field(optional(string))
    end_of_word_suffix: str | None = field(optional(string))
    fuse_unk: bool = field(switch)
    byte_fallback: bool = field(switch)
    ignore_merges: bool = field(switch)
    sentencepiece: bool = field(switch, saved=False)
    cache_capacity: int = field(integer(0, 2**31 - 1), saved=False)
    merges: Any  # int64[n, 3], the ids of each pair and of what it becomes, by rank
    # See `_numbered`
    _named: Any
    _ranked: Any

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
    ) -> None:
        if (vocab is None) != (merges is None):
            raise ValueError("`vocab` and `merges` must be both specified")
        if isinstance(vocab, str) != isinstance(merges, str):
            raise ValueError("`vocab` and `merges` must be both be from memory or both filenames")
        if isinstance(vocab, str) and isinstance(merges, str):
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
        pairs: Any
        table = None
        if isinstance(merges, JoinedMerges):
            pairs, table = merges.positions, merges.pairs
        else:
            pairs = _pairs(self.vocabulary, [] if merges is None else merges)
        if continuing_subword_prefix or not isinstance(merges, JoinedMerges):
            pairs = _joined(self.vocabulary, pairs[:, :2], continuing_subword_prefix)
        self._set(**_numbered(self.vocabulary, pairs, table))

    def set_vocabulary(
        self,
        vocabulary: Vocabulary,
        merges: npt.NDArray[np.integer[Any]],
        made: npt.NDArray[np.integer[Any]] | None = None,
        **affixes: str | None,
    ) -> None:
        """Replaces the tokens and the merges.

        merges: int[m, 2], the positions in the vocabulary of the tokens of each merge, by rising rank. made: int[m],
        those of the tokens that they form; None: they are looked up. affixes: prefix and suffix, if these change.
        """
        prefix = affixes.get("continuing_subword_prefix", self.continuing_subword_prefix)
        joined = _joined(vocabulary, merges, prefix, made)
        self._set(vocabulary=vocabulary, **_numbered(vocabulary, joined), **affixes)

    def with_first_merges(self, n: int) -> BPE:
        """Returns a model of the same tokens with the first n merges only, and with default options."""
        model = BPE()
        named = None if self._named is None else self._named[:n]
        merges = np.ascontiguousarray(self.merges[:n])
        model._set(vocabulary=self.vocabulary, merges=merges, _named=named, _ranked=None)
        return model

    @staticmethod
    def read_file(vocab: str, merges: str) -> tuple[dict[str, int], list[tuple[str, str]]]:
        """Reads a vocab.json and a merges.txt.

        Args:
            vocab: the path of the vocab.json, a JSON object of tokens and their ids.
            merges: the path of the merges.txt, in which each line contains the two tokens of a merge.

        Returns:
            The vocabulary, and the merges in order.

        Raises:
            ValueError: if a file has another form; the message contains the path and the line.
        """
        with in_file(merges), open(merges, encoding="utf-8", newline="\n") as file:
            lines = [line.removesuffix("\n").removesuffix("\r") for line in file]
        pairs: list[tuple[str, str]] = []
        for text in lines:
            if text.startswith("#version"):
                continue
            left, space, right = text.partition(" ")
            if not space or " " in right:
                raise ValueError(
                    f"line {len(pairs) + 1} of {merges} must be two tokens with a space between, not "
                    f"{short(tuple(text.split(' ')))}"
                )
            pairs.append((left, right))
        return base.read_json_vocabulary(vocab), pairs

    @classmethod
    def from_file(cls, vocab: str, merges: str, **kwargs: Any) -> Self:
        """Makes a model from a vocab.json and a merges.txt.

        Args:
            vocab: the path of the vocab.json.
            merges: the path of the merges.txt.
            kwargs: further arguments of the class.
        """
        read = cls.read_file(vocab, merges)
        with in_file(merges):
            return cls(*read, **kwargs)

    def save(self, folder: str, prefix: str | None = None) -> list[str]:
        """Writes `[prefix-]vocab.json` and `[prefix-]merges.txt` into a folder."""
        merges = b"#version: 0.2\n" + b"".join(self._named_merges().lines())
        files = ("vocab.json", b"".join(self.vocabulary.json(""))), ("merges.txt", merges)
        return [base.written(folder, prefix, *file) for file in files]

    def _named_merges(self) -> _Merges:
        pairs = self.vocabulary.positions(self.merges[:, :2]) if self._named is None else self._named
        return _Merges(self.vocabulary, pairs)

    def joined_merges(self) -> JoinedMerges:
        """Returns the merges, with the table of their pairs if encoding has needed it."""
        tables, pairs = vars(self).get("_common_tables"), None
        if tables is not None and not self.sentencepiece and not len(self.vocabulary.shared):
            pairs = tables.pairs
        return JoinedMerges(self.vocabulary, _joined(self.vocabulary, self._named_merges().pairs, None), pairs)

    def fields(self) -> dict[str, Any]:
        """Returns the JSON form, in which the vocabulary and the merges are `Packed` objects."""
        form = super().fields() | ({"sentencepiece": True} if self.sentencepiece else {})
        return form | {"vocab": self.vocabulary, "merges": self._named_merges()}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        """Makes a model from its JSON form, whose merges are pairs of tokens, or, in older files, `"left right"`."""
        base.require(value, "BPE", "vocab", "merges")
        names = [one.name for one, _ in cls._declared()]
        options = {name: value[name] for name in names if value.get(name) is not None}
        merges: Any = value["merges"]
        if not isinstance(merges, list | JoinedMerges):  # the constructor also takes a path, which is refused here
            raise WrongValue(f"must be a list, not {brief(merges)}", "merges")
        model = cls(**options | {"vocab": base.object_of(value, "vocab"), "merges": merges})
        if "sentencepiece" in value:
            model.sentencepiece = value["sentencepiece"]
        return model

    def _clear_cache(self) -> None:
        """Empties the cache of encoded words. Results don't depend on the cache."""
        self.__dict__.pop("_caches", None)

    def _resize_cache(self, capacity: int) -> None:
        """Sets how many encoded words each thread caches."""
        self.cache_capacity = capacity

    @property
    def is_random(self) -> bool:
        return bool(self.dropout)

    def tables(self, byte_level: bool) -> BpeTables | None:
        """Returns the tables for text, or for bytes that stand for ByteLevel characters (None: some are no tokens)."""
        return self.byte_tables if byte_level else self._tables

    def handle(self, byte_level: bool) -> tuple[Any, Any] | None:
        from gputok.kernels.cpu.lookup import NONE

        # These tables give the same tokens as `self.tables`, and are made sooner, but make words beyond ASCII slower
        tables = self._first_byte_tables if byte_level else self._common_tables
        if tables is None or NONE in tables.unk:
            return None
        if len(tables.fallback) and len(tables.prefix) + len(tables.suffix):
            return None  # a character can become more tokens than it has bytes
        return tables, partial(self.tables, byte_level)

    def tokenize_pieces(self, data: Bytes, start: Positions, end: Positions, *, byte_level: bool) -> Tokens:
        from gputok.kernels.cpu.encode_words.encode import encode_words

        tables = self.tables(byte_level)
        if tables is None:
            return base.tokenize_byte_level(self, data, start, end)
        caches = self._caches[byte_level]
        cache = caches.take(self.cache_capacity)
        parts: list[Tokens] = []
        for first, last in base.slices(start, end):
            words = data, start[first:last], end[first:last]
            found: Any = encode_words(*words, tables, cache, self._random())
            parts.append(Tokens(*found))
            self._check_known(parts[-1].ids)
        caches.give(cache)
        return base.concat_tokens(parts)

    def encode_words(self, data: Bytes, start: Positions, end: Positions, *, byte_level: bool) -> tuple[Ids, Positions]:
        tables = self.tables(byte_level)
        if tables is None:
            return super().encode_words(data, start, end, byte_level=byte_level)
        check_lengths(start, end, "word")
        if not byte_level or len(start) < _FEW or self.byte_words is None:
            return self._merged_words(data, start, end, tables)
        return _by_length(data, start, end, self.byte_words, partial(self._merged_words, tables=tables))

    def encode_lines(self, data: Bytes, start: Positions, end: Positions) -> tuple[Ids, Positions]:
        if self.line_words is None:
            return super().encode_lines(data, start, end)
        check_lengths(start, end, "word")
        return _by_length(data, start, end, self.line_words, super().encode_lines)

    def _merged_words(self, data: Bytes, start: Positions, end: Positions, tables: Any) -> tuple[Ids, Positions]:
        from gputok.kernels.cpu.encode_words.cache import word_cache
        from gputok.kernels.cpu.encode_words.encode import encode_words

        words = data, start, end, tables, word_cache(0), self._random()
        found: Any = encode_words(*words, positions=False)
        ids, _, _, rows = found
        self._check_known(ids)
        return ids, rows

    def _check_known(self, ids: Ids) -> None:
        """Raises ValueError if an id stands for the unknown token, but the vocabulary lacks the unknown token."""
        if self.unk_token is None:
            return
        from gputok.kernels.cpu.lookup import NONE

        if self._common_tables.unk[0] == NONE and (ids == NONE).any():
            raise base.missing_unk(self.unk_token)

    def _random(self) -> npt.NDArray[np.uint64]:
        """Returns uint64[1], not 0: the state of the random generator that dropout uses."""
        if not self.dropout:
            return np.ones(1, np.uint64)
        return np.frombuffer(os.urandom(8), np.uint64) | np.uint64(1)

    @derived
    def cuts(self) -> Automaton | None:
        """The automaton that cuts text into words without changing its tokens, or None. A space stands for ▁."""
        from gputok.models.bpe.cuts import safe_cuts

        tables = self._common_tables
        # A cut can change tokens if a whole text can be a token, or if unknown characters are not written as bytes
        if not tables.divisible or not tables.harmless or self.ignore_merges:
            return None
        return safe_cuts(self._tables.inside, "▁")

    @derived
    def byte_words(self) -> Any:
        """The kernels.cpu.encode_words.short_words.ShortWords; None: merges of bytes alone don't give the tokens."""
        from gputok.kernels.cpu.encode_words.short_words import byte_words

        return None if self.byte_tables is None else byte_words(self.byte_tables)

    @derived
    def first_byte_words(self) -> Any:
        """As `byte_words`, but from the tables for a first text (`_first_byte_tables`), which are made sooner."""
        from gputok.kernels.cpu.encode_words.short_words import byte_words

        return None if self._first_byte_tables is None else byte_words(self._first_byte_tables)

    @derived
    def line_words(self) -> Any:
        """The ShortWords for `encode_lines`; None: merges of characters, or of their bytes, don't give the tokens."""
        from gputok.kernels.cpu.encode_words.short_words import line_words

        return line_words(self._common_tables)

    @derived
    def byte_strings(self) -> Strings:
        """A hash table that finds tokens by the bytes that their ByteLevel characters stand for."""
        from gputok.kernels.cpu import lookup
        from gputok.models.bpe.tables import bytes_of

        return lookup.index_strings(*bytes_of(self.vocabulary))

    @derived
    def byte_ranks(self) -> Array:
        """uint32[256, 256]: the rank of the pair of the ByteLevel characters that stand for two bytes, or NONE."""
        from gputok.models.bpe import tables

        return tables.byte_ranks(self._common_tables)

    @derived
    def _caches(self) -> tuple[Pool[Any], Pool[Any]]:
        """Pools of caches of encoded words: for text, and for bytes that stand for ByteLevel characters."""
        from gputok.kernels.cpu.encode_words.cache import word_cache

        return Pool(word_cache), Pool(word_cache)

    @derived
    def _common_tables(self) -> BpeTables:
        from gputok.models.bpe import tables

        return tables.common(self)

    @derived
    def _tables(self) -> BpeTables:
        """The tables for text whose characters are those of the tokens."""
        from gputok.models.bpe import tables

        return tables.with_neighbours(self, self._common_tables, self.vocabulary.data, self.vocabulary.offsets)

    @derived
    def _first_byte_tables(self) -> BpeTables | None:
        from gputok.models.bpe import tables

        return tables.for_bytes(self, self._common_tables)

    @derived
    def byte_tables(self) -> BpeTables | None:
        """The tables for bytes that stand for ByteLevel characters, or None if such a character isn't a token."""
        from gputok.models.bpe import tables

        first = self._first_byte_tables
        return None if first is None else tables.with_byte_neighbours(self, first)


_FEW = 48  # for fewer words, one kernel is faster than two, one for short words and one for long words
_probability = number(0, 1)


def _by_length(
    data: Bytes,
    start: Positions,
    end: Positions,
    words: Any,
    encode_long: Callable[[Bytes, Positions, Positions], tuple[Ids, Positions]],
) -> tuple[Ids, Positions]:
    """Encodes short words, several at a time, and by `encode_long` the others, which it cuts before it merges them."""
    from gputok.kernels.cpu.encode_words.short_words import MOST_BYTES, NO_WORDS, encode_short_words

    long = np.flatnonzero(end - start > MOST_BYTES)
    longer = encode_long(data, start[long], end[long]) if len(long) else NO_WORDS
    return encode_short_words(data, start, end, words, longer)


def _pairs(vocabulary: Vocabulary, given: Sequence[Any]) -> Positions:
    """Returns int64[m, 2]: the positions in the vocabulary of the two tokens of each merge."""
    from gputok.kernels.cpu import lookup

    data, starts, ends = _packed(given)
    columns = zip(starts, ends, strict=True)
    found = np.stack([lookup.find_strings(vocabulary.strings, data, *column) for column in columns], axis=1)
    missing = np.flatnonzero((found < 0).any(axis=1))
    if len(missing):
        first = int(missing[0])
        pair = tuple(bytes(data[a:b]).decode() for a, b in zip(starts[:, first], ends[:, first], strict=True))
        token = pair[0] if found[first, 0] < 0 else pair[1]
        raise ValueError(f"merge {first} is {short(pair)}, but the token {short(token)} isn't in the vocabulary")
    return found


def _packed(merges: Sequence[Any]) -> tuple[Bytes, Positions, Positions]:
    """Packs merges that are pairs of tokens, or two tokens with a space between.

    Returns the tokens as UTF-8, uint8[n_bytes], and where they begin and end, int64[2, m] each: left and right ones.
    """
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
    return data, offsets[:-1].reshape(-1, 2).T, offsets[1:].reshape(-1, 2).T


def _lines(merges: Sequence[str]) -> tuple[Bytes, Positions, Positions]:
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
    return data, np.stack([offsets[:-1], middle + 1]), np.stack([middle, offsets[1:]])


def _joined(
    vocabulary: Vocabulary,
    pairs: npt.NDArray[np.integer[Any]],
    prefix: str | None,
    made: npt.NDArray[np.integer[Any]] | None = None,
) -> Ids:
    """Returns uint32[m, 3]: the positions in the vocabulary of the left, the right and the new token of each merge.

    pairs: int[m, 2], of the left and the right token. made: int[m], of the new one, or NONE; None: it is looked up.
    """
    from gputok.kernels.cpu import lookup

    if made is None:
        made = lookup.join_pairs(vocabulary.strings, pairs[:, 0], pairs[:, 1], len((prefix or "").encode()))
    return np.column_stack([pairs, made]).astype(np.uint32)


def _numbered(vocabulary: Vocabulary, joined: Ids, pairs: Pairs | None = None) -> dict[str, Any]:
    """Returns the fields of a model that its merges need; joined: of `_joined`; pairs: of `JoinedMerges`.

    merges: uint32[m, 3], the ids of the tokens. If a pair occurs twice, its last rank counts.
    _named: if tokens share ids, int64[m, 2], the positions of the left and the right token, which ids don't tell then.
    _ranked: None, or the merges and the table of their pairs of positions: encoding needs that table, too.
    """
    from gputok.kernels.cpu import lookup

    left, right, made = joined.T
    if made.max(initial=0) == lookup.NONE:
        rank = int(np.argmax(made == lookup.NONE))
        a, b = (
            bytes(vocabulary.data[vocabulary.offsets[i] : vocabulary.offsets[i + 1]]).decode() for i in joined[rank, :2]
        )
        raise ValueError(f"merge {rank} is {(a, b)}, but the token that they form isn't in the vocabulary")
    merges = joined if vocabulary.in_order else vocabulary.ids[joined]
    if not len(vocabulary.shared):
        if pairs is not None:
            return {"merges": merges, "_named": None, "_ranked": (merges, pairs)}
        if (made[1:] > made[:-1]).all():  # each merge makes another token, as after training: so no pair occurs twice
            return {"merges": merges, "_named": None, "_ranked": None}
        ranked = lookup.index_pairs(left, right, np.arange(len(made), dtype=np.uint32), len(vocabulary))
        if np.count_nonzero(ranked.slots != lookup.FREE) == len(made):
            return {"merges": merges, "_named": None, "_ranked": (merges, ranked)}
    keys = merges[:, 0].astype(np.uint64) << np.uint64(32) | merges[:, 1]
    last = np.unique(keys[::-1], return_index=True)[1]
    kept = np.sort(len(merges) - 1 - last)
    named = joined[kept, :2].astype(np.int64) if len(vocabulary.shared) else None
    return {"merges": merges[kept], "_named": named, "_ranked": None}
