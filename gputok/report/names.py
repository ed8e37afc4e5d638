"""Names of files for people: as short as they can be, and without secrets."""

from __future__ import annotations

import re
from collections import Counter


def short_names(paths: list[str]) -> list[str]:
    """Shortens paths to their last parts, as few as keep the names different.

    >>> short_names(["models/a/tokenizer.json", "models/b/tokenizer.json", "http://me:word@host/gpt2.json?key=12"])
    ['a/tokenizer.json', 'b/tokenizer.json', 'gpt2.json']
    """
    parts = [_without_secrets(path).rstrip("/").split("/") for path in paths]
    counts = [1] * len(paths)

    def names() -> list[str]:
        return ["/".join(part[-count:]) for part, count in zip(parts, counts, strict=True)]

    for _ in range(max(map(len, parts), default=0)):
        times = Counter(shown := names())
        counts = [count + (times[name] > 1) for count, name in zip(counts, shown, strict=True)]
    return names()


def _without_secrets(path: str) -> str:
    """Removes user, password and query from a URL; returns any other path unchanged."""
    if "://" not in path:
        return path
    return re.sub("://[^/]*@", "://", path.partition("?")[0])
