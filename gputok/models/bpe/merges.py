"""The merges of a BPE as a file has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from gputok.kernels import Pairs
    from gputok.tokens.vocabulary import Vocabulary
    from gputok.types import Bytes, Ids, Positions


class PackedMerges(NamedTuple):
    """Pairs of tokens, by rising rank: token `side` of merge i is data[start[side, i]:end[side, i]]."""

    data: Bytes  # uint8[n_bytes], the tokens as UTF-8
    start: Positions  # int64[2, m]
    end: Positions  # int64[2, m]

    def pair(self, i: int) -> tuple[str, str]:
        """The two tokens of merge i."""
        left, right = (
            bytes(self.data[start:end]).decode() for start, end in zip(self.start[:, i], self.end[:, i], strict=True)
        )
        return left, right


class JoinedMerges(NamedTuple):
    """Merges of a vocabulary whose tokens are known, by rising rank."""

    vocabulary: Vocabulary
    # uint32[m, 3], the positions of the left and the right token, and of both side by side, or NONE
    positions: Ids
    # The table of these pairs, which all differ, by rank; None: it is to be made
    pairs: Pairs | None = None
