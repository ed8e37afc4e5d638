"""The tokens of a model and their ids, packed into arrays."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from gputok.components import derived
from gputok.fields import ID, WrongType, WrongValue, brief
from gputok.files.json_text import Buffer, deeper, digits, escaped, woven
from gputok.types import public


def pack(strings: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Strings as uint8[n_bytes] and int64[n + 1] offsets; a lone surrogate is a UnicodeEncodeError.

    >>> data, offsets = pack(["é", "", "ab"])
    >>> bytes(data), offsets.tolist()
    (b'\\xc3\\xa9ab', [0, 2, 2, 4])
    """
    n = len(strings)
    joined = np.frombuffer("\0".join(strings).encode(), np.uint8)
    breaks = np.flatnonzero(joined == 0)
    offsets = np.zeros(n + 1, np.int64)
    if len(breaks) == n - 1:  # one call each for all strings together; a NUL inside one of them is rare
        offsets[1:n], offsets[n] = breaks, len(joined)
        offsets[1:] -= np.arange(n)
        return joined[joined != 0], offsets
    encoded = [string.encode() for string in strings]
    np.cumsum([len(string) for string in encoded], out=offsets[1:])
    return np.frombuffer(b"".join(encoded), np.uint8), offsets


def packed_tokens(tokens: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """`pack` for what should be tokens: WrongType or WrongValue names the one that isn't a string in UTF-8."""
    try:
        return pack(tokens)
    except TypeError:
        at, wrong = next((i, token) for i, token in enumerate(tokens) if not isinstance(token, str))
        raise WrongType(f"tokens must be strings, but token {at} is {brief(wrong)}") from None
    except UnicodeEncodeError:
        at, wrong = next((i, token) for i, token in enumerate(tokens) if not _is_text(token))
        raise WrongValue(
            f"token {at} holds half of a surrogate pair, which no text in UTF-8 can: {wrong!r}"
        ) from None


def _is_text(token: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in token)


def plain_array(values: Sequence[Any]) -> np.ndarray:
    """Numbers as NumPy reads them; of objects if they are no numbers."""
    try:
        return np.array(values)
    except (ValueError, OverflowError):
        return np.array([None])


def switches(numbers: np.ndarray, values: Sequence[Any]) -> bool:
    """Are there True and False among the values that `numbers` were made of? They are 0 and 1 there."""
    return any(isinstance(values[i], bool) for i in np.flatnonzero((numbers == 0) | (numbers == 1)).tolist())


@public("gputok.models")
class Vocabulary:
    """Distinct tokens and their ids.

    data: uint8[n_bytes], offsets: int64[n + 1], ids: uint32[n]; token i is data[offsets[i]:offsets[i + 1]].
    """

    def __init__(self, data: np.ndarray, offsets: np.ndarray, ids: np.ndarray | None = None):
        """Packed tokens; without `ids` their ids are their positions."""
        self.data, self.offsets = data, offsets
        self.ids = np.arange(len(offsets) - 1, dtype=np.uint32) if ids is None else ids

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, int]) -> Self:
        """From token -> id; ids are whole numbers from 0 to 2**32 - 2, not necessarily without gaps.

        >>> Vocabulary.from_mapping({"a": 5, "b": 0}).names
        {0: 'b', 5: 'a'}
        """
        if not isinstance(mapping, Mapping):
            raise WrongType(f"must map tokens to ids, but is {brief(mapping)}")
        mapping = dict(mapping)  # what the caller does to his own later is no concern of ours
        values = list(mapping.values())
        ids = plain_array(values) if values else np.empty(0, np.int64)
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
                        f"the id of token {token!r} must be a whole number from 0 to 2**32 - 2, not {brief(id)}"
                    )
        vocabulary = cls(*packed_tokens(list(mapping)), ids.astype(np.uint32))
        vocabulary.__dict__.update(mapping=mapping, tokens=list(mapping))
        return vocabulary

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def packed(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Some of the tokens, packed."""
        if len(positions) == len(self):
            return self.data, self.offsets
        from gputok.kernels.cpu.ragged import gather

        return gather(self.data, self.offsets[positions], self.offsets[positions.astype(np.int64) + 1])

    @derived
    def tokens(self) -> list[str]:
        """The tokens in the order of the arrays."""
        if len(self) and self.data.all():  # no NUL in any, so that one between all lets one call decode all
            return np.insert(self.data, self.offsets[1:-1], 0).tobytes().decode().split("\0")
        raw, ends = self.data.tobytes(), self.offsets.tolist()
        return [raw[a:b].decode() for a, b in itertools.pairwise(ends)]

    @derived
    def mapping(self) -> Mapping[str, int]:
        """Token -> id; of equal tokens (only Unigram can have them) the last."""
        return dict(zip(self.tokens, self.ids.tolist(), strict=True))

    @derived
    def order(self) -> np.ndarray:
        """int64[]: the tokens by rising id. Of several tokens with one id the last counts."""
        if (self.ids[1:] > self.ids[:-1]).all():
            return np.arange(len(self))
        order = np.argsort(self.ids, kind="stable")
        return order[np.append(np.diff(self.ids[order].astype(np.int64)) > 0, True)]

    def positions(self, ids: np.ndarray) -> np.ndarray:
        """Where the tokens with these ids, which must be there, stand in the arrays."""
        if np.array_equal(self.ids, np.arange(len(self))):
            return ids
        return self.order[np.searchsorted(self.ids[self.order], ids)]

    @derived
    def names(self) -> dict[int, str]:
        """Id -> token, by rising id."""
        tokens = map(self.tokens.__getitem__, self.order.tolist())
        return dict(zip(self.ids[self.order].tolist(), tokens, strict=True))

    def plain(self) -> dict[str, int]:
        """Token -> id by rising id, as it stands in files."""
        return {token: id for id, token in self.names.items()}

    def json(self, newline: str) -> list[Buffer]:
        """The same as JSON text (see `gputok.files.json_text.Packed`)."""
        if not len(self):
            return [b"{}"]
        inner = deeper(newline)
        text, offsets = escaped(self.data, self.offsets)
        tokens = text, offsets[self.order], offsets[self.order + 1]
        colon = b'": ' if newline else b'":'
        rows = woven([f',{inner}"'.encode(), tokens, colon, digits(self.ids[self.order])])
        return [b"{", rows[1:], newline.encode(), b"}"]

    def find(self, tokens: Sequence[str]) -> list[int | None]:
        """The ids of a few tokens, None for one that isn't there, without making `mapping` for them."""
        if "mapping" in self.__dict__ or not tokens:
            return list(map(self.mapping.get, tokens))
        from gputok.kernels.cpu import lookup

        data, offsets = pack(tokens)
        found = lookup.find_strings(self.strings, data, offsets[:-1], offsets[1:])
        return [None if at < 0 else int(self.ids[at]) for at in found]

    @derived
    def strings(self) -> Any:
        """The tokens as kernels.cpu.lookup.Strings, to be found by their bytes."""
        from gputok.kernels.cpu import lookup

        return lookup.index_strings(self.data, self.offsets)
