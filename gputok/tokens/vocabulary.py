"""The tokens of a model and their ids, packed into arrays."""

from __future__ import annotations

import contextlib
import itertools
import operator
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from gputok.checks import ID, WrongType, WrongValue, brief, short
from gputok.components import derived
from gputok.files.json_text import deeper, rows
from gputok.kernels import rises_by_one
from gputok.lazy import public

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy.typing as npt

    from gputok.files.json_text import Buffer
    from gputok.kernels import Strings
    from gputok.types import Bytes, Ids, Positions, Positions32


def _array(name: str, values: npt.NDArray[Any], dtype: type[np.integer[Any]]) -> npt.NDArray[Any]:
    """Returns a contiguous array of one dimension: kernels read its memory. WrongValue: values do not fit the type."""
    found = np.ascontiguousarray(values)
    whole = found.dtype.kind in "iu" or not found.size
    limits = np.iinfo(dtype)
    if found.dtype != dtype and whole and found.size:
        whole = bool(found.min() >= limits.min and found.max() <= limits.max)
    if found.ndim != 1 or not whole:
        raise WrongValue(
            f"{name} of a vocabulary must be an array of one dimension, of whole numbers from {limits.min} to "
            f"{limits.max}, not of shape {found.shape} and type {found.dtype}"
        )
    return found.astype(dtype, copy=False)


def pack(strings: Iterable[str]) -> tuple[Bytes, Positions]:
    r"""Packs strings: data uint8[n_bytes] and offsets int64[n + 1].

    Raises UnicodeEncodeError if a string contains a lone surrogate.

    >>> data, offsets = pack(["é", "", "ab"])
    >>> bytes(data), offsets.tolist()
    (b'\xc3\xa9ab', [0, 2, 2, 4])
    """
    from gputok.kernels.cpu.texts import pack_texts

    strings = [*strings]  # another thread may change the list of the caller, but not this one
    if (packed := pack_texts(strings)) is not None:
        return packed
    "".join(strings)  # its TypeError says which is no string
    encoded = [*map(str.encode, strings)]
    ends = itertools.accumulate(map(len, encoded), initial=0)
    return np.frombuffer(bytearray().join(encoded), np.uint8), np.fromiter(ends, np.int64, len(encoded) + 1)


def packed_tokens(tokens: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Packs tokens as `pack` does. WrongType or WrongValue names the first token that isn't a string in UTF-8."""
    try:
        return pack(tokens)
    except TypeError:
        at, wrong = next((i, token) for i, token in enumerate(tokens) if not isinstance(token, str))
        raise WrongType(f"tokens must be strings, but token {at} is {brief(wrong)}") from None
    except UnicodeEncodeError:
        at, wrong = next((i, token) for i, token in enumerate(tokens) if any("\ud800" <= c <= "\udfff" for c in token))
        raise WrongValue(
            f"token {at} holds half of a surrogate pair, which no text in UTF-8 can: {short(wrong)}"
        ) from None


def plain_array(values: Sequence[Any]) -> np.ndarray:
    """An array of some numbers, of the type that NumPy chooses; an array of one None if they are not all numbers."""
    # If strings were among them, NumPy would make an array of strings, each with room for the longest
    if all(issubclass(kind, int | float | np.number) for kind in set(map(type, values))):
        with contextlib.suppress(ValueError, OverflowError):
            return np.array(values)
    return np.array([None])


def switches(numbers: np.ndarray, values: Sequence[Any]) -> bool:
    """Whether True or False is among the values of which `numbers`, with 0 and 1 for them, was made."""
    return any(isinstance(values[i], bool) for i in np.flatnonzero((numbers == 0) | (numbers == 1)).tolist())


_FEW_TOKENS = 8
"""When it has looked for more tokens than this, `find` makes a table of all; for fewer, that would not pay."""
_FEW_IDS = 1 << 16
"""If all ids are below this limit, or leave few gaps, `by_id` is a table."""


@public("gputok.models")
class Vocabulary:
    """Distinct tokens and their ids, packed.

    Args:
        data: uint8[n_bytes], the tokens as UTF-8, one after the other.
        offsets: int64[n_tokens + 1], in bytes; token i is data[offsets[i]:offsets[i + 1]].
        ids: uint32[n_tokens]; None: the id of each token is its position.

    Raises:
        ValueError: if an array has another shape or type, or offsets do not rise or end after the data.
    """

    stored = ("strings",)
    """The names of the derived values that a compiled tokenizer stores."""

    def __init__(self, data: Bytes, offsets: Positions, ids: Ids | None = None) -> None:
        self.data, self.offsets = _array("data", data, np.uint8), _array("offsets", offsets, np.int64)
        n = len(self.offsets) - 1
        first, last = (self.offsets[0], self.offsets[-1]) if n >= 0 else (-1, -1)
        if first < 0 or last > len(self.data) or (self.offsets[1:] < self.offsets[:-1]).any():
            raise WrongValue(
                f"offsets of a vocabulary must rise from 0 to {len(self.data):,} at most, the bytes of its data; "
                f"got {brief(self.offsets.tolist())}"
            )
        self.ids = np.arange(n, dtype=np.uint32) if ids is None else _array("ids", ids, np.uint32)
        if len(self.ids) != n:
            raise WrongValue(f"a vocabulary of {n:,} tokens needs as many ids, but got {len(self.ids):,}")
        self._n_sought = 0

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, int]) -> Self:
        """Packs a dictionary.

        Args:
            mapping: token -> id; ids are integers from 0 to 2**32 - 2, in any order, and may leave gaps.

        Raises:
            TypeError: if `mapping` is not a mapping, a token is not a string, or an id is not such an integer.

        Example:
            >>> Vocabulary.from_mapping({"a": 5, "b": 0}).names
            {0: 'b', 5: 'a'}
        """
        if not isinstance(mapping, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise WrongType(f"must map tokens to ids, but is {brief(mapping)}")
        mapping = dict(mapping)  # the caller may change the original later
        values = list(mapping.values())
        ids: npt.NDArray[Any] = plain_array(values) if values else np.empty(0, np.int64)
        if (
            ids.ndim != 1
            or ids.dtype.kind not in "iu"
            or ids.min(initial=0) < 0
            or ids.max(initial=0) > ID
            or switches(ids, values)
        ):
            for token, id in mapping.items():
                if isinstance(id, bool | np.bool_) or not hasattr(id, "__index__") or not 0 <= id <= ID:
                    raise WrongType(
                        f"the id of token {short(token)} must be an integer from 0 to 2**32 - 2, not {brief(id)}"
                    )
            ids = np.array([operator.index(id) for id in values], np.int64)
        vocabulary = cls(*packed_tokens(list(mapping)), ids.astype(np.uint32))
        vocabulary.__dict__.update(mapping=mapping, tokens=list(mapping))
        return vocabulary

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def packed(self, positions: npt.NDArray[np.integer[Any]]) -> tuple[Bytes, Positions]:
        """Packs the tokens at some positions of the arrays: data uint8[n_bytes] and offsets int64[n + 1]."""
        if len(positions) == len(self) and (positions[1:] > positions[:-1]).all():
            return self.data, self.offsets
        from gputok.kernels.cpu.rewrite import gather

        return gather(self.data, self.offsets[positions], self.offsets[positions.astype(np.int64) + 1])

    @derived
    def tokens(self) -> list[str]:
        """The tokens in the order of the arrays."""
        if len(self) and self.data.all():  # no token contains NUL, so NUL can separate them
            return np.insert(self.data, self.offsets[1:-1], 0).tobytes().decode().split("\0")
        raw, ends = self.data.tobytes(), self.offsets.tolist()
        return [raw[a:b].decode() for a, b in itertools.pairwise(ends)]

    @derived
    def mapping(self) -> Mapping[str, int]:
        """Token -> id. If tokens are equal (only in Unigram models), the id of the last one counts."""
        return dict(zip(self.tokens, self.ids.tolist(), strict=True))

    @derived
    def in_order(self) -> bool:
        """True if the id of each token is its position."""
        return rises_by_one(self.ids) and not self.ids[:1].any()

    @derived
    def listing(self) -> Positions:
        """int64[n_tokens]: the positions of all tokens by rising id, as files list them."""
        if (self.ids[1:] > self.ids[:-1]).all():
            return np.arange(len(self))
        return np.argsort(self.ids, kind="stable")

    @derived
    def order(self) -> Positions:
        """int64[n_ids]: the positions of tokens by rising id. If several tokens have one id, the last one counts."""
        ids = self.ids[self.listing]
        return self.listing[np.append(ids[1:] > ids[:-1], True)] if len(ids) else self.listing

    @derived
    def shared(self) -> Positions:
        """int64[n]: the positions of all tokens whose id another token has, too; by rising id."""
        if self.in_order:
            return np.empty(0, np.int64)
        # This test takes a tenth of the time of sorting
        if self.by_id is not None and np.count_nonzero(self.by_id >= 0) == len(self):
            return np.empty(0, np.int64)
        ids = self.ids[self.listing]
        same = ids[1:] == ids[:-1]
        return self.listing[np.append(same, False) | np.append(False, same)] if same.any() else self.listing[:0]

    def require_own_ids(self, what: str) -> None:
        """Raises ValueError if two tokens have one id, so that they can't be told apart; what: what needs to do so."""
        if len(self.shared):
            names = [short(self.tokens[position]) for position in self.shared[:2].tolist()]
            raise ValueError(
                f"{what}: the tokens {names[0]} and {names[1]} have the same id, {self.ids[self.shared[0]]}: "
                "give each token an id of its own, or remove one of them"
            )

    @derived
    def by_id(self) -> Positions32 | None:
        """int32[largest id + 1]: the last position of a token with each id, or -1; None if ids are few and large."""
        largest = int(self.ids.max(initial=0))
        if largest > 4 * len(self) + _FEW_IDS:
            return None
        positions = np.full(largest + 1, -1, np.int32)
        positions[self.ids] = np.arange(len(self), dtype=np.int32)
        return positions

    def positions(self, ids: npt.NDArray[np.integer[Any]]) -> Positions:
        """The positions in the arrays of the tokens with these ids. Each id must be in the vocabulary."""
        if self.in_order:
            return ids.astype(np.int64)
        if self.by_id is not None:
            return self.by_id[ids].astype(np.int64)
        return self.order[np.searchsorted(self.ids[self.order], ids)]

    def name(self, id: int) -> str | None:
        """The token of one id, or None. In contrast to `names`, this makes no dictionary."""
        if "names" in self.__dict__ or self.by_id is None:
            return self.names.get(id)
        position = int(self.by_id[id]) if 0 <= id < len(self.by_id) else -1
        if position < 0:
            return None
        return self.data[self.offsets[position] : self.offsets[position + 1]].tobytes().decode()

    @derived
    def names(self) -> dict[int, str]:
        """Id -> token, by rising id."""
        tokens = map(self.tokens.__getitem__, self.order.tolist())
        return dict(zip(self.ids[self.order].tolist(), tokens, strict=True))

    def plain(self) -> dict[str, int]:
        """Token -> id, by rising id, as in files."""
        tokens = map(self.tokens.__getitem__, self.listing.tolist())
        return dict(zip(tokens, self.ids[self.listing].tolist(), strict=True))

    def json(self, newline: str) -> Iterator[Buffer]:
        """Yields `plain` as parts of JSON text; see `gputok.files.json_text.Packed`."""
        opening, colon = f',{deeper(newline)}"'.encode(), b'": ' if newline else b'":'
        tokens = self.data, self.offsets, self.listing
        return rows([opening, tokens, colon, self.ids[self.listing]], newline, "{}")

    def find(self, tokens: Sequence[str]) -> list[int | None]:
        """The ids of a few tokens, None for an unknown token. In contrast to `mapping`, this makes no dictionary."""
        if not tokens:
            return []
        if "mapping" in self.__dict__:
            return list(map(self.mapping.get, tokens))
        from gputok.kernels.cpu import lookup

        data, offsets = pack(tokens)
        self._n_sought += len(tokens)
        if "strings" in self.__dict__ or self._n_sought > _FEW_TOKENS:
            found: list[int] = lookup.find_strings(self.strings, data, offsets[:-1], offsets[1:]).tolist()
        else:
            sizes = np.diff(self.offsets)
            found = [self._last(sizes, data[a:b]) for a, b in itertools.pairwise(offsets.tolist())]
        return [None if position < 0 else int(self.ids[position]) for position in found]

    def _last(self, sizes: Positions, token: Bytes) -> int:
        """The last position of a token, without a table; -1: there is none. sizes: the bytes of each token."""
        at = np.flatnonzero(sizes == len(token))
        rows = self.data[self.offsets[at][:, None] + np.arange(len(token))]
        return int(at[(rows == token).all(axis=1)].max(initial=-1))

    @derived
    def strings(self) -> Strings:
        """A hash table that finds tokens by their bytes."""
        from gputok.kernels.cpu import lookup

        return lookup.index_strings(self.data, self.offsets)
