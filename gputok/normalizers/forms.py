"""The normalization forms of Unicode, and the maps of SentencePiece."""

from __future__ import annotations

import base64
import dataclasses
from typing import Any, Self

import numpy as np

from gputok.components import derived
from gputok.fields import WrongValue, needed, per_field, reading, string, wrong_type
from gputok.normalizers.base import Normalizer, component
from gputok.text.edit import normalize_form, rewritten
from gputok.text.pieces import Pieces
from gputok.text.unicode_maps import grapheme_classes
from gputok.types import Array


@component
class NFD(Normalizer):
    """Canonical decomposition.

    >>> NFD().normalize_str("é") == "e\\u0301"
    True
    """

    apart_at_spaces = True  # nothing is composed with a space or moves past one

    def _apply(self, pieces: Pieces) -> Pieces:
        return normalize_form(pieces, "nfd")


@component
class NFKD(Normalizer):
    """Compatibility decomposition.

    >>> NFKD().normalize_str("ﬁ①")
    'fi1'
    """

    apart_at_spaces = True  # nothing is composed with a space or moves past one

    def _apply(self, pieces: Pieces) -> Pieces:
        return normalize_form(pieces, "nfkd")


@component
class NFC(Normalizer):
    """Canonical decomposition, then composition.

    >>> NFC().normalize_str("e\\u0301")
    'é'
    """

    apart_at_spaces = True  # nothing is composed with a space or moves past one

    def _apply(self, pieces: Pieces) -> Pieces:
        return normalize_form(pieces, "nfc", compose=True)


@component
class NFKC(Normalizer):
    """Compatibility decomposition, then canonical composition.

    >>> NFKC().normalize_str("ﾊﾟﬁ")
    'パfi'
    """

    apart_at_spaces = True  # nothing is composed with a space or moves past one

    def _apply(self, pieces: Pieces) -> Pieces:
        return normalize_form(pieces, "nfkc", compose=True)


@component
class Precompiled(Normalizer):
    """A map from a SentencePiece model: its `precompiled_charsmap`, a double array and the strings it points to.

    It is applied to grapheme clusters shorter than six bytes, then to characters, as in the namesake.
    """

    precompiled_charsmap: bytes = dataclasses.field(metadata={"shown": lambda blob: f'"{_base64(blob)}"'})

    checks = per_field(precompiled_charsmap=lambda value: _charsmap(value))

    @derived
    def _tables(self) -> tuple[Array, Array]:
        return _parsed(self.precompiled_charsmap)

    def to_dict(self) -> dict[str, Any]:
        return {"type": "Precompiled", "precompiled_charsmap": _base64(self.precompiled_charsmap)}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        name = "precompiled_charsmap"
        return cls(
            reading(name, lambda text: base64.b64decode(string(text), validate=True), needed(value, name))
        )

    def _apply(self, pieces: Pieces) -> Pieces:
        from gputok.kernels.cpu.precompiled import normalize_precompiled

        return rewritten(pieces, normalize_precompiled, *self._tables, grapheme_classes())


def _charsmap(value: Any) -> bytes:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise wrong_type(value, "bytes")
    blob = bytes(value)
    _parsed(blob)  # an error in the map belongs here, not where it is first used
    return blob


def _parsed(blob: bytes) -> tuple[Array, Array]:
    """The double array uint32[n_units] of a map, and the strings uint8[n_bytes], each ended by a NUL."""
    n_bytes = int.from_bytes(blob[:4], "little")
    if len(blob) < 4 + n_bytes or len(blob) < 4:
        raise WrongValue(
            f"says that {n_bytes} bytes of a double array follow, but ends after {len(blob)} bytes"
        )
    texts = blob[4 + n_bytes // 4 * 4 :]
    try:
        texts.decode()
    except UnicodeDecodeError as error:
        raise WrongValue(f"has strings that are no UTF-8: {error}") from None
    return np.frombuffer(blob, "<u4", n_bytes // 4, 4), np.frombuffer(texts, np.uint8)


def _base64(blob: bytes) -> str:
    return base64.b64encode(blob).decode()
