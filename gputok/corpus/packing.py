"""Makes batches of documents: cuts bytes and arrays, joins small batches, checks or replaces what is no Unicode."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from gputok.corpus.document_kinds import refuse_binary
from gputok.kernels.cpu.lines import find_invalid_utf8, lines
from gputok.text.pieces import LONGEST, RawLines, TextBatch, joined

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from gputok.corpus.options import Errors, Options
    from gputok.files.locations import File, Lender
    from gputok.types import Array


_ADVICE = 'convert it to UTF-8, or pass errors="replace" to put U+FFFD there'


def cuts(offsets: Array, batch_bytes: int) -> list[int]:
    """Cuts documents into parts of about `batch_bytes`; returns where each part begins, and how many documents.

    >>> cuts([0, 3, 6, 9, 12], 6)
    [0, 2, 4]
    """
    n_parts = max(1, round(int(offsets[-1] - offsets[0]) / batch_bytes))
    if n_parts == 1:
        return [0, len(offsets) - 1] if len(offsets) > 1 else [0]
    aims = np.linspace(offsets[0], offsets[-1], n_parts + 1)[1:-1]
    return sorted({0, *np.searchsorted(offsets, aims).tolist(), len(offsets) - 1})


def checked(batch: TextBatch, errors: Errors, location: Callable[[int], str], *, lines: bool = False) -> TextBatch:
    """Returns a batch of UTF-8; errors="replace" gives a copy with U+FFFD for other bytes, "strict" raises ValueError.

    location: the file and the line of a byte, for errors; lines: all documents but the last end in ASCII, so that none
    can begin inside a character.
    """
    data, offsets = batch
    at = find_invalid_utf8(data)
    if at < 0 and lines:
        return batch
    if at < 0:  # but a document may still begin inside a character of the document before
        starts = offsets[offsets < len(data)]
        torn = starts[(data[starts] & 0xC0) == 0x80]
        if len(torn) == 0:
            return batch
        at = int(torn[0])
    if errors == "strict":
        raise ValueError(f"{location(at)}: 0x{data[at]:02x} is not UTF-8; {_ADVICE}")
    raw, ends = data.tobytes(), offsets.tolist()
    return TextBatch.from_strings(raw[a:b].decode(errors="replace") for a, b in itertools.pairwise(ends))


def checked_rows(batch: TextBatch, errors: Errors, where: str, n_before: int) -> TextBatch:
    """Does what `checked` does for rows of a table. For errors: its name `where`, and the rows before the batch."""

    def location(byte: int) -> str:
        row = int(np.searchsorted(batch.offsets, byte, "right")) - 1
        return f"{where}, row {n_before + row}, byte {byte - batch.offsets[row]}"

    return checked(batch, errors, location)


def packed(texts: list[str], name: Callable[[int], str], errors: Errors) -> TextBatch:
    """Packs strings of a list that no other thread knows; errors: what becomes of a lone surrogate, as in `checked`.

    name: the name of text i, for errors. Raises TypeError if a text is not a string.
    """
    from gputok.kernels.cpu.texts import pack_texts

    if (found := pack_texts(texts)) is not None:
        return TextBatch(*found)
    try:
        return TextBatch.from_strings(texts)
    except (AttributeError, TypeError, UnicodeEncodeError):
        return TextBatch.from_strings([_unicode(text, name(i), errors) for i, text in enumerate(texts)])


def _unicode(text: str, name: str, errors: Errors) -> str:
    if not isinstance(text, str):
        hint = {bytes: "; decode it first", dict: "; pass row[column]"}.get(type(text), "")
        raise TypeError(f"{name} is {type(text).__name__}, not str{hint}")
    try:
        text.encode()
        return text
    except UnicodeEncodeError as error:
        if errors == "strict":
            raise ValueError(
                f"{name}: character {error.start} is the lone surrogate U+{ord(text[error.start]):04X}, which no UTF-8 "
                f'can hold; errors="replace" puts U+FFFD there'
            ) from None
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def regroup(
    batches: Iterable[TextBatch | RawLines], batch_bytes: Callable[[int], int]
) -> Iterator[TextBatch | RawLines]:
    """Cuts large batches and joins small ones (from a folder of small files, or from Arrow chunks of few rows).

    batch_bytes: bytes in the batches before -> about the size of the batch to make. RawLines stay as they are.
    """
    held: list[TextBatch] = []
    size = n_before = 0
    for batch in batches:
        if isinstance(batch, RawLines):
            if held:
                yield joined(held)
                held, size = [], 0
            yield batch
            continue
        most = batch_bytes(n_before)
        for part in units_of(batch, most):
            held.append(part)
            size += len(part.data)
            if 2 * size >= most:
                yield joined(held)
                n_before += size
                held, size = [], 0
    if held:
        yield joined(held)


def units_of(batch: TextBatch, n_bytes: int) -> Iterator[TextBatch]:
    """Yields views of a batch: whole documents of about `n_bytes`, one at least, with offsets from 0."""
    data, offsets = batch
    for first, last in itertools.pairwise(cuts(offsets, n_bytes)):
        start, stop, part = offsets[first], offsets[last], offsets[first : last + 1]
        yield TextBatch(data[start:stop], part - start if start else part)


def split_documents(
    data: Array, separator: bytes | None, is_last: bool, in_place: bool = False, lender: Lender | None = None
) -> tuple[TextBatch, int, bool]:
    """Cuts documents from the start of some bytes.

    data: uint8[n]. separator: the bytes that end a document, which are left out; None: a newline, which is kept.
    is_last: the file ends with `data`, so that the last document may end without a separator. in_place: only the caller
    needs `data`: documents move inside it to close the gaps of separators. lender: of memory for the starts of lines.
    Returns the documents; the bytes of `data` that they take, with separators; True if they are known to be UTF-8.
    """
    if separator is None:
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
    """Returns the error for a document that is longer than memory, or 32 bits, allow; start: its first characters."""
    why, remedy = "which can be numbered in 32 bits", "cut it by separator= (--separator)"
    if longest < LONGEST:
        why = "which fit in the limit on memory along with the rest"
        remedy += ", or raise memory_limit= (--memory-limit)"
    return ValueError(
        f"{where}: a document of more than {longest:,} bytes begins here ({start[:20]!r}...), {why}; {remedy}"
    )


def refuse_long(batch: TextBatch, longest: int, where: Callable[[int], str]) -> TextBatch:
    """Returns the batch; raises ValueError if a document has more than `longest` bytes. where: names document i."""
    data, offsets = batch
    if len(data) > longest and (sizes := np.diff(offsets)).max() > longest:
        i = int(sizes.argmax())
        raise too_long(where(i), data[offsets[i] : offsets[i] + 80].tobytes().decode(errors="replace"), longest)
    return batch


def checked_documents(file: File, batch: TextBatch, position: int, options: Options, is_valid: bool) -> TextBatch:
    """Checks documents of a file from byte `position` on: their lengths and, unless `is_valid`, that they are UTF-8."""
    if is_valid and len(batch.data) <= options.longest:
        return batch
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
