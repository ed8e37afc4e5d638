"""Opens the file system of a URL by pyarrow.fs or fsspec (`locations.py` says which), and explains what failed."""

from __future__ import annotations

import contextlib
import fnmatch
import io
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gputok.files.arrow import needed_for, needing
from gputok.lazy import public

if TYPE_CHECKING:
    import urllib.parse
    from collections.abc import Iterator


@public("gputok.files.locations")
class RemoteError(OSError):
    """An error of a file on another machine; the message has the URL and the reason."""


@contextlib.contextmanager
def explained(url: str, doing: str = "") -> Iterator[None]:
    """Rewords the errors of the block, which differ between file systems: URL, `doing` (what failed), and a hint."""
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
    denied = r"ACCESS_DENIED|Forbidden|\b40[13]\b|[Cc]redentials|INVALID_ACCESS_KEY|SIGNATURE"
    if isinstance(error, PermissionError) or re.search(denied, text):
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


_NO_HEAD = io.BytesIO()


class Stream(io.RawIOBase):
    """A stream over a file object that has `read` and that the caller closes; head: bytes already read, given first."""

    def __init__(self, file: Any, head: bytes = b"") -> None:
        self._inner, self._head = file, io.BytesIO(head)

    def readable(self) -> bool:
        """Returns True."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Reads some bytes, at most `size`; none at the end."""
        if not (raw := self._head.read(size)) and size:
            self._head = _NO_HEAD  # frees the memory of the head, which has been read to its end
        return raw or self._inner.read(size)

    def readinto(self, buffer: Any) -> int:
        """Fills a buffer; returns the number of bytes."""
        raw = self.read(len(buffer))
        buffer[: len(raw)] = raw
        return len(raw)


class ExplainedStream(Stream):
    """A stream whose errors name its URL, and which closes its file."""

    def __init__(self, url: str, file: Any) -> None:
        super().__init__(file)
        self._url, self._n = url, 0

    def read(self, size: int = -1) -> bytes:
        """Reads some bytes, at most `size`; none at the end."""
        with explained(self._url, f"failed after {self._n:,} bytes: "):
            raw = super().read(size)
        self._n += len(raw)
        return raw

    def close(self) -> None:
        """Closes the file."""
        if not self.closed:
            with contextlib.suppress(Exception):
                self._inner.close()
        super().close()


StorageOptions = Mapping[str, Any] | None

_URL = r"([A-Za-z][A-Za-z0-9+.-]*)://"
NATIVE = {"s3": "S3FileSystem"} | dict.fromkeys(("gs", "gcs"), "GcsFileSystem")
NATIVE |= dict.fromkeys(("abfs", "abfss"), "AzureFileSystem") | dict.fromkeys(("hdfs", "viewfs"), "HadoopFileSystem")
"""Scheme -> the class of pyarrow.fs."""
_SAME = {"s3a": "s3", "s3n": "s3"}  # Hadoop's names for S3
_OF_FSSPEC = {"key": "access_key", "secret": "secret_key", "token": "session_token", "anon": "anonymous"}
_OF_FSSPEC |= {"endpoint_url": "endpoint_override"}
"""For S3: fsspec's name of an option -> pyarrow's name."""
OBJECT_STORES = {"s3", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "hf"}
"""Schemes whose stores show a file only when it is complete; other file systems show it while it grows."""

UPLOAD_BYTES = 8 << 20
"""The size of the parts in which files are copied."""


def is_url(name: object) -> bool:
    """Returns True if a name belongs to another file system: it begins with `scheme://`."""
    return isinstance(name, str) and "://" in name and re.match(_URL, name) is not None


def scheme_of(url: str) -> str:
    """Returns the scheme of a URL in lower case, with one name for each kind of store; "" for a path."""
    match = re.match(_URL, url) if "://" in url else None
    scheme = match[1].lower() if match else ""
    return _SAME.get(scheme, scheme)


def local_path(name: str) -> str | None:
    """Returns a path of the operating system: the name itself, or the path of a `file://` URL; None for other URLs."""
    if not is_url(name):
        return name
    if scheme_of(name) not in ("file", "local") or "::" in name:
        return None
    import urllib.parse  # imported late: it takes 2 ms

    parsed = urllib.parse.urlsplit(name)
    if parsed.netloc not in ("", "localhost"):
        right = f"file:///{parsed.netloc}{parsed.path}"
        raise ValueError(f"{name}: a file:// URL has three slashes before its path, {right}")
    path = name.split("://", 1)[1].removeprefix("localhost")
    return urllib.parse.unquote(path)


def open_filesystem(url: str, storage_options: StorageOptions, known: dict[str, Any] | None = None) -> tuple[Any, str]:
    """Returns the pyarrow.fs.FileSystem of a URL, and the path in it; known: a cache of open ones, which this fills."""
    known = {} if known is None else known
    scheme = scheme_of(url)
    with explained(url):
        if scheme not in NATIVE or "::" in url:
            return _open_fsspec(url, scheme, storage_options, known)
        return _open_native(url, scheme, storage_options, known)


def _open_native(url: str, scheme: str, storage_options: StorageOptions, known: dict[str, Any]) -> tuple[Any, str]:
    import urllib.parse

    parsed = urllib.parse.urlsplit(f"{scheme}://" + url.split("://", 1)[1])
    bucket, key = parsed.netloc.rpartition("@")[2], parsed.path
    if not bucket and scheme != "hdfs":
        raise ValueError(f"{url}: names no bucket")
    server = f"{scheme}://{parsed.netloc}?{parsed.query}"
    if server not in known:
        known[server] = _native(scheme, parsed, storage_options)
    if NATIVE[scheme] == "AzureFileSystem":
        bucket = parsed.username or bucket
    path = key if NATIVE[scheme] == "HadoopFileSystem" else f"{bucket}{key}"
    return known[server], path.rstrip("/")


def _native(scheme: str, parsed: urllib.parse.SplitResult, storage_options: StorageOptions) -> Any:
    with needed_for(f"reading {scheme}://"):
        from pyarrow import fs

    import urllib.parse

    given = dict(storage_options or {})
    if not hasattr(fs, NATIVE[scheme]):
        raise ImportError(f"this pyarrow was built without {NATIVE[scheme]}; install the one of PyPI or conda-forge")
    if scheme != "s3" and not given:
        return fs.FileSystem.from_uri(urllib.parse.urlunsplit(parsed._replace(path="/")))[0]
    if NATIVE[scheme] == "AzureFileSystem" and parsed.username:
        given.setdefault("account_name", (parsed.hostname or "").split(".")[0])
    if NATIVE[scheme] == "HadoopFileSystem":
        given = {"host": parsed.hostname or "default", "port": parsed.port or 0, **given}
    if scheme == "s3":
        given = _s3_options(parsed, given)
    try:
        return getattr(fs, NATIVE[scheme])(**given)
    except TypeError as error:
        raise ValueError(f"storage_options: {NATIVE[scheme]} of pyarrow: {error}") from None


def _s3_options(parsed: urllib.parse.SplitResult, given: dict[str, Any]) -> dict[str, Any]:
    import urllib.parse

    from pyarrow import fs

    client = given.pop("client_kwargs", None) or {}
    names = {"endpoint_url": "endpoint_url", "region_name": "region"}
    given = {names[name]: value for name, value in client.items() if name in names} | given
    given = {_OF_FSSPEC.get(name, name): value for name, value in given.items()}
    for name, value in urllib.parse.parse_qsl(parsed.query):  # s3://bucket/key?region=...
        given.setdefault(name, value)
    if parsed.username and parsed.password:
        given.setdefault("access_key", urllib.parse.unquote(parsed.username))
        given.setdefault("secret_key", urllib.parse.unquote(parsed.password))
    of_system = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint := given.get("endpoint_override") or of_system:
        scheme, separator, host = endpoint.rpartition("://")
        given["endpoint_override"] = host.rstrip("/")
        if separator:
            given.setdefault("scheme", scheme)
    elif not (given.get("region") or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")):
        given["region"] = fs.resolve_s3_region(parsed.hostname)
    return given


def _open_fsspec(url: str, scheme: str, storage_options: StorageOptions, known: dict[str, Any]) -> tuple[Any, str]:
    with needing(f"reading {scheme}:// needs fsspec: pip install 'gputok[remote]'"):
        import fsspec
    with needed_for(f"reading {scheme}://"):
        from pyarrow import fs

    try:
        inner, path = fsspec.core.url_to_fs(url, **(storage_options or {}))
    except ImportError as error:
        extra = {"hf": "hub", "http": "remote", "https": "remote"}.get(scheme)
        how = f"pip install 'gputok[{extra}]'" if extra else str(error)
        raise ImportError(f"reading {scheme}:// needs another package: {how}") from None
    except ValueError as error:
        if "rotocol not known" not in str(error):
            raise
        theirs = "fsspec reads the schemes that fsspec.available_protocols() lists"
        raise ValueError(f"{scheme}:// is unknown; pyarrow reads {', '.join(NATIVE)}, and {theirs}") from None
    except TypeError as error:
        raise ValueError(f"storage_options: {error}") from None
    return known.setdefault(f"{id(inner)}", fs.PyFileSystem(fs.FSSpecHandler(inner))), path


def fsspec_of(filesystem: Any) -> Any:
    """Returns the file system of fsspec that pyarrow's adapter wraps; None for a file system of pyarrow's own."""
    return getattr(getattr(filesystem, "handler", None), "fs", None)


def check_bucket(url: str, filesystem: Any, path: str) -> None:
    """Raises FileNotFoundError if an object store says that a bucket does not exist; nothing if it gives no answer."""
    from pyarrow import fs

    bucket, kind = path.strip("/").split("/")[0], None
    if scheme_of(url) in NATIVE.keys() & OBJECT_STORES and fsspec_of(filesystem) is None:
        with contextlib.suppress(OSError):
            kind = filesystem.get_file_info(bucket).type
    if kind == fs.FileType.NotFound:
        raise FileNotFoundError(f"{url}: no bucket is called {bucket!r}")


def split_glob(url: str) -> tuple[str, str]:
    """Splits a URL into the folder before its first wildcard, and the pattern, which is "" if the URL is no glob."""
    scheme = scheme_of(url)
    if scheme in ("http", "https") or "::" in url or not re.search(r"[*\[]", url):
        return url, ""
    start = url.index("://") + 3
    parts = url[start:].split("/")
    first = next(i for i, part in enumerate(parts) if re.search(r"[*\[]", part))
    if first == 0 and scheme in NATIVE:
        raise ValueError(f"{url}: name the bucket; a glob can only stand for names in a bucket")
    return url[:start] + "/".join(parts[:first]), "/".join(parts[first:])


def glob_matches(names: list[str], magic: list[str]) -> bool:
    """Returns True if a path matches a pattern, both split at "/", as in Python's glob: `*` matches no hidden name."""
    if not names or not magic:
        return names == magic
    if names[0].startswith(".") and not magic[0].startswith("."):
        return magic[0] == "**" and glob_matches(names, magic[1:])
    if magic[0] == "**":
        return glob_matches(names[1:], magic) or glob_matches(names, magic[1:] or ["*"])
    # In a URL, `?` is no wildcard
    return fnmatch.fnmatchcase(names[0], magic[0].replace("?", "[?]")) and glob_matches(names[1:], magic[1:])
