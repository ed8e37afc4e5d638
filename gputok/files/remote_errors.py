"""Errors of files on other machines: each names the URL, and says what the user can do."""

from __future__ import annotations

import contextlib
import io
import re
from typing import TYPE_CHECKING, Any

from gputok.types import public

if TYPE_CHECKING:
    from collections.abc import Iterator


@public("gputok.files.locations")
class RemoteError(OSError):
    """An error of a file on another machine; the message has the URL and the reason."""


@contextlib.contextmanager
def explained(url: str, doing: str = "") -> Iterator[None]:
    """Raises the errors of the block, which differ between file systems, with the URL and a hint for the user."""
    try:
        yield
    except (RemoteError, KeyboardInterrupt, ImportError, NotImplementedError, MemoryError):
        raise
    except FileNotFoundError as error:
        text = str(error)
        raise FileNotFoundError(text if url in text else f"{url}: {doing}no such file ({_first_line(error)})") from None
    except Exception as error:
        raise _explanation(url, doing, error) from error


def _explanation(url: str, doing: str, error: Exception) -> Exception:
    text = _first_line(error)
    if url in text:
        return error if isinstance(error, OSError | ValueError) else RemoteError(text)
    denied = isinstance(error, PermissionError) or re.search(
        r"ACCESS_DENIED|Forbidden|\b40[13]\b|[Cc]redentials|INVALID_ACCESS_KEY|SIGNATURE", text
    )
    if denied:
        return PermissionError(
            f"{url}: {doing}access is denied; pass credentials by storage_options= (--storage-option), or set them in "
            f"the environment ({text})"
        )
    if re.search(r"NO_SUCH_BUCKET|NoSuchBucket|[Bb]ucket .*(not found|does not exist)", text):
        return FileNotFoundError(f"{url}: {doing}no such bucket ({text})")
    if isinstance(error, ValueError) and not isinstance(error, OSError):
        return ValueError(f"{url}: {doing}{text}")
    return RemoteError(f"{url}: {doing}{text}")


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0]


class ExplainedStream(io.RawIOBase):
    """A stream whose errors name its URL."""

    def __init__(self, url: str, file: Any) -> None:
        self._url, self._inner, self._n = url, file, 0

    def readable(self) -> bool:
        """Returns True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills a buffer; returns the number of bytes."""
        with explained(self._url, f"failed after {self._n:,} bytes: "):
            raw = self._inner.read(len(buffer))
        buffer[: len(raw)] = raw
        self._n += len(raw)
        return len(raw)

    def close(self) -> None:
        """Closes the file."""
        if not self.closed:
            with contextlib.suppress(Exception):
                self._inner.close()
        super().close()
