"""The normalization forms of Unicode, and the character maps of SentencePiece."""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from gputok.checks import WrongValue, field, string, wrong_type
from gputok.components import derived
from gputok.normalizers.base import BetweenSpaces, Normalizer
from gputok.text.edit import inert_in, normalize_form, rewritten
from gputok.text.unicode_maps import grapheme_classes
from gputok.text.way import Apart

if TYPE_CHECKING:
    import numpy.typing as npt

    from gputok.text.pieces import Pieces
    from gputok.text.way import Way
    from gputok.types import Bytes


class _Form(BetweenSpaces):
    """A normalization form; form: the name of its tables."""

    form: ClassVar[str]

    def _apply(self, pieces: Pieces) -> Pieces:
        return normalize_form(pieces, self.form)

    @property
    def inert(self) -> tuple[Any, Any, int] | None:
        return inert_in(self.form)


class NFD(_Form, Normalizer):
    r"""Normalization form D of Unicode: canonical decomposition.

    >>> NFD().normalize_str("é") == "e\u0301"
    True
    """

    form = "nfd"


class NFKD(_Form, Normalizer):
    """Normalization form KD of Unicode: compatibility decomposition.

    >>> NFKD().normalize_str("ﬁ①")
    'fi1'
    """

    form = "nfkd"


class NFC(_Form, Normalizer):
    r"""Normalization form C of Unicode: canonical decomposition, then composition.

    >>> NFC().normalize_str("e\u0301")
    'é'
    """

    form = "nfc"


class NFKC(_Form, Normalizer):
    """Normalization form KC of Unicode: compatibility decomposition, then canonical composition.

    >>> NFKC().normalize_str("ﾊﾟﬁ")
    'パfi'
    """

    form = "nfkc"


class Precompiled(Normalizer):
    """Replaces characters by the map that a SentencePiece model contains.

    As in `tokenizers`, the map is looked up for each grapheme cluster of fewer than six bytes; in longer clusters, and
    if the map has no entry for the cluster, for each character.

    Args:
        precompiled_charsmap: the map, from the field of that name of the model: the number of bytes of a double array
            (4 bytes, little endian), the double array, and the strings that the double array refers to.

    Raises:
        ValueError: if the bytes end too early, or the strings are not UTF-8.
    """

    precompiled_charsmap: bytes = field(
        lambda value: _charsmap(value),
        shown=lambda blob: f'"{_base64(blob)}"',
        written=lambda blob: _base64(blob),
        read=lambda text: binascii.a2b_base64(string(text), strict_mode=True),
    )

    @derived
    def tables(self) -> tuple[npt.NDArray[np.uint32], Bytes]:
        """The map as the kernels take it: a double array, uint32[n_units], and strings, uint8[n_bytes]."""
        return _parsed(self.precompiled_charsmap)

    def way(self, after: Way) -> Way:
        return after.changed(Apart.SPACES if self._apart_at_spaces else Apart.NOWHERE)

    @derived
    def _apart_at_spaces(self) -> bool:
        """True if no entry of the map has a space, and no grapheme cluster that has an entry goes on across one."""
        from gputok.kernels.cpu.precompiled import LABEL, PREPEND

        # An unused unit of the double array may have the label, too. Then the answer is False although it could be True.
        if bool(np.any(self.tables[0] & LABEL == ord(" "))):
            return False
        page, member = grapheme_classes()
        kinds = member[page].ravel()[:0x110000]
        text = "".join(chr(code) + " " for code in np.flatnonzero(kinds == PREPEND).tolist())
        return self.normalize_str(text) == text

    def _apply(self, pieces: Pieces) -> Pieces:
        from gputok.kernels.cpu.precompiled import normalize_precompiled

        return rewritten(pieces, normalize_precompiled, *self.tables, grapheme_classes())


def _charsmap(value: Any) -> bytes:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise wrong_type(value, "bytes")
    blob = bytes(value)
    _parsed(blob)  # raises for a broken map now, not at the first use
    return blob


def _parsed(blob: bytes) -> tuple[npt.NDArray[np.uint32], Bytes]:
    """Returns the double array, uint32[n_units], of a map, and the strings, uint8[n_bytes], each ended by a NUL."""
    n_bytes = int.from_bytes(blob[:4], "little")
    if len(blob) < 4 + n_bytes or len(blob) < 4:
        raise WrongValue(f"says that {n_bytes} bytes of a double array follow, but ends after {len(blob)} bytes")
    texts = blob[4 + n_bytes // 4 * 4 :]
    try:
        texts.decode()
    except UnicodeDecodeError as error:
        raise WrongValue(f"has strings that are not UTF-8: {error}") from None
    return np.frombuffer(blob, "<u4", n_bytes // 4, 4), np.frombuffer(texts, np.uint8)


def _base64(blob: bytes) -> str:
    return binascii.b2a_base64(blob, newline=False).decode()


NORMALIZERS = {"nfc": NFC, "nfd": NFD, "nfkc": NFKC, "nfkd": NFKD}


def unicode_normalizer_from_str(normalizer: str) -> Normalizer:
    """Makes a normalization form of Unicode from its name.

    Args:
        normalizer: "nfc", "nfd", "nfkc" or "nfkd".

    Returns:
        The normalizer.

    Raises:
        ValueError: if the name is another one.

    Example:
        >>> unicode_normalizer_from_str("nfkc").normalize_str("ﬁ")
        'fi'
    """
    if normalizer not in NORMALIZERS:
        raise ValueError(f"{normalizer} is not a known unicode normalizer. Available are {NORMALIZERS.keys()}")
    return NORMALIZERS[normalizer]()
