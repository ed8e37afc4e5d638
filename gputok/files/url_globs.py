"""Globs in URLs: `*`, `**` and `[...]`; `?` begins the query of a URL."""

from __future__ import annotations

import re

from gputok.files.file_systems import NATIVE, scheme_of


def split_glob(url: str) -> tuple[str, str]:
    """Splits a URL into the folder before its first wildcard, and the pattern; the pattern is "" if the URL is no glob."""
    scheme = scheme_of(url)
    if scheme in ("http", "https") or "::" in url or not re.search(r"[*\[]", url):
        return url, ""
    start = url.index("://") + 3
    parts = url[start:].split("/")
    first = next(i for i, part in enumerate(parts) if re.search(r"[*\[]", part))
    if first == 0 and scheme in NATIVE:
        raise ValueError(f"{url}: name the bucket; a glob can only stand for names in a bucket")
    return url[:start] + "/".join(parts[:first]), "/".join(parts[first:])


def glob_pattern(magic: str) -> re.Pattern[str]:
    """Compiles a pattern with the rules of Python's glob: `*` matches in one folder, `**` any number of folders.

    Hidden names are left out.
    """
    *folders, name = magic.split("/")
    text = ""
    for part in folders:
        text += r"(?:[^/.][^/]*/)*" if part == "**" else _part_pattern(part) + "/"
    text += r"(?:[^/.][^/]*/)*[^/.][^/]*" if name == "**" else _part_pattern(name)
    return re.compile(text)


def _part_pattern(part: str) -> str:
    pieces = re.findall(r"\*+|\[!?[^\]]+\]|.", part)
    text = "" if part.startswith(".") else r"(?!\.)"
    for piece in pieces:
        if piece.startswith("*"):
            text += "[^/]*"
        elif piece.startswith("[") and len(piece) > 1:
            text += "[" + piece[1:-1].replace("\\", r"\\").replace("!", "^", 1 if piece[1] == "!" else 0) + "]"
        else:
            text += re.escape(piece)
    return text
