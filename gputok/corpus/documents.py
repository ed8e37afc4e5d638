"""Cuts bytes into documents at newlines or separators, and checks that they are UTF-8."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gputok.corpus.document_kinds import refuse_binary
from gputok.corpus.packing import checked
from gputok.text.pieces import LONGEST, TextBatch

if TYPE_CHECKING:
    from collections.abc import Callable

    from gputok.corpus.options import Options
    from gputok.files.locations import File, Lender
    from gputok.types import Array


def split_documents(
    data: Array, separator: bytes | None, is_last: bool, in_place: bool = False, lender: Lender | None = None
) -> tuple[TextBatch, int, bool]:
    """Cuts documents from the start of some bytes.

    Args:
        data: uint8[n].
        separator: the bytes that end a document, which are left out; None: a newline, which is kept.
        is_last: True if the file ends with `data`, so that the last document may end without a separator.
        in_place: True if only the caller needs `data`: then documents move inside it to close the gaps of separators.
        lender: lends memory for the starts of lines; None: they take new memory.

    Returns:
        The documents; the number of bytes of `data` that they take, with separators; and True if the documents are
        known to be UTF-8.
    """
    if separator is None:
        from gputok.kernels.cpu.lines import lines

        offsets, is_valid = lines(data, lender.lend if lender else None)
        n_used = int(offsets[-1])
        if is_last and n_used < len(data):
            offsets, n_used = np.append(offsets, len(data)), len(data)
        return TextBatch(data[:n_used], offsets), n_used, is_valid
    from gputok.kernels.cpu.documents import documents

    mark = np.frombuffer(separator, np.uint8)
    packed, offsets, n_used, is_valid = documents(data, mark, is_last, in_place=in_place)
    return TextBatch(packed, offsets), n_used, is_valid


def too_long(where: str, start: str, longest: int) -> ValueError:
    """Returns the error for a document that is longer than memory, or 32 bits, allow.

    Args:
        where: the file and the byte, or the text, at which the document begins.
        start: its first characters.
        longest: the most bytes that it may have.
    """
    why = (
        "which can be numbered in 32 bits"
        if longest >= LONGEST
        else "which fit in the limit on memory along with the rest"
    )
    remedy = "cut it by separator= (--separator)" + (
        "" if longest >= LONGEST else ", or raise memory_limit= (--memory-limit)"
    )
    return ValueError(
        f"{where}: a document of more than {longest:,} bytes begins here ({start[:20]!r}...), {why}; {remedy}"
    )


def refuse_long(batch: TextBatch, longest: int, where: Callable[[int], str]) -> TextBatch:
    """Returns the batch; raises ValueError if a document has more than `longest` bytes. where: names document i."""
    data, offsets = batch
    if len(data) > longest:
        sizes = np.diff(offsets)
        i = int(sizes.argmax())
        if sizes[i] > longest:
            raise too_long(where(i), data[offsets[i] : offsets[i] + 80].tobytes().decode(errors="replace"), longest)
    return batch


def checked_documents(file: File, batch: TextBatch, position: int, options: Options, is_valid: bool) -> TextBatch:
    """Checks that documents are UTF-8, and none is too long.

    Args:
        file: the file, for errors.
        batch: the documents.
        position: of the first document in the file, in bytes.
        options: how to treat errors, and the separator, which is left out of `batch`.
        is_valid: True if the documents are known to be UTF-8.

    Returns:
        The documents; bytes that are not UTF-8 are replaced if `options.errors` is "replace".

    Raises:
        ValueError: if bytes are not UTF-8 and `options.errors` is "strict", or a document is longer than `options.longest`.
    """
    n_separator = len((options.separator or "").encode())
    refuse_long(batch, options.longest, lambda i: f"{file}, byte {position + batch.offsets[i] + n_separator * i}")
    if is_valid:
        return batch
    if position == 0:
        refuse_binary(str(file), batch.data[:16].tobytes())

    def location(byte: int) -> str:
        n_separators = int(np.searchsorted(batch.offsets, byte, "right")) - 1
        return f"{file}, byte {position + byte + n_separator * n_separators}"

    return checked(batch, options.errors, location, lines=options.separator is None)
