"""Opens file systems by URL, through pyarrow.fs or fsspec; `locations.py` says which of them opens which URL."""

from __future__ import annotations

import contextlib
import os
import re
import urllib.parse
from collections.abc import Mapping
from typing import Any

from gputok.files.arrow import needed_for
from gputok.files.remote_errors import explained

StorageOptions = Mapping[str, Any] | None

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
NATIVE = {  # scheme: the class of pyarrow.fs
    "s3": "S3FileSystem",
    "gs": "GcsFileSystem",
    "gcs": "GcsFileSystem",
    "abfs": "AzureFileSystem",
    "abfss": "AzureFileSystem",
    "hdfs": "HadoopFileSystem",
    "viewfs": "HadoopFileSystem",
}
_SAME = {"s3a": "s3", "s3n": "s3"}  # Hadoop's names
_OF_FSSPEC = {  # for S3: fsspec's name of an option -> pyarrow's name
    "key": "access_key",
    "secret": "secret_key",
    "token": "session_token",
    "endpoint_url": "endpoint_override",
    "anon": "anonymous",
}
OBJECT_STORES = {"s3", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "hf"}
"""Schemes whose stores show a file only when it is complete; other file systems show it while it grows."""

UPLOAD_BYTES = 8 << 20
"""The size of the parts in which files are copied."""


def is_url(name: object) -> bool:
    """Returns True if a name belongs to another file system: it begins with `scheme://`."""
    return isinstance(name, str) and _URL.match(name) is not None


def scheme_of(url: str) -> str:
    """Returns the scheme of a URL in lower case, with one name for each kind of store; "" for a path."""
    match = _URL.match(url)
    scheme = match[1].lower() if match else ""
    return _SAME.get(scheme, scheme)


def local_path(name: str) -> str | None:
    """Returns a path of the operating system: the name itself, or the path of a `file://` URL; None for other URLs."""
    if not is_url(name):
        return name
    if scheme_of(name) not in ("file", "local") or "::" in name:
        return None
    parsed = urllib.parse.urlsplit(name)
    if parsed.netloc not in ("", "localhost"):
        raise ValueError(
            f"{name}: a file:// URL has three slashes before its path, file:///{parsed.netloc}{parsed.path}"
        )
    path = name.split("://", 1)[1].removeprefix("localhost")
    return urllib.parse.unquote(path)


def open_filesystem(url: str, storage_options: StorageOptions, known: dict[str, Any] | None = None) -> tuple[Any, str]:
    """Opens the pyarrow.fs.FileSystem of a URL; returns it and the path. known: open file systems by scheme and host."""
    known = {} if known is None else known
    scheme = scheme_of(url)
    with explained(url):
        if scheme not in NATIVE or "::" in url:
            return _open_fsspec(url, scheme, storage_options, known)
        return _open_native(url, scheme, storage_options, known)


def _open_native(url: str, scheme: str, storage_options: StorageOptions, known: dict[str, Any]) -> tuple[Any, str]:

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
    from pyarrow import fs

    client = given.pop("client_kwargs", None) or {}
    given = {**{name: client[name] for name in ("endpoint_url",) if name in client}, **given}
    if "region_name" in client:
        given.setdefault("region", client["region_name"])
    given = {_OF_FSSPEC.get(name, name): value for name, value in given.items()}
    for name, value in urllib.parse.parse_qsl(parsed.query):  # s3://bucket/key?region=...
        given.setdefault(name, value)
    if parsed.username and parsed.password:
        given.setdefault("access_key", urllib.parse.unquote(parsed.username))
        given.setdefault("secret_key", urllib.parse.unquote(parsed.password))
    endpoint = (
        given.get("endpoint_override") or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    )
    if endpoint:
        scheme, separator, host = endpoint.rpartition("://")
        given["endpoint_override"] = host.rstrip("/")
        if separator:
            given.setdefault("scheme", scheme)
    elif not (given.get("region") or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")):
        given["region"] = fs.resolve_s3_region(parsed.hostname)
    return given


def _open_fsspec(url: str, scheme: str, storage_options: StorageOptions, known: dict[str, Any]) -> tuple[Any, str]:
    try:
        import fsspec
    except ImportError:
        raise ImportError(f"reading {scheme}:// needs fsspec: pip install 'gputok[remote]'") from None
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
        raise ValueError(
            f"{scheme}:// is unknown; pyarrow reads {', '.join(NATIVE)}, and fsspec reads the schemes that "
            f"fsspec.available_protocols() lists"
        ) from None
    except TypeError as error:
        raise ValueError(f"storage_options: {error}") from None
    number = f"{id(inner)}"
    if number not in known:
        known[number] = fs.PyFileSystem(fs.FSSpecHandler(inner))
    return known[number], path


def fsspec_of(filesystem: Any) -> Any:
    """Returns the file system of fsspec in pyarrow's adapter; None for a file system of pyarrow."""
    return getattr(getattr(filesystem, "handler", None), "fs", None)


def check_bucket(url: str, filesystem: Any, path: str) -> None:
    """Raises FileNotFoundError if an object store of pyarrow says that the bucket does not exist.

    Users may have the right to write to a bucket and not the right to ask for it: so a denied answer raises no error.
    """
    from pyarrow import fs

    bucket, kind = path.strip("/").split("/")[0], None
    if scheme_of(url) in NATIVE.keys() & OBJECT_STORES and fsspec_of(filesystem) is None:
        with contextlib.suppress(OSError):
            kind = filesystem.get_file_info(bucket).type
    if kind == fs.FileType.NotFound:
        raise FileNotFoundError(f"{url}: no bucket is called {bucket!r}")
