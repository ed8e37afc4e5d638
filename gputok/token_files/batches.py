"""The ids of some documents, as arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gputok.kernels.signatures import NamedTuple

if TYPE_CHECKING:
    from gputok.types import PackedIds, Positions


class TokenBatch(NamedTuple):
    """The ids of some documents.

    Attributes:
        ids: uint16[n_ids] if every id of the vocabulary fits in 16 bits, else uint32[n_ids].
        rows: int64[n_documents + 1]; document i has ids[rows[i]:rows[i + 1]].
    """

    ids: PackedIds
    rows: Positions

    @property
    def n_documents(self) -> int:
        """The number of documents."""
        return len(self.rows) - 1


def id_dtype(vocab_size: int) -> np.dtype[Any]:
    """The smallest dtype that holds every id below vocab_size.

    >>> id_dtype(50_000), id_dtype(128_000)
    (dtype('uint16'), dtype('uint32'))
    """
    return np.dtype(np.uint16 if vocab_size <= 1 << 16 else np.uint32)
